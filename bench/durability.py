"""Is every acknowledged memory there after SIGKILL, exactly once?

A round: `recalld serve` starts on the data folder of the rounds before; four threads write through the SDK, retries
off, single memories and batches; the server is killed at a random moment; it starts again and applies the outbox.
Then every memory that was ever sent is looked for, by a word that only it holds: in SQL, in full text, and by its
row in the vector index.

- acknowledged: in each of the three exactly once;
- sent but not acknowledged: at most once, and a batch whole or not at all;
- `recalld verify`, which compares every index with SQL, ends with exit code 0.
"""

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recalld_client import Recalld, RecalldError, RetrySettings

from bench.metrics import percentiles
from bench.runner import Options, say
from memory.model import Selection
from recalld.bootstrap import Service
from recalld.core.access import DEFAULT_NAMESPACE
from recalld.core.config import load_settings, server_environment
from recalld.demo import Server, conversation
from retrieval.passages import row_of

WRITERS = 4
BATCH_ITEMS_MAX = 20
KILL_S = (0.05, 2.0)
POLL_S = 0.1
READ_ROWS = 500
TEXT_CHARS_MAX = 400


@dataclass
class Sent:
    """What was sent so far: each request as the words of its memories."""

    acknowledged: list[list[str]] = field(default_factory=list)
    unanswered: list[list[str]] = field(default_factory=list)

    def words(self) -> list[str]:
        """The words of everything that was ever sent."""
        return [word for request in (*self.acknowledged, *self.unanswered) for word in request]


@dataclass(frozen=True, slots=True)
class Found:
    """How often each word is there, by place."""

    sql: Counter[str]
    fulltext: Counter[str]
    vectors: Counter[str]


def run(options: Options) -> dict[str, Any]:
    """All rounds on one data folder."""
    drawn = random.Random(options.seed)
    texts = [turn.text[:TEXT_CHARS_MAX] for turn in conversation()]
    sent = Sent()
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        folder = Path(name)
        environment = server_environment() | {"RECALLD_ENCODER": options.encoder}
        for number in range(options.rounds):
            before = len(sent.acknowledged)
            kill_s = drawn.uniform(*KILL_S)
            _write_and_kill(folder, environment, sent, f"r{number}", kill_s, texts, drawn)
            restart_s = _restart(folder, environment)
            verify = [sys.executable, "-m", "recalld", "verify", "--json"]
            told = {**environment, "RECALLD_DATA_DIR": str(folder)}
            verified = subprocess.run(verify, env=told, capture_output=True, check=False).returncode
            wrong = compare(sent, _look(folder, options.encoder, sent.words()))
            rounds.append(
                {
                    "killed_after_s": round(kill_s, 3),
                    "acknowledged": sum(map(len, sent.acknowledged[before:])),
                    "restart_s": round(restart_s, 2),
                    "verify_exit": verified,
                    **wrong,
                }
            )
            say(f"round {number + 1}: {rounds[-1]}")
    return {
        "clean": all(not r["verify_exit"] and not any(r[name] for name in wrong) for r in rounds),
        "acknowledged": sum(map(len, sent.acknowledged)),
        "unanswered": sum(map(len, sent.unanswered)),
        "restart_s": percentiles([r["restart_s"] for r in rounds]),
        "rounds": rounds,
    }


def compare(sent: Sent, found: Found) -> dict[str, int]:
    """How many memories break which promise."""
    sure = [word for request in sent.acknowledged for word in request]
    unsure = [word for request in sent.unanswered for word in request]
    places = (found.sql, found.fulltext, found.vectors)
    torn = [request for request in sent.unanswered if len({found.sql[word] for word in request}) > 1]
    return {
        "lost": sum(any(place[word] == 0 for place in places) for word in sure),
        "doubled": sum(any(place[word] > 1 for place in places) for word in (*sure, *unsure)),
        "differing": sum(len({place[word] for place in places}) > 1 for word in unsure),
        "torn_batches": len(torn),
        "unknown": sum((found.sql - Counter(dict.fromkeys((*sure, *unsure), found.sql.total()))).values()),
    }


def _write_and_kill(
    folder: Path,
    environment: dict[str, str],
    sent: Sent,
    prefix: str,
    kill_s: float,
    texts: list[str],
    drawn: random.Random,
) -> None:
    server = Server(folder)
    url = server.start(environment)
    seeds = [drawn.random() for _ in range(WRITERS)]
    writers = [
        threading.Thread(target=_write, args=(url, f"{prefix}w{number}", random.Random(seed), texts, sent))
        for number, seed in enumerate(seeds)
    ]
    for writer in writers:
        writer.start()
    time.sleep(kill_s)
    server.kill()
    for writer in writers:
        writer.join()
    server.stop()


def _write(url: str, prefix: str, drawn: random.Random, texts: list[str], sent: Sent) -> None:
    """Write until the server is gone. The lists of `sent` take appends from many threads."""
    count = 0
    with Recalld(url, retry=RetrySettings(attempts_max=1)) as client:
        while True:
            size = drawn.choice((1, 1, 1, drawn.randint(2, BATCH_ITEMS_MAX)))
            words = [f"{prefix}n{count + number}" for number in range(size)]
            count += size
            items = [
                {"text": f"{word} {drawn.choice(texts)}", "scope": {"session_id": f"{prefix}s{count // 50}"}}
                for word in words
            ]
            try:
                client.add_many(items)
            except RecalldError:
                sent.unanswered.append(words)
                return
            sent.acknowledged.append(words)


def _restart(folder: Path, environment: dict[str, str]) -> float:
    """Start the server, wait until the outbox is empty, and end it in peace; returns the seconds until it answered."""
    server = Server(folder)
    started = time.perf_counter()
    url = server.start(environment)
    took = time.perf_counter() - started
    with Recalld(url) as client:
        while client.stats().pending:
            time.sleep(POLL_S)
    server.stop()
    return took


def _look(folder: Path, encoder: str, words: Iterable[str]) -> Found:
    """Read the stopped server's folder through the service's own store and index."""
    settings = load_settings(data_dir=folder, database_url=f"sqlite:///{folder / 'recalld.db'}", encoder=encoder)
    service = Service(settings)
    try:
        word_of: dict[int, str] = {}
        with service.read_store() as store:
            after = 0
            while rows := store.active_rows(DEFAULT_NAMESPACE, after, READ_ROWS):
                loaded = store.load(DEFAULT_NAMESPACE, rows)
                word_of |= {row: memory.item.text.split(" ", 1)[0] for row, memory in loaded.items()}
                after = rows[-1]
            now = service.clock.now()
            fulltext = Counter(
                {word: len(store.select(DEFAULT_NAMESPACE, Selection(text=word), now, 2)) for word in words}
            )
        indexed = set(map(row_of, service.vectors.states(DEFAULT_NAMESPACE)))
        vectors = Counter(word_of.get(row, "") for row in indexed)
        return Found(Counter(word_of.values()), fulltext, vectors)
    finally:
        service.close()
