"""What `vector_index` and `filtered` measure: ours, FAISS's flat scan, and vector stores that run inside a process.

Peers are optional (`pip install 'recalld[peers]'`): one that is not installed, or that this Python cannot load, is
reported with its reason. All of them are told to use one thread to search, and keep what their documentation advises;
where an index is approximate and its vectors are kept, candidates are compared with those.

Each row has a number, a tenant and a time, for the filters.
"""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Floats, Rows, VectorChange
from retrieval.vector_faiss import SegmentedVectorIndex

_BATCH = 8192
_DIGEST = bytes(8)


class NotHere(Exception):
    """A peer that cannot be measured, and why."""


@dataclass(frozen=True, slots=True)
class Tags:
    """`[N]` each: what filters are on."""

    tenant: NDArray[np.int64]
    at: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Window:
    """A filter: one tenant, and times in [first, end)."""

    tenant: int
    first: int
    end: int


class Engine(Protocol):
    """One index of one data set."""

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        """Index vectors; row k is number k."""
        ...

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        """The k nearest rows, of those within the window."""
        ...

    def told(self) -> dict[str, int]:
        """What it says of itself: bytes by name."""
        ...


class Ours:
    """The index as the service has it; with tags, a namespace for each tenant and the window as the allowed rows."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        self._index = SegmentedVectorIndex(folder, dimensions, "bench")
        self._rows: dict[str, Rows] = {}
        self._tags: Tags | None = None

    def namespaces(self, count: int, tags: Tags | None) -> dict[str, Rows]:
        """Which rows are in which namespace."""
        if tags is None:
            return {"all": np.arange(count)}
        return {f"tenant {tenant}": np.flatnonzero(tags.tenant == tenant) for tenant in np.unique(tags.tenant)}

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        self._tags, self._rows = tags, self.namespaces(len(vectors), tags)
        for namespace, rows in self._rows.items():
            for start in range(0, len(rows), _BATCH):
                part = rows[start : start + _BATCH].tolist()
                self._index.apply(namespace, [VectorChange(row, 1, _DIGEST, vectors[row]) for row in part])
            self._index.merge(namespace)

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        if window is None or self._tags is None:
            return list(self._index.search("all", query, k)[0].tolist())
        namespace = f"tenant {window.tenant}" if len(self._rows) > 1 else "all"
        allowed = self._allowed(self._rows[namespace], window)
        return list(self._index.search(namespace, query, k, allowed)[0].tolist())

    def _allowed(self, rows: Rows, window: Window) -> Rows:
        """What SQL gives the service: the rows within the window, in order."""
        assert self._tags is not None
        at, tenant = self._tags.at[rows], self._tags.tenant[rows]
        kept: Rows = rows[(at >= window.first) & (at < window.end) & (tenant == window.tenant)]
        return kept

    def told(self) -> dict[str, int]:
        statistics = [self._index.statistics(namespace) for namespace in self._rows]
        return {
            "memory": sum(one.bytes_memory for one in statistics),
            "disk": sum(one.bytes_disk for one in statistics),
        }


class OursTogether(Ours):
    """The index with all tenants in one namespace: the filter alone keeps them apart."""

    def namespaces(self, count: int, tags: Tags | None) -> dict[str, Rows]:
        return {"all": np.arange(count)}


class FaissFlat:
    """Every vector compared, in float32."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        self._index = faiss.IndexFlatIP(dimensions)

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        self._index.add(vectors)
        self._tags = tags

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        if window is None or self._tags is None:
            return list(self._index.search(query[None], k)[1][0].tolist())
        at = self._tags.at
        kept = (self._tags.tenant == window.tenant) & (at >= window.first) & (at < window.end)
        selector = faiss.IDSelectorBitmap(np.packbits(kept, bitorder="little"))
        found = self._index.search(query[None], k, params=faiss.SearchParameters(sel=selector))
        return [row for row in found[1][0].tolist() if row >= 0]

    def told(self) -> dict[str, int]:
        return {"memory": int(self._index.ntotal) * self._index.d * 4}


class Usearch:
    """HNSW over int8, candidates compared with the vectors, which are kept in float16 for that."""

    CANDIDATES = 3

    def __init__(self, folder: Path, dimensions: int) -> None:
        index = _module("usearch.index").Index
        self._index = index(ndim=dimensions, metric="ip", dtype="i8")

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        if tags is not None:
            raise NotHere("its Python package has no filter inside the search")
        self._index.add(np.arange(len(vectors)), vectors, threads=1)
        self._kept = vectors.astype(np.float16)

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        found = self._index.search(query, self.CANDIDATES * k, threads=1).keys.astype(np.int64)
        scores = self._kept[found].astype(np.float32) @ query
        return list(found[np.argsort(-scores)[:k]].tolist())

    def told(self) -> dict[str, int]:
        return {"memory": int(self._index.memory_usage)}


class QdrantEdge:
    """HNSW in a shard on disk, payload indexes on tenant and time."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        self._api = api = _module("qdrant_edge")
        folder.mkdir()
        vectors = api.EdgeVectorParams(size=dimensions, distance=api.Distance.Dot)
        self._shard = api.EdgeShard.create(str(folder), api.EdgeConfig(vectors=vectors, max_search_threads=1))

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        api = self._api
        if tags is not None:
            for field in ("tenant", "at"):
                self._shard.update(api.UpdateOperation.create_field_index(field, api.PayloadSchemaType.Integer))
        for start in range(0, len(vectors), _BATCH):
            points = [
                api.Point(row, vectors[row].tolist(), _payload(tags, row))
                for row in range(start, min(start + _BATCH, len(vectors)))
            ]
            self._shard.update(api.UpdateOperation.upsert_points(points))
        self._shard.optimize()

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        api, kept = self._api, None
        if window is not None:
            time = api.RangeFloat(gte=window.first, lt=window.end)
            tenant = api.FieldCondition("tenant", match=api.MatchValue(window.tenant))
            kept = api.Filter(must=[tenant, api.FieldCondition("at", range=time)])
        request = api.SearchRequest(query=api.Query.Nearest(query.tolist()), limit=k, filter=kept)
        return [point.id for point in self._shard.search(request)]

    def told(self) -> dict[str, int]:
        return {}


class Chroma:
    """HNSW with metadata in SQLite."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        chroma = _module("chromadb")
        settings = _module("chromadb.config").Settings(anonymized_telemetry=False)
        client = chroma.PersistentClient(str(folder), settings=settings)
        hnsw = {"hnsw": {"space": "ip"}}
        self._collection = client.create_collection("bench", configuration=hnsw, embedding_function=None)

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        for start in range(0, len(vectors), 5000):
            rows = range(start, min(start + 5000, len(vectors)))
            self._collection.add(
                ids=[str(row) for row in rows],
                embeddings=vectors[start : start + 5000],
                metadatas=None if tags is None else [_payload(tags, row) for row in rows],
            )

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        kept = None
        if window is not None:
            times = [{"at": {"$gte": window.first}}, {"at": {"$lt": window.end}}]
            kept = {"$and": [{"tenant": window.tenant}, *times]}
        found = self._collection.query(query_embeddings=query[None], n_results=k, include=[], where=kept)
        return [int(row) for row in found["ids"][0]]

    def told(self) -> dict[str, int]:
        return {}


class LanceDB:
    """IVF with product codes on disk, refined with the vectors; scalar indexes on tenant and time."""

    NPROBES, REFINE = 20, 10

    def __init__(self, folder: Path, dimensions: int) -> None:
        self._dimensions = dimensions
        self._database = _module("lancedb").connect(str(folder))

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        arrow, index = _module("pyarrow"), _module("lancedb.index")
        columns: dict[str, Any] = {"id": np.arange(len(vectors))}
        if tags is not None:
            columns |= {"tenant": tags.tenant, "at": tags.at}
        flat = arrow.array(vectors.ravel())
        columns["vector"] = arrow.FixedSizeListArray.from_arrays(flat, self._dimensions)
        self._table = self._database.create_table("bench", arrow.table(columns))
        self._table.create_index("vector", config=index.IvfPq(distance_type="dot"))
        if tags is not None:
            self._table.create_index("tenant", config=index.Bitmap())
            self._table.create_index("at", config=index.BTree())

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        asked = self._table.search(query, vector_column_name="vector").distance_type("dot")
        if window is not None:
            kept = f"tenant = {window.tenant} AND at >= {window.first} AND at < {window.end}"
            asked = asked.where(kept, prefilter=True)
        asked = asked.nprobes(self.NPROBES).refine_factor(self.REFINE).limit(k)
        return list(asked.select(["id", "_distance"]).to_arrow()["id"].to_pylist())

    def told(self) -> dict[str, int]:
        return {}


class SqliteVec:
    """Every vector compared, in SQLite."""

    def __init__(self, folder: Path, dimensions: int) -> None:
        package = _module("sqlite_vec")
        self._database = sqlite3.connect(":memory:")
        if not hasattr(self._database, "enable_load_extension"):
            raise NotHere("this Python's sqlite3 loads no extensions")
        self._database.enable_load_extension(True)
        package.load(self._database)
        self._database.execute(
            f"CREATE VIRTUAL TABLE v USING vec0(tenant INTEGER PARTITION KEY, at INTEGER, e FLOAT[{dimensions}])"
        )

    def build(self, vectors: Floats, tags: Tags | None) -> None:
        rows = ((row, *((0, 0) if tags is None else _payload(tags, row).values())) for row in range(len(vectors)))
        self._database.executemany(
            "INSERT INTO v (rowid, tenant, at, e) VALUES (?, ?, ?, ?)", ((*row, vectors[row[0]]) for row in rows)
        )

    def search(self, query: Floats, k: int, window: Window | None) -> Sequence[int]:
        asked = "SELECT rowid FROM v WHERE e MATCH ? AND k = ? AND tenant = ?"
        given: list[Any] = [query, k, 0 if window is None else window.tenant]
        if window is not None:
            asked += " AND at >= ? AND at < ?"
            given += [window.first, window.end]
        return [row for (row,) in self._database.execute(asked, given)]

    def told(self) -> dict[str, int]:
        return {}


def _payload(tags: Tags | None, row: int) -> dict[str, int]:
    return {} if tags is None else {"tenant": int(tags.tenant[row]), "at": int(tags.at[row])}


def _module(name: str) -> Any:
    """A peer's package.

    Raises:
        NotHere: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise NotHere("not installed: pip install 'recalld[peers]'") from error


OURS = "ours"
PEERS: dict[str, Callable[[Path, int], Engine]] = {
    "faiss flat": FaissFlat,
    "usearch int8": Usearch,
    "qdrant-edge": QdrantEdge,
    "chroma": Chroma,
    "lancedb": LanceDB,
    "sqlite-vec": SqliteVec,
}
ROWS_MAX = {"usearch int8": 100_000, "qdrant-edge": 10_000, "chroma": 10_000, "lancedb": 10_000, "sqlite-vec": 100_000}
"""Vectors up to which `vector_index` measures each: what it builds in a minute or two of shared cores."""
