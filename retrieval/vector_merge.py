"""Merging segments in the background: many small ones become one larger, dead rows are left behind.

Segments of one size class (`fanout` times the next smaller one) are merged when there are `fanout` of them, together
with all smaller ones, so that a row is copied once a class: a log-structured merge tree (O'Neil, Cheng, Gawlick and
O'Neil, Acta Informatica 1996) with size tiers. A segment of mostly dead rows is written anew as well.

Copying takes seconds for a large index, so writers are not kept waiting for it:

    under the writer lock    repair; write `merge.json` with the inputs' names and the output's; make the output's file
    without it               copy the live rows to the output
    under the writer lock    swap the manifest, remove the inputs and `merge.json`

Whoever overwrites a row of a segment meanwhile removes `merge.json` and the output before it returns: what is erased is
in no file. The merge then finds out that it has been given up, and is done once more, under the lock. One merger at a
time, over all processes (`merge.lock`); so a `merge.json` that its holder finds is of one that was killed.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import log
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.vectors.inverted import sample_rows, train
from recalld.core.errors import IndexDamaged
from retrieval.ports import Floats, Rows
from retrieval.vector_format import SegmentEntry, read_bytes
from retrieval.vector_live import LiveSegment
from retrieval.vector_log import VectorLog
from retrieval.vector_segment import (
    COPY_ROWS,
    MERGE,
    SUFFIX,
    UNFINISHED,
    Places,
    Segment,
    give_up_merge,
)
from retrieval.vector_segment_write import Part, write_segment

_SEED = 1


@dataclass(frozen=True, slots=True)
class MergeSettings:
    """When segments are merged, and into what.

    Attributes:
        fanout: segments of one size are merged when there are so many.
        lists_rows_min: a segment of so many rows gets inverted lists;
        list_rows: and so many rows are in one of them, or more where there are the most lists that there can be.
    """

    fanout: int = 4
    lists_rows_min: int = 1 << 18
    list_rows: int = 1 << 10


def to_merge(sizes: Sequence[tuple[int, int]], head_rows: int, fanout: int) -> list[int]:
    """Which segments to merge, by number; none: [].

    Args:
        sizes: live and all rows of each.
        head_rows: of the smallest class, at most.
        fanout: how many of one class are merged.
    """
    classes = [max(0, int(log(max(live, 1) / head_rows, fanout) + 0.5)) for live, _ in sizes]
    full = [size_class for size_class in set(classes) if classes.count(size_class) >= fanout]
    if full:
        return [number for number, size_class in enumerate(classes) if size_class <= max(full)]
    return [number for number, (live, rows) in enumerate(sizes) if 2 * live < rows][:1]


def merge(
    index: VectorLog, writer_lock: Callable[[], AbstractContextManager[None]], head_rows: int, settings: MergeSettings
) -> bool:
    """Do one merge, if there is one to do; returns whether there was. The caller holds `merge.lock`.

    Raises:
        IndexDamaged: a row to be copied is damaged.
    """
    for patient in (False, True):
        with writer_lock() if patient else nullcontext():
            with writer_lock():
                give_up_merge(index.path.parent)
                segments = index.repair().segments
                sizes = [(segment.count, segment.segment.layout.rows) for segment in segments]
                chosen = [segments[number] for number in to_merge(sizes, head_rows, settings.fanout)]
                if not chosen:
                    return False
                output = _begin(index.path.parent, chosen)
            try:
                count = _copy(index.path.parent / output, chosen, settings)
            except (FileNotFoundError, IndexDamaged):
                with writer_lock():
                    if _named(index.path.parent) == output:
                        give_up_merge(index.path.parent)
                        raise
                continue
            with writer_lock():
                if _named(index.path.parent) == output:
                    _finish(index, output, [segment.name for segment in chosen], count)
                    return True
    return False


def _begin(folder: Path, chosen: Sequence[LiveSegment]) -> str:
    output = f"{uuid.uuid4().hex}{SUFFIX}"
    (folder / MERGE).write_text(json.dumps({"output": output, "inputs": [segment.name for segment in chosen]}))
    (folder / f"{output}{UNFINISHED}").touch()
    return output


def _copy(output: Path, chosen: Sequence[LiveSegment], settings: MergeSettings) -> int:
    sources = [(segment.segment, segment.all.places) for segment in chosen]
    rows, token_bytes, parts = _parts_of(sources)
    dimensions = chosen[0].segment.layout.dimensions
    many = len(rows) >= settings.lists_rows_min
    centroids = train(_sample(sources, sample_rows(len(rows), settings.list_rows))) if many else None
    write_segment(output.with_name(f"{output.name}{UNFINISHED}"), rows, token_bytes, dimensions, parts, centroids)
    return len(rows)


def _sample(sources: Sequence[tuple[Segment, Places]], count: int) -> Floats:
    """The vectors of so many rows, drawn at random: rows at equal distances may be alike, where what was said is.

    Raises:
        IndexDamaged: one changed.
    """
    starts = np.cumsum([0, *(len(places) for _, places in sources)])
    drawn = np.sort(np.random.default_rng(_SEED).permutation(starts[-1])[:count])
    parts = []
    for (segment, places), start, mine in zip(
        sources, starts[:-1], np.split(drawn, np.searchsorted(drawn, starts[1:-1])), strict=True
    ):
        chosen = places[mine - start]
        segment.check_vectors(chosen)
        parts.append(segment.vectors[chosen])
    return np.concatenate(parts).astype(np.float32)


def _named(folder: Path) -> str | None:
    raw = read_bytes(folder / MERGE)
    return str(json.loads(raw)["output"]) if raw else None


def _finish(index: VectorLog, output: str, inputs: Sequence[str], count: int) -> None:
    folder = index.path.parent
    (folder / f"{output}{UNFINISHED}").rename(folder / output)
    index.merged(inputs, SegmentEntry(output, count))
    (folder / MERGE).unlink()


def _parts_of(sources: Sequence[tuple[Segment, Places]]) -> tuple[Rows, NDArray[np.int64], Iterable[Part]]:
    """Rows of several segments as one: rows, bytes of token codes, and the parts, in order."""
    rows = np.concatenate([segment.rows(places) for segment, places in sources])
    order = np.argsort(rows, kind="stable")
    source = np.repeat(np.arange(len(sources)), [len(places) for _, places in sources])[order]
    place = np.concatenate([places for _, places in sources])[order]
    sizes = np.concatenate([segment.token_bytes(places) for segment, places in sources])[order]

    def runs() -> Iterable[Part]:
        cuts = np.flatnonzero(np.diff(source)) + 1
        edges = np.concatenate([[0], cuts, [len(source)]])
        for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            for start in range(begin, end, COPY_ROWS):
                part = slice(start, min(start + COPY_ROWS, end))
                yield sources[source[start]][0].part(place[part])

    return rows[order], sizes, runs()
