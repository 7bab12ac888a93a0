"""The vector index beside others, at several sizes: how many of the ten nearest, bytes in memory, time, time to build.

Everything is built and asked in one process; a query is given to each engine in turn, in a new order each time, so that
a noisy machine is noisy for all; `cpu_ms` is what the process computed meanwhile, by all its threads. Memory is what
the process's own memory (mapped files left out) grows by while an engine is built and first asked, and beside it what
an engine says itself. An engine that takes minutes to build is measured up to its `ROWS_MAX` only, and reported so.

Beside that, each codec of `compress.vectors` on real vectors: its bytes, what it loses, and how many of the ten nearest
are among the first 10, 100 and 300 of its ranking.
"""

import ctypes
import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.index_engines import OURS, PEERS, ROWS_MAX, Engine, NotHere, Ours, Tags, Window
from bench.metrics import percentiles
from bench.runner import Options, say
from bench.vectors import NOISE, nearest, vectors
from compress.vectors.distortion import measure
from compress.vectors.fastscan import FastScan
from compress.vectors.gaussian_pq import GaussianPQ
from compress.vectors.registry import CODECS
from recalld.bootstrap.making import make_encoder
from recalld.core.config import load_settings
from retrieval.ports import Floats, Rows

K = 10
ASKED = 100
DIFFICULTY_ROWS_MAX = 100_000
CODEC_ROWS = 4_000
SHOWN = (10, 100, 300)


def run(options: Options) -> dict[str, Any]:
    """Each size in turn, then the codecs."""
    encoder = make_encoder(load_settings(encoder=options.encoder))
    stages = []
    for size in sorted(options.vectors):
        found = vectors(encoder, size, options.seed)
        queries = found.queries[:ASKED]
        exact = nearest(found.base, queries, K)
        hard = difficulty(found.base[:DIFFICULTY_ROWS_MAX], queries)
        rng = np.random.default_rng(options.seed)
        peers = {name: maker for name, maker in PEERS.items() if size <= ROWS_MAX.get(name, size)}
        figures, left_out = compare({OURS: Ours} | peers, found.base, queries, exact, rng)
        left_out |= {name: f"measured up to {ROWS_MAX[name]:,}" for name in PEERS if name not in peers}
        stages.append(
            {
                "vectors": size,
                "real": found.real,
                "difficulty": hard,
                "engines": figures,
                "left_out": left_out,
            }
        )
    real = vectors(encoder, 2 * CODEC_ROWS, options.seed)
    return {"k": K, "queries": ASKED, "noise": NOISE, "stages": stages, "codecs": _codecs(real.base, real.queries)}


def compare(
    makers: Mapping[str, Callable[[Path, int], Engine]],
    base: Floats,
    queries: Floats,
    exact: Rows,
    rng: np.random.Generator,
    tags: Tags | None = None,
    windows: list[Window] | None = None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Build every engine, and ask all of them the same: figures by name, and who is left out and why.

    Args:
        exact: `[Q, K]` the right answers; -1 behind the last one.
        tags: what the windows are of.
        windows: one a query.
    """
    asked: Sequence[Window | None] = windows or [None] * len(queries)
    engines: dict[str, Engine] = {}
    figures: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as folder:
        for number, (name, maker) in enumerate(makers.items()):
            before, wall, cpu = _own_bytes(), time.perf_counter(), time.process_time()
            try:
                engine = maker(Path(folder) / str(number), base.shape[1])
                engine.build(base, tags)
            except NotHere as error:
                left_out[name] = str(error)
                continue
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            engine.search(queries[0], K, asked[0])
            grown = _own_bytes() - before
            figures[name] = {"build_s": round(wall, 2), "build_cpu_s": round(cpu, 2), "memory_grown": grown}
            figures[name]["told"] = engine.told()
            engines[name] = engine
            say(f"{len(base):,} {name}: {figures[name]}")
        times: dict[str, list[float]] = {name: [] for name in engines}
        own: dict[str, list[float]] = {name: [] for name in engines}
        found: dict[str, list[int]] = {name: [0, 0] for name in engines}
        for query, right, window in zip(queries, exact.tolist(), asked, strict=True):
            for name in rng.permutation(list(engines)).tolist():
                started, used = time.perf_counter(), time.process_time()
                rows = engines[name].search(query, K, window)
                times[name].append((time.perf_counter() - started) * 1000)
                own[name].append((time.process_time() - used) * 1000)
                found[name][0] += len(set(rows) & set(right) - {-1})
                found[name][1] += len(rows)
        possible = int((exact >= 0).sum())
        for name in engines:
            figures[name] |= {"recall": found[name][0] / possible, "returned": found[name][1] / possible}
            figures[name] |= {"ms": percentiles(times[name]), "cpu_ms": percentiles(own[name])}
        engines.clear()
    return figures, left_out


def difficulty(base: Floats, queries: Floats) -> dict[str, float]:
    """How hard the vectors are: what one-bit codes find without a rerank, and how far the nearest stand out.

    Returns:
        `codes_recall` at `K`; `contrast`: the cosine of the nearest less the mean one, over the standard deviation (He,
        Kumar and Chang, "On the Difficulty of Nearest Neighbor Search", ICML 2012, for the idea).
    """
    exact = nearest(base, queries, K)
    codec = GaussianPQ(base.shape[1])
    scan, rotated = FastScan(codec, codec.encode(base)), codec.rotated(queries)
    hits = sum(
        len(set(scan.search(one, K)[0].tolist()) & set(right))
        for one, right in zip(rotated, exact.tolist(), strict=True)
    )
    sample = queries @ base[:: max(1, len(base) // 10_000)].T
    best = np.einsum("qd,qd->q", queries, base[exact[:, 0]])
    contrast = ((best - sample.mean(axis=1)) / sample.std(axis=1)).mean()
    return {"codes_recall": hits / exact.size, "contrast": float(contrast)}


def _codecs(real: Floats, queries: Floats) -> dict[str, Any]:
    """Each codec on real vectors, trained (where it is) on others."""
    sample, held_out, asked = real[CODEC_ROWS:], real[:CODEC_ROWS], queries[:ASKED]
    exact = nearest(held_out, asked, K)
    found = {}
    for name, maker in CODECS.items():
        started = time.perf_counter()
        codec = maker(sample, 1)
        trained = time.perf_counter() - started
        codes = codec.encode(held_out)
        encoded = time.perf_counter() - started - trained
        ranked = np.array([np.argsort(-codec.score(query, codes))[: max(SHOWN)] for query in asked])
        among = {
            str(depth): float(
                np.mean([np.isin(right, one[:depth]).mean() for one, right in zip(ranked, exact, strict=True)])
            )
            for depth in SHOWN
        }
        distortion = asdict(measure(codec, held_out, asked[:20]))
        found[name] = distortion | {"found_among": among, "train_s": round(trained, 2), "encode_s": round(encoded, 2)}
        say(f"{name}: {found[name]}")
    return found


def _own_bytes() -> int:
    """This process's memory without mapped files; 0 where the system does not tell (it is not Linux)."""
    gc.collect()
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    ctypes.CDLL(None).malloc_trim(0)
    line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024
