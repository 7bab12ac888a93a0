"""Posting lists and their BM25 impacts, kept between recalls: what a search of many rows would read again each time.

A posting list is kept for a namespace, a scope and a term, as its transaction saw it (`column_cache.Mark`). Rows only
ever get higher numbers, so a list is brought up to a later mark by reading what lies behind its own; where rows of its
namespace were touched since, it is read again. To an older transaction the rows of a later one do no harm: they are
none of those that it searches. An impact is kept for the very rows that were searched, and forgotten with them.

Invariant: what is kept changes no figure, only the time that it takes.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memory.store.column_cache import Mark
from recalld.core.scope import Scope
from retrieval.lexical_memory import impact, saturation, total
from retrieval.ports import Floats, LexicalScores, Rows

_SEARCHED_MAX = 4


@dataclass(frozen=True, slots=True)
class PostingList:
    """The keys that hold a term, ascending, and how often each does, as seen at a mark."""

    mark: Mark
    keys: Rows
    counts: NDArray[np.uint8]

    @property
    def bytes_memory(self) -> int:
        return self.keys.nbytes + self.counts.nbytes


# Reads the posting lists of terms behind a memory row each.
Read = Callable[[Sequence[tuple[str, int]]], Sequence[tuple[Rows, NDArray[np.uint8]]]]


class _Searched:
    """Rows that were searched, and where and how much each term counts in them."""

    def __init__(self, allowed: Rows, lengths: NDArray[np.int32]) -> None:
        self.allowed = allowed
        self.lengths = lengths
        self.against = saturation(lengths)
        self.impacts: dict[str, tuple[NDArray[np.int64], Floats]] = {}
        self.bytes_memory = 0


class PostingCache:
    """See the module's docstring. Safe for many threads."""

    def __init__(self, bytes_max: int = 256 << 20) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._lists: OrderedDict[tuple[str, Scope, str], PostingList] = OrderedDict()
        self._searched: list[_Searched] = []
        self._lock = threading.Lock()

    @property
    def bytes_memory(self) -> int:
        """Held now."""
        return self._bytes + sum(each.bytes_memory for each in self._searched)

    def score(
        self,
        namespace: str,
        scope: Scope,
        weights: dict[str, int],
        allowed: Rows,
        lengths: NDArray[np.int32],
        mark: Mark,
        touched_since: Callable[[int], bool],
        read: Read,
    ) -> LexicalScores:
        """BM25 of all rows in `allowed`; see `LexicalIndex.score`.

        Args:
            weights: how often the query has each term.
            mark: of the transaction in which `touched_since` (asked of this namespace) and `read` read.
        """
        searched = self._of(allowed, lengths)
        missing = [term for term in weights if term not in searched.impacts]
        for term, found in zip(
            missing, self._postings(namespace, scope, missing, mark, touched_since, read), strict=True
        ):
            places = np.searchsorted(allowed, found.keys)
            inside = places < len(allowed)
            inside[inside] = allowed[places[inside]] == found.keys[inside]
            places = places[inside]
            added = impact(found.counts[inside].astype(np.int64), searched.against[places], len(allowed))
            searched.bytes_memory += places.nbytes + added.nbytes
            searched.impacts[term] = places, added
        impacts = [(term, weight, *searched.impacts[term]) for term, weight in weights.items()]
        if searched.bytes_memory > self._bytes_max:
            searched.impacts, searched.bytes_memory = {}, 0
        return total(impacts, len(allowed))

    def _of(self, allowed: Rows, lengths: NDArray[np.int32]) -> _Searched:
        with self._lock:
            for number, each in enumerate(self._searched):
                if each.allowed is allowed and each.lengths is lengths:
                    self._searched.append(self._searched.pop(number))
                    return each
        fresh = _Searched(allowed, lengths)
        with self._lock:
            self._searched = [*self._searched[1 - _SEARCHED_MAX :], fresh]
        return fresh

    def _postings(
        self,
        namespace: str,
        scope: Scope,
        terms: Sequence[str],
        mark: Mark,
        touched_since: Callable[[int], bool],
        read: Read,
    ) -> list[PostingList]:
        with self._lock:
            known = {term: self._lists.get((namespace, scope, term)) for term in terms}
        numbers = {kept.mark.touched for kept in known.values() if kept is not None}
        right = {each for each in numbers if each == mark.touched or (each < mark.touched and not touched_since(each))}
        usable = {term: kept for term, kept in known.items() if kept is not None and kept.mark.touched in right}
        behind = [term for term in terms if term not in usable or usable[term].mark.row < mark.row]
        after = [(term, usable[term].mark.row if term in usable else 0) for term in behind]
        for term, (keys, counts) in zip(behind, read(after) if after else [], strict=True):
            kept = usable.get(term)
            if kept is not None:
                keys, counts = np.concatenate([kept.keys, keys]), np.concatenate([kept.counts, counts])
            usable[term] = PostingList(mark, keys, counts)
            self._put((namespace, scope, term), usable[term])
        return [usable[term] for term in terms]

    def _put(self, key: tuple[str, Scope, str], fresh: PostingList) -> None:
        """Keep a list, unless a later one is there."""
        with self._lock:
            kept = self._lists.pop(key, None)
            chosen = kept if kept is not None and kept.mark > fresh.mark else fresh
            self._bytes += chosen.bytes_memory - (kept.bytes_memory if kept is not None else 0)
            self._lists[key] = chosen
            while self._bytes > self._bytes_max:
                self._bytes -= self._lists.popitem(last=False)[1].bytes_memory
