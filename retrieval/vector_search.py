"""The search of one snapshot: exact over few rows, product codes and then exact over many.

Up to `exact_rows_max` allowed rows, or when most of them are asked for, every allowed vector is compared. Above, the
product codes of each segment, of a large one those in the nearest inverted lists, give a shortlist of the allowed rows,
and its vectors are compared exactly; the log's rows always are. So every score that comes out is exact; what a
shortlist can do is miss a row, never make one up, and a row that is not allowed is in none. Where a shortlist is
shorter than what is asked for, all are compared after all: k rows whenever k exist.

Source: rerank of a shortlist, Jégou, Tavenard, Douze and Amsaleg, "Searching in one billion vectors: re-rank with
source coding" (ICASSP 2011), section 3, here with the vectors themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.vectors.gaussian_pq import GaussianPQ
from compress.vectors.half import scan
from retrieval.ports import Floats, Rows
from retrieval.ranking import best
from retrieval.vector_live import Chosen, LiveSegment
from retrieval.vector_segment import Places
from retrieval.vector_snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """When a search uses product codes, and how many rows it then compares exactly.

    Attributes:
        exact_rows_max: up to so many allowed rows are all compared.
        shortlist_times: how many times what is asked for a shortlist holds;
        shortlist_rows_min: so many rows more;
        shortlist_one_in: and one more for each so many allowed rows: among more rows more come between.
        lists_share: of the inverted lists of a large segment, those that are scanned when every row is allowed.
        lists_rows_times: those scanned hold so many times the rows of the shortlist, at least.
    """

    exact_rows_max: int = 10_000
    shortlist_rows_min: int = 150
    shortlist_one_in: int = 1500
    shortlist_times: int = 3
    lists_share: float = 0.25
    lists_rows_times: int = 20

    def shortlist(self, limit: int, allowed: int) -> int:
        """How many rows to compare exactly for the `limit` best of so many."""
        return self.shortlist_times * limit + self.shortlist_rows_min + allowed // self.shortlist_one_in

    def share(self, shortlist: int, allowed: int, rows: int) -> float:
        """Which share of the lists of `rows` rows to scan. What a filter leaves is as near as it is rare: all of them
        where it leaves little."""
        return max(self.lists_share, self.lists_rows_times * shortlist / rows) * rows / allowed


def search(
    snapshot: Snapshot, query: Floats, limit: int, allowed: Rows | None, settings: SearchSettings
) -> tuple[Rows, Floats]:
    """The best of the allowed rows; see `VectorIndex.search`.

    Raises:
        IndexDamaged: a vector changed.
    """
    limit = max(limit, 0)
    rows, slots = (snapshot.rows, snapshot.slots) if allowed is None else snapshot.held(allowed)
    chosen = [segment.chosen(allowed) for segment in snapshot.segments]
    total = len(rows) + sum(each.count for each in chosen)
    shortlist = settings.shortlist(limit, total)
    places = None
    if settings.exact_rows_max < total and 2 * shortlist < total:
        places = _shortlists(snapshot.segments, chosen, query, shortlist, settings)
        if len(rows) + sum(map(len, places)) < limit:
            places = None
    if places is None:
        places = [each.places for each in chosen]
    order, scores = scan(snapshot.matrix, slots, query, limit)
    found = [(rows[order], scores)]
    for live, its_places in zip(snapshot.segments, places, strict=True):
        order, scores = live.segment.compare(its_places, query, limit)
        found.append((live.segment.rows(its_places[order]), scores))
    return best(np.concatenate([rows for rows, _ in found]), np.concatenate([scores for _, scores in found]), limit)


def _shortlists(
    segments: Sequence[LiveSegment], chosen: Sequence[Chosen], query: Floats, count: int, settings: SearchSettings
) -> list[Places]:
    """The `count` best of all segments by their product codes: the places in each."""
    rotated = GaussianPQ(len(query)).rotated(query[None])[0]
    found: list[tuple[Places, Floats]] = []
    for segment, each in zip(segments, chosen, strict=True):
        if each.count:
            share = settings.share(count, each.count, segment.segment.layout.rows)
            found.append(segment.segment.scan().search(rotated, count, each.bits, share))
        else:
            found.append((np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)))
    estimates = np.concatenate([scores for _, scores in found])
    cut = np.partition(estimates, len(estimates) - count)[len(estimates) - count] if count < len(estimates) else -np.inf
    return [np.sort(places[scores >= cut]) for places, scores in found]


def unchanged(before: Snapshot, after: Snapshot) -> bool:
    """Whether what was read of the segments of `before` still stood at `after`: none of its rows died in between."""
    alive: dict[str, NDArray[np.bool_]] = {segment.name: segment.alive for segment in after.segments}
    return all(alive.get(segment.name) is segment.alive for segment in before.segments)
