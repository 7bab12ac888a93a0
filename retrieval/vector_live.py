"""Which rows of a segment live, and which of those a search may find. What is here never changes: a death makes a copy.

A filter is looked up once: an array of row numbers that nobody can write to is remembered with what it came to, so that
the next recall over the same rows does not pay for the lookup again. Nothing else of it is compared, so an array that
its owner makes read-only has to stay as it is.
"""

import weakref
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Rows
from retrieval.vector_segment import Flags, Places, Segment


class Chosen:
    """Some live rows of a segment, or all of them, which take no memory."""

    def __init__(self, alive: Flags, places: Places | None, count: int) -> None:
        self._alive = alive
        self._places = places
        self.count = count

    @property
    def places(self) -> Places:
        """Where they are, ascending."""
        return np.flatnonzero(self._alive) if self._places is None else self._places

    @cached_property
    def bits(self) -> NDArray[np.uint8] | None:
        """One bit a row of the segment, the lowest of each byte first; None: all of them."""
        if self.count == len(self._alive):
            return None
        if self._places is None:
            return np.packbits(self._alive, bitorder="little")
        flags = np.zeros(len(self._alive), dtype=np.bool_)
        flags[self._places] = True
        return np.packbits(flags, bitorder="little")


class LiveSegment:
    """A segment as one snapshot sees it."""

    def __init__(self, segment: Segment, alive: Flags) -> None:
        self.segment = segment
        self.alive = alive
        self.count = int(np.count_nonzero(alive))
        self._remembered: tuple[weakref.ref[Rows], Chosen] | None = None

    @property
    def name(self) -> str:
        return self.segment.path.name

    @property
    def bytes_memory(self) -> int:
        kept = self._remembered
        return self.segment.bytes_memory + self.alive.nbytes + (kept[1].places.nbytes if kept else 0)

    @cached_property
    def all(self) -> Chosen:
        """Every live row."""
        return Chosen(self.alive, None, self.count)

    def held(self, rows: Rows) -> Places:
        """Where those of `rows` (ascending) are that live here."""
        places = self.segment.places(rows)
        return places[self.alive[places]]

    def chosen(self, allowed: Rows | None) -> Chosen:
        """Those that a search may find."""
        if allowed is None:
            return self.all
        known = self._remembered
        if known is not None and known[0]() is allowed:
            return known[1]
        places = self.held(allowed)
        chosen = Chosen(self.alive, places, len(places))
        if not allowed.flags.writeable and allowed.base is None:
            self._remembered = weakref.ref(allowed), chosen
        return chosen

    def without(self, rows: Rows) -> "LiveSegment":
        """The same without these rows."""
        dying = self.held(rows)
        if not len(dying):
            return self
        alive = self.alive.copy()
        alive[dying] = False
        return LiveSegment(self.segment, alive)
