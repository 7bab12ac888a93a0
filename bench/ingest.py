"""Over HTTP: how fast memories are written, how long a recall takes at each size, and what it costs in memory and
on disk.

`recalld serve` runs as a process of its own with a temporary data folder; everything goes through the Python SDK,
one client, one request at a time. The texts are real turns; how many had to be repeated is reported. Writing is
measured twice: until the reply (durable, found by full text) and until the background has encoded everything. Each
size is asked its own questions, so that no query's vector is cached.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recalld_client import Recalld

from bench.datasets import Turn, questions, real_turns
from bench.metrics import percentiles
from bench.runner import Options, say
from recalld.core.config import server_environment
from recalld.core.datafolder import DataFolder
from recalld.demo import Server

BATCH_ITEMS = 100
RECALLS = 200
RECALL_LIMIT = 10
POLL_S = 0.2


def run(options: Options) -> dict[str, Any]:
    """Write up to each size in turn, and recall there."""
    sizes = sorted(options.memories)
    turns, repeated = real_turns(sizes[-1])
    asked = questions(len(sizes) * RECALLS)
    each = len(asked) // len(sizes)
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        folder = Path(name)
        server = Server(folder)
        try:
            url = server.start(server_environment() | {"RECALLD_ENCODER": options.encoder})
            with Recalld(url) as client:
                idle = resident_mb(folder)
                stages = []
                for number, (start, size) in enumerate(zip([0, *sizes], sizes, strict=False)):
                    stage = _write(client, turns[start:size])
                    mine = asked[number * each : (number + 1) * each]
                    recalled = _recall(client, mine)
                    stages.append({"memories": size, "write": stage, "recall": recalled} | _sizes(client, folder))
                    say(f"{size} memories: {recalled}")
        finally:
            server.stop()
    return {"stages": stages, "resident_mb_idle": idle, "texts": len(turns), "texts_repeated": repeated}


def _write(client: Recalld, turns: Sequence[Turn]) -> dict[str, Any]:
    batches: list[float] = []
    started = time.perf_counter()
    for at in range(0, len(turns), BATCH_ITEMS):
        items = [_item(turn) for turn in turns[at : at + BATCH_ITEMS]]
        sent = time.perf_counter()
        client.add_many(items, items_max=BATCH_ITEMS)
        batches.append((time.perf_counter() - sent) * 1000)
    written = time.perf_counter() - started
    while client.stats().pending:
        time.sleep(POLL_S)
    encoded = time.perf_counter() - started
    return {
        "memories": len(turns),
        "batch_items": BATCH_ITEMS,
        "batch_ms": percentiles(batches),
        "written_per_s": round(len(turns) / written, 1),
        "encoded_per_s": round(len(turns) / encoded, 1),
    }


def _item(turn: Turn) -> dict[str, Any]:
    given = {
        "text": turn.text,
        "speaker": turn.speaker,
        "role": turn.role,
        "occurred_at": turn.at,
        "scope": {"user_id": "me", "session_id": turn.session},
    }
    return {name: value for name, value in given.items() if value is not None}


def _recall(client: Recalld, asked: Sequence[str]) -> dict[str, Any]:
    """Milliseconds of recalls, as the client sees them and as the server says."""
    me = client.scope(user_id="me")
    me.recall("warm", limit=RECALL_LIMIT)
    seen, told = [], []
    for question in asked:
        started = time.perf_counter()
        answer = me.recall(question, limit=RECALL_LIMIT)
        seen.append((time.perf_counter() - started) * 1000)
        told.append(answer.took_ms)
    return {"http_ms": percentiles(seen), "server_ms": percentiles(told)}


def _sizes(client: Recalld, folder: Path) -> dict[str, Any]:
    stats = client.stats()
    return {
        "resident_mb": resident_mb(folder),
        "text_bytes": stats.text_bytes,
        "bytes_on_disk": dict(stats.bytes),
        "vectors": dict(stats.vectors),
    }


def resident_mb(folder: Path) -> float | None:
    """Resident memory of the server of a data folder; None where the system does not tell (it is not Linux)."""
    holder = DataFolder(folder).holder()
    status = Path(f"/proc/{holder.pid}/status") if holder else None
    if status is None or not status.exists():
        return None
    kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return round(int(kilobytes) / 1024, 1)
