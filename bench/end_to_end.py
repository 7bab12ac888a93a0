"""A recall beside the encoding of its query, and a durable add beside a bare commit, in stores of many memories.

Recalls go over HTTP to a `recalld serve` of its own, one client, one request at a time. Each is followed by encoding a
query alone, twice: in this process, with the server's encoder and threads (`encode_ms`: no HTTP, nothing else), and as
a request to `/v1/embeddings` (`embed_http_ms`: what any answer of this server costs, and an encoding). No query is
asked twice of the server, so nothing is answered from a cache of queries;
`again_ms` is the same recalls once more, with it.

An add is one memory with its history of changes, full text and outbox entry, through the store. The bare commit beside
it writes one row of the same bytes to a table without an index in the same file, through the same engine.

Everything of one size is measured in turn, in one run, interleaved: a busy machine slows both sides. The sizes that are
meant: `make bench BENCH="end_to_end --memories 10000 100000"`.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from recalld_client import Recalld
from sqlalchemy import text

from bench.big_store import USER, KeptEncoder, cache_folder, fill, item, parts
from bench.datasets import Turn, questions
from bench.ingest import RECALL_LIMIT, resident_mb
from bench.metrics import percentiles
from bench.runner import Options, say
from memory.model import Item
from recalld.bootstrap import Parts, Service
from recalld.bootstrap.making import make_encoder
from recalld.core.access import DEFAULT_NAMESPACE, Principal
from recalld.core.config import Settings, load_settings, server_environment
from recalld.demo import Server
from retrieval.ports import Encoder

ASKED = 150
WARM = 20
ADDS = 300


def run(options: Options) -> dict[str, Any]:
    """Fill a data folder up to each size in turn, and measure there."""
    sizes = sorted(options.memories)
    turns, repeated = parts(sizes[-1] + ADDS * len(sizes))
    asked = questions(2 * (ASKED + WARM) * len(sizes))
    each = len(asked) // len(sizes)
    encoder = make_encoder(load_settings(encoder=options.encoder))
    kept = KeptEncoder(encoder, cache_folder())
    stages: list[dict[str, Any]] = []
    written = 0
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        settings = load_settings(data_dir=Path(name), encoder=options.encoder)
        for size in sizes:
            adding = turns[sizes[-1] + len(stages) * ADDS :][:ADDS]
            mine = asked[len(stages) * each :][:each]
            stages.append({"memories": size} | _stage(settings, kept, encoder, turns[written:size], adding, mine))
            written = size
            say(json.dumps(stages[-1]))
    return {"stages": stages, "texts": len(turns), "texts_repeated": repeated}


def _stage(
    settings: Settings,
    kept: KeptEncoder,
    encoder: Encoder,
    turns: Sequence[Turn],
    adding: Sequence[Turn],
    asked: Sequence[str],
) -> dict[str, Any]:
    service = Service(settings, Parts(encoder=kept))
    try:
        fill(service, turns)
        kept.flush()
        added = _add(service, adding)
        service.indexer.apply_all()
    finally:
        service.close()
    server = Server(settings.data_dir)
    try:
        url = server.start(server_environment() | {"RECALLD_ENCODER": settings.encoder})
        with Recalld(url) as client:
            recalled = _recall(client, encoder, asked)
            memory = resident_mb(settings.data_dir)
    finally:
        server.stop()
    return {"recall": recalled, "add": added, "resident_mb": memory}


def _recall(client: Recalld, encoder: Encoder, asked: Sequence[str]) -> dict[str, Any]:
    me = client.scope(user_id=USER)
    ours, others = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    told: list[float] = []

    def recall(query: str) -> None:
        told.append(me.recall(query, limit=RECALL_LIMIT).took_ms)

    steps: dict[str, Callable[[str, str], object]] = {
        "http_ms": lambda query, _: recall(query),
        "embed_http_ms": lambda _, other: client.embeddings([other]),
        "encode_ms": lambda _, other: encoder.encode_both([other]),
    }
    first = _ms(lambda: recall("the first one reads the columns"))
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for query, other in zip(ours, others, strict=True):
        for name, step in steps.items():
            samples[name].append(_ms(partial(step, query, other)))
    server_ms = told[1 + WARM :]
    samples = {name: of_step[WARM:] for name, of_step in samples.items()} | {"server_ms": server_ms}
    samples["again_ms"] = [_ms(partial(recall, query)) for query in ours[WARM:]]
    p50 = {name: float(np.median(of_step)) for name, of_step in samples.items()}
    return {
        "first_ms": round(first, 1),
        **{name: percentiles(of_step) for name, of_step in samples.items()},
        "times_encode": round(p50["http_ms"] / p50["encode_ms"], 2),
        "times_embed_http": round(p50["http_ms"] / p50["embed_http_ms"], 2),
    }


def _add(service: Service, turns: Sequence[Turn]) -> dict[str, Any]:
    who = Principal(DEFAULT_NAMESPACE)
    with service.database.write() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS bare (row INTEGER PRIMARY KEY, body TEXT NOT NULL)"))
    samples: dict[str, list[float]] = {"ours_ms": [], "bare_ms": []}
    for number, turn in enumerate(turns):
        fresh = item(replace(turn, session=f"added {number % 10}"))
        steps = {
            "ours_ms": partial(_add_one, service, who, fresh),
            "bare_ms": partial(_commit_bare, service, _bytes_of(fresh)),
        }
        # Each of the two first in turn.
        for name in sorted(steps, reverse=number % 2 == 0):
            samples[name].append(_ms(steps[name]))
    with service.database.write() as connection:
        connection.execute(text("DROP TABLE bare"))
    times = float(np.median(samples["ours_ms"]) / np.median(samples["bare_ms"]))
    return {name: percentiles(of_step) for name, of_step in samples.items()} | {"times_bare": round(times, 2)}


def _add_one(service: Service, who: Principal, fresh: Item) -> None:
    with service.write_store() as store:
        service.memories.add(store, who, [fresh])


def _commit_bare(service: Service, body: str) -> None:
    with service.database.write() as connection:
        connection.execute(text("INSERT INTO bare (body) VALUES (:body)"), {"body": body})


def _bytes_of(told: Item) -> str:
    """What a row of a memory holds, as one text: its id and three times besides."""
    values = [told.text, told.kind, told.speaker, told.role, *told.scope.values()]
    return json.dumps([*values, "0" * (30 + 3 * 27)])


def _ms(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000
