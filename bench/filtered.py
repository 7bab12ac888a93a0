"""Search within a filter that keeps one row in a hundred: one of ten tenants, and a tenth of the time.

Ours as it is used, where a tenant is a namespace and the time is a filter, and once with all tenants in one namespace;
peers with indexes on both fields. What counts is that all k rows come back when k exist, that they are the right ones,
and the time. See `bench.vector_index` for how it is measured.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.index_engines import OURS, PEERS, Engine, Ours, OursTogether, Tags, Window
from bench.runner import Options
from bench.vector_index import ASKED, K, compare
from bench.vectors import nearest, vectors
from recalld.bootstrap.making import make_encoder
from recalld.core.config import load_settings

TENANTS, WINDOWS = 10, 10
VECTORS_MAX = 100_000
ROWS_MAX = {"chroma": 10_000, "lancedb": 10_000}


def run(options: Options) -> dict[str, Any]:
    """At the largest of the sizes that is not above `VECTORS_MAX`."""
    size = max(count for count in options.vectors if count <= VECTORS_MAX)
    encoder = make_encoder(load_settings(encoder=options.encoder))
    found = vectors(encoder, size, options.seed)
    rng = np.random.default_rng(options.seed)
    tags = Tags(rng.integers(0, TENANTS, size), np.arange(size))
    queries = found.queries[:ASKED]
    length = size // WINDOWS
    windows = [
        Window(int(tenant), int(part) * length, (int(part) + 1) * length)
        for tenant, part in zip(
            rng.integers(0, TENANTS, len(queries)), rng.integers(0, WINDOWS, len(queries)), strict=True
        )
    ]
    exact = np.full((len(queries), K), -1, dtype=np.int64)
    for row, (query, window) in enumerate(zip(queries, windows, strict=True)):
        kept = np.flatnonzero((tags.tenant == window.tenant) & (tags.at >= window.first) & (tags.at < window.end))
        best = nearest(found.base[kept], query[None], K)[0]
        exact[row, : len(best)] = kept[best]
    makers: dict[str, Callable[[Path, int], Engine]] = {OURS: Ours, f"{OURS}, one namespace": OursTogether}
    makers |= {name: maker for name, maker in PEERS.items() if size <= ROWS_MAX.get(name, size)}
    figures, left_out = compare(makers, found.base, queries, exact, rng, tags, windows)
    left_out |= {name: f"measured up to {ROWS_MAX[name]:,}" for name in PEERS.keys() - makers.keys()}
    share = 1 / TENANTS / WINDOWS
    told = {"vectors": size, "real": found.real, "kept": share, "k": K, "queries": len(queries)}
    return told | {"engines": figures, "left_out": left_out}
