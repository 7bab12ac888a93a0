"""Is what was erased gone from every file, by a scan that shares no code with the product's own?

A server holds 10,000 real turns, some of them with an older version, and all with replies kept under idempotency keys.
It erases 100 random ones over HTTP, and the time of each is taken. Then all files of the data folder, free pages and
log included, are read while the server runs and again once it has stopped, and searched for each erased text: as it is,
as JSON, in UTF-16, and in pieces of 12 bytes. A piece that a live memory says as well is no remainder. Before the
erasures the same search has to find every text: a search that finds nothing proves nothing.

Then rounds of SIGKILL: a session is erased, the server killed at a random moment, and started again. Either the request
never committed, and every memory is there; or none is, and nothing of it is in any file once the server has caught up.
"""

import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from recalld_client import Memory, Recalld, RecalldError, RetrySettings

from bench.datasets import Turn, real_turns
from bench.metrics import percentiles
from bench.runner import Options, say
from recalld.core.config import server_environment
from recalld.demo import Server

ERASURES = 100
BATCH_ITEMS = 100
PIECE_BYTES = 12
KILL_S = (0.05, 1.5)
SESSION_MEMORIES = 400
TEXT_CHARS_MAX = 1000
POLL_S = 0.5
CHANGED_EVERY = 10
_LOW = np.uint64((1 << 24) - 1)


def run(options: Options) -> dict[str, Any]:
    """Erase, scan, kill, scan."""
    drawn = random.Random(options.seed)
    size = options.memories[-1]
    turns, _ = real_turns(size)
    environment = server_environment() | {
        "RECALLD_ENCODER": options.encoder,
        "RECALLD_LLM": "none",
        "RECALLD_CONSOLIDATION": "off",
    }
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        folder = Path(name)
        server = Server(folder)
        try:
            with Recalld(server.start(environment)) as client:
                kept = _write(client, turns)
                say(f"{len(kept)} memories")
                doomed = drawn.sample(kept, ERASURES)
                erased = _erase(client, folder, kept, doomed)
        finally:
            server.stop()
        live = erased.pop("live") + _analysed(folder)
        erased["pieces_left_stopped"] = _left(folder, erased.pop("texts"), live)
        erased["verify_exit"] = _verify(folder, environment)
        rounds = [_killed(folder, environment, turns, number, drawn) for number in range(options.rounds)]
    return {
        "clean": not any((erased["pieces_left"], erased["pieces_left_stopped"], erased["changed_others"],
                          erased["verify_exit"], erased["not_clean"]))
        and all(not r["pieces_left"] and not r["verify_exit"] and r["left"] in (0, r["memories"]) for r in rounds),
        "memories": len(kept),
        **erased,
        "rounds": rounds,
    }  # fmt: skip


def pieces(text: str) -> set[bytes]:
    """What is looked for of a text: in each spelling all of it, and pieces of 12 bytes from end to end."""
    found: set[bytes] = set()
    for spelt in (text.encode(), json.dumps(text)[1:-1].encode(), text.encode("utf-16-le")):
        found.add(spelt)
        found |= {spelt[at : at + PIECE_BYTES] for at in range(0, len(spelt) - PIECE_BYTES + 1, PIECE_BYTES)}
    return {piece for piece in found if len(piece) >= PIECE_BYTES}


def remains(folder: Path, wanted: Iterable[bytes], live: bytes) -> list[bytes]:
    """Those that some file holds and no live memory says."""
    left = list(wanted)
    found: set[bytes] = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found |= held(path.read_bytes(), left)
    return sorted(found - held(live, found))


def held(data: bytes, wanted: Iterable[bytes]) -> set[bytes]:
    """Those of `wanted`, each of 8 bytes or more, that `data` holds, at whatever place."""
    by_start: dict[int, list[bytes]] = {}
    for piece in wanted:
        by_start.setdefault(int.from_bytes(piece[:8], "little"), []).append(piece)
    starts = np.fromiter(by_start, dtype=np.uint64, count=len(by_start))
    possible = np.zeros(1 << 24, dtype=np.bool_)
    possible[(starts & _LOW).astype(np.int64)] = True
    found: set[bytes] = set()
    padded = data + bytes(16)
    for shift in range(8):
        words = np.frombuffer(padded, dtype="<u8", count=len(data) // 8 + 1, offset=shift)
        places = np.flatnonzero(possible[(words & _LOW).astype(np.int64)])
        places = places[np.isin(words[places], starts)]
        for place in places.tolist():
            at = 8 * place + shift
            found |= {piece for piece in by_start[int(words[place])] if data.startswith(piece, at)}
    return found


def _left(folder: Path, texts: Sequence[str], live: bytes) -> int:
    return len(remains(folder, {piece for text in texts for piece in pieces(text)}, live))


def _write(client: Recalld, turns: Sequence[Turn]) -> list[Memory]:
    kept: list[Memory] = []
    for at in range(0, len(turns), BATCH_ITEMS):
        items = [_item(turn) for turn in turns[at : at + BATCH_ITEMS]]
        kept += client.add_many(items, items_max=BATCH_ITEMS)
    for memory in kept[::CHANGED_EVERY]:
        client.update(memory.id, text=f"{memory.text} (corrected)")
    while client.stats().pending:
        time.sleep(POLL_S)
    return kept


def _item(turn: Turn) -> dict[str, Any]:
    given = {"text": turn.text, "speaker": turn.speaker, "role": turn.role, "occurred_at": turn.at}
    scope = {"user_id": "me", "session_id": turn.session}
    return {name: value for name, value in given.items() if value is not None} | {"scope": scope}


def _erase(client: Recalld, folder: Path, kept: Sequence[Memory], doomed: Sequence[Memory]) -> dict[str, Any]:
    gone = {memory.id for memory in doomed}
    texts = [text for memory in doomed for text in (memory.text, f"{memory.text} (corrected)")]
    live = _live(kept, gone)
    before = len(remains(folder, {memory.text.encode() for memory in doomed}, b""))
    others = _others(client, gone, folder / "before.ndjson")
    took: list[float] = []
    not_clean = 0
    for memory in doomed:
        started = time.perf_counter()
        receipt = client.delete(memory.id)
        took.append((time.perf_counter() - started) * 1000)
        not_clean += receipt.state != "succeeded" or receipt.rescan is None or not receipt.rescan.clean
    left = _left(folder, texts, live + _analysed(folder))
    changed = _others(client, gone, folder / "after.ndjson") != others
    return {
        "erasures": len(doomed),
        "texts_found_before": before,
        "texts_distinct": len({memory.text for memory in doomed}),
        "not_clean": not_clean,
        "pieces": len({piece for text in texts for piece in pieces(text)}),
        "pieces_left": left,
        "changed_others": changed,
        "erase_ms": percentiles(took),
        "bytes_scanned": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "texts": texts,
        "live": live,
    }


def _live(kept: Sequence[Memory], gone: set[str]) -> bytes:
    """All that live memories say, in the spellings that are looked for."""
    texts = [memory.text for memory in kept if memory.id not in gone]
    said = [*texts, *(f"{text} (corrected)" for text in texts)]
    return b"\x00".join(
        spelt for text in said for spelt in (text.encode(), json.dumps(text).encode(), text.encode("utf-16-le"))
    )


def _analysed(folder: Path) -> bytes:
    """What full text keeps of live memories: their words in order, some cut to their stems."""
    words = "SELECT body FROM memory_fts WHERE rowid >> 10 IN (SELECT row FROM memories)"
    with closing(sqlite3.connect(f"file:{folder / 'recalld.db'}?mode=ro", uri=True)) as raw:
        return b"\x00".join(body.encode() for (body,) in raw.execute(words))


def _others(client: Recalld, gone: set[str], path: Path) -> dict[str, str]:
    """Every other memory with its history, as an export tells it."""
    client.export(path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.unlink()
    told = [line["memory"] for line in lines if "memory" in line]
    return {memory["id"]: json.dumps(memory, sort_keys=True) for memory in told if memory["id"] not in gone}


def _killed(
    folder: Path, environment: dict[str, str], turns: Sequence[Turn], number: int, drawn: random.Random
) -> dict[str, Any]:
    """One round: write a session, erase it, kill the server meanwhile, start it again."""
    session = f"killed-{number}"
    chosen = drawn.sample(turns, SESSION_MEMORIES)
    texts = [f"{session} row {place}: {turn.text[:TEXT_CHARS_MAX]}" for place, turn in enumerate(chosen)]
    server = Server(folder)
    with Recalld(server.start(environment), retry=RetrySettings(attempts_max=1)) as client:
        scope = client.scope(user_id="me", session_id=session)
        scope.add_many(texts)
        while client.stats().pending:
            time.sleep(POLL_S)
        eraser = threading.Thread(target=_attempt, args=(scope,))
        eraser.start()
        kill_s = drawn.uniform(*KILL_S)
        time.sleep(kill_s)
        server.kill()
        eraser.join()
    server.stop()
    server = Server(folder)
    with Recalld(server.start(environment)) as client:
        started = time.perf_counter()
        left = len(list(client.scope(user_id="me", session_id=session).list()))
        # What does not end within this time counts as left.
        while left == 0 and _left_of(folder, session) and time.perf_counter() - started < 60:
            time.sleep(POLL_S)
        caught_up_s = time.perf_counter() - started
    server.stop()
    wanted = {piece for text in texts for piece in pieces(text) if session.encode() in piece} if left == 0 else set()
    found = remains(folder, wanted, b"") if left == 0 else []
    told = {"killed_after_s": round(kill_s, 3), "memories": len(texts), "left": left, "pieces_left": len(found)}
    told |= {"caught_up_s": round(caught_up_s, 2), "verify_exit": _verify(folder, environment)}
    say(f"round {number + 1}: {told}")
    return told


def _attempt(scope: Any) -> None:
    try:
        scope.erase()
    except RecalldError:
        return


def _left_of(folder: Path, session: str) -> bool:
    return bool(remains(folder, [f"{session} row ".encode()], b""))


def _verify(folder: Path, environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "recalld", "verify", "--json"]
    told = {**environment, "RECALLD_DATA_DIR": str(folder)}
    return subprocess.run(command, env=told, capture_output=True, check=False).returncode
