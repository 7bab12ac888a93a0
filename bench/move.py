"""Do memories move by value, and does a backup taken under writes come back whole?

*Move*: a server holds 50,000 memories, every tenth with an older version. Its export is imported into an empty
instance, into one that has half of them, and once more; then into one that is killed (SIGKILL) at random moments until
it is done. Each is compared by value, with history, through an export of its own.

*Backup*: four threads write batches while `recalld backup` copies the instance. Some memories are erased afterwards;
the backup is restored with a newer ledger. In what is restored every batch is whole or not there, nothing that was
acknowledged before the backup is missing but what was erased, and `recalld verify` finds no difference.
"""

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recalld_client import Imported, Recalld, RecalldError, RetrySettings

from bench.datasets import Turn, real_turns
from bench.runner import Options, say
from recalld.core.config import server_environment
from recalld.demo import Server

MEMORIES = 50_000
BATCH_ITEMS = 500
CHANGED_EVERY = 10
KILL_S = (1.0, 6.0)
WRITERS = 4
WRITER_ITEMS = 7
WRITE_S = 3.0
ERASED = 20
WAIT_S_MAX = 900


def run(options: Options) -> dict[str, Any]:
    """Both parts."""
    drawn = random.Random(options.seed)
    count = options.limit or MEMORIES
    turns, _ = real_turns(count)
    environment = server_environment() | {
        "RECALLD_ENCODER": "hash",
        "RECALLD_LLM": "none",
        "RECALLD_CONSOLIDATION": "off",
    }
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        moved = _move(Path(name), environment, turns, drawn)
        backup = _backup(Path(name), environment, turns, drawn)
    wrong = (moved["wrong"], backup["torn_batches"], backup["lost"], backup["erased_back"], backup["verify_exit"])
    return {"clean": not any(wrong), "move": moved, "backup": backup}


def _move(folder: Path, environment: dict[str, str], turns: Sequence[Turn], drawn: random.Random) -> dict[str, Any]:
    source = folder / "source.ndjson"
    with _serving(folder / "source", environment) as client:
        _write(client, turns)
        export_s = _timed(lambda: client.export(source))
        half = folder / "half.ndjson"
        client.scope(user_id="u0").export(half)
    wanted = _told(source)
    say(f"export: {export_s:.1f} s, {source.stat().st_size} bytes, {len(wanted)} memories")
    results: dict[str, Any] = {
        "memories": len(wanted),
        "versions": sum(1 + len(memory["history"]) for memory in wanted.values()),
        "bytes": source.stat().st_size,
        "export_s": round(export_s, 1),
    }
    wrong = 0
    for name, before in (("empty", None), ("half", half)):
        with _serving(folder / name, environment) as client:
            if before is not None:
                client.import_(before)
            results[name] = _imported(client, source)
            results[f"{name}_again"] = _imported(client, source)
            wrong += _differs(client, folder / f"check-{name}.ndjson", wanted)
            again = results[f"{name}_again"]
            wrong += again["added"] + again["advanced"] + again["conflicts"]
            say(f"{name}: {results[name]}, again {results[f'{name}_again']}")
    results["killed"], differs = _killed(folder, environment, source, wanted, drawn)
    return {**results, "wrong": wrong + differs}


def _killed(
    folder: Path, environment: dict[str, str], source: Path, wanted: Mapping[str, Any], drawn: random.Random
) -> tuple[dict[str, Any], int]:
    """Import once, and kill the server until that has been done; nobody asks for it again."""
    target = folder / "killed"
    target.mkdir()
    kills: list[float] = []
    asked = False
    while True:
        server = Server(target)
        with Recalld(server.start(environment), retry=RetrySettings(attempts_max=1)) as client:
            if not asked:
                threading.Thread(target=_attempt, args=(client, source), daemon=True).start()
                while not client.stats().memories:
                    time.sleep(0.05)
                asked = True
            after = drawn.uniform(*KILL_S)
            give_up = time.monotonic() + after
            while time.monotonic() < give_up and list((target / "spool").glob("*.ndjson")):
                time.sleep(0.05)
            if not list((target / "spool").glob("*.ndjson")):
                differs = _differs(client, folder / "check-killed.ndjson", wanted)
                server.stop()
                return {"kills": len(kills), "after_s": kills}, differs
        kills.append(round(after, 2))
        server.kill()
        server.stop()


def _backup(folder: Path, environment: dict[str, str], turns: Sequence[Turn], drawn: random.Random) -> dict[str, Any]:
    data, first, second = folder / "source", folder / "backup-1", folder / "backup-2"
    acknowledged: list[str] = []
    stop = threading.Event()
    server = Server(data)
    url = server.start(environment)
    seeds = [drawn.random() for _ in range(WRITERS)]
    writers = [
        threading.Thread(target=_keep_writing, args=(url, f"w{n}", random.Random(seed), turns, acknowledged, stop))
        for n, seed in enumerate(seeds)
    ]
    for writer in writers:
        writer.start()
    time.sleep(WRITE_S)
    sure = list(acknowledged)
    took_s = _timed(lambda: _recalld(["backup", str(first)], data, environment))
    during = len(acknowledged) - len(sure)
    stop.set()
    for writer in writers:
        writer.join()
    with Recalld(url) as client:
        known = [
            memory for memory in client.scope(user_id="backup").list(limit=2000) if memory.metadata["batch"] in sure
        ]
        erased = drawn.sample(known, ERASED)
        client.erase(ids=[memory.id for memory in erased])
    _recalld(["backup", str(second)], data, environment)
    server.stop()
    restored = folder / "restored"
    _recalld(["restore", str(first), "--ledger", str(second / "ledger.ndjson")], restored, environment)
    with _serving(restored, environment) as client:
        found = list(client.scope(user_id="backup").list())
        _until_indexed(client)
    batches = Counter(memory.metadata["batch"] for memory in found)
    gone = Counter(memory.metadata["batch"] for memory in erased)
    whole = {batch for batch, count in batches.items() if count + gone[batch] == WRITER_ITEMS}
    ids = {memory.id for memory in found}
    told = {
        "seconds": round(took_s, 2),
        "bytes": sum(path.stat().st_size for path in first.iterdir()),
        "written_during": during * WRITER_ITEMS,
        "restored": len(found),
        "torn_batches": len(batches.keys() - whole),
        "lost": len([batch for batch in sure if batches[batch] + gone[batch] != WRITER_ITEMS]),
        "erased_after": len(erased),
        "erased_back": sum(memory.id in ids for memory in erased),
        "verify_exit": _recalld(["verify", "--json"], restored, environment),
    }
    say(f"backup: {told}")
    return told


def _keep_writing(
    url: str, name: str, drawn: random.Random, turns: Sequence[Turn], acknowledged: list[str], stop: threading.Event
) -> None:
    number = 0
    with Recalld(url) as client:
        while not stop.is_set():
            batch = f"{name}-{number}"
            number += 1
            items = [
                {"text": drawn.choice(turns).text, "metadata": {"batch": batch}, "scope": {"user_id": "backup"}}
                for _ in range(WRITER_ITEMS)
            ]
            client.add_many(items)
            acknowledged.append(batch)


@contextmanager
def _serving(folder: Path, environment: dict[str, str]) -> Iterator[Recalld]:
    folder.mkdir(exist_ok=True)
    server = Server(folder)
    try:
        with Recalld(server.start(environment)) as client:
            yield client
    finally:
        server.stop()


def _write(client: Recalld, turns: Sequence[Turn]) -> None:
    for at in range(0, len(turns), BATCH_ITEMS):
        part = turns[at : at + BATCH_ITEMS]
        scope = {"user_id": f"u{at // BATCH_ITEMS % 2}"}
        kept = client.add_many(
            [
                {"text": turn.text, "metadata": {"n": at + n}, "scope": scope | {"session_id": turn.session}}
                for n, turn in enumerate(part)
            ],
            items_max=BATCH_ITEMS,
        )
        for memory in kept[::CHANGED_EVERY]:
            client.update(memory.id, text=f"{memory.text} (corrected)")


def _imported(client: Recalld, source: Path) -> dict[str, Any]:
    done: list[Imported] = []
    took = _timed(lambda: done.append(client.import_(source)))
    names = ("added", "advanced", "unchanged", "conflicts", "erased")
    return {"seconds": round(took, 1), **{name: getattr(done[0], name) for name in names}}


def _attempt(client: Recalld, source: Path) -> None:
    try:
        client.import_(source)
    except RecalldError:
        return


def _differs(client: Recalld, path: Path, wanted: Mapping[str, Any]) -> int:
    """How many memories are missing, too many, or other than they were."""
    client.export(path)
    found = _told(path)
    path.unlink()
    other = [memory_id for memory_id, memory in wanted.items() if found.get(memory_id) != memory]
    return len(other) + len(set(found) - set(wanted))


def _told(path: Path) -> dict[str, Any]:
    """The memories that callers wrote, with their histories, by id: what is derived is each instance's own."""
    told: dict[str, Any] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            memory = json.loads(line).get("memory")
            if memory is not None and memory["deriver"] is None:
                assert memory["id"] not in told
                told[memory["id"]] = memory
    return told


def _until_indexed(client: Recalld) -> None:
    give_up = time.monotonic() + WAIT_S_MAX
    while client.stats().pending and time.monotonic() < give_up:
        time.sleep(0.2)


def _recalld(arguments: Sequence[str], data: Path, environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "recalld", *arguments]
    told = {**environment, "RECALLD_DATA_DIR": str(data)}
    done = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
    if done.returncode and arguments[0] != "verify":
        raise RuntimeError(done.stderr)
    code: int = done.returncode
    return code


def _timed(act: Any) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started
