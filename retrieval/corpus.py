"""The rows that a query may see, as columns: what a search needs of each without reading its text.

Rows here are passages under their keys (`retrieval.passages`). SQL has decided which there are before any search, so
a filter never costs results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Codes, Floats, LexicalIndex, Rows
from retrieval.traits import Trait

Profile = Literal["people", "assistant", "documents"]
Moments = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class RowText:
    """What is read of a row when its text is needed.

    Attributes:
        text: the passage's own.
        passage: characters [start, end) of the memory's text; None for a memory of one passage.
    """

    text: str
    occurred_at: datetime | None
    passage: tuple[int, int] | None = None

    def cut(self, chars_max: int) -> "RowText":
        """The same with at most so much of the text."""
        return self if len(self.text) <= chars_max else replace(self, text=self.text[:chars_max])


@dataclass(frozen=True, slots=True)
class Columns:
    """What is known of the searched rows, a column each.

    Attributes:
        rows: `[N]` keys of passages, ascending.
        lengths: `[N]` analysed terms of each.
        speakers: `[N]` who said each, where that is known.
        replies: `[N]` whether the assistant said it.
        documents: `[N]` whether it is of a document.
        traits: `[N]` bits of `Trait`.
        sessions: `[N]` equal within one session; a memory outside any has one of its own.
        moments: `[N]` what the turns of a session are ordered by; when it happened where `Trait.DATED` is set.
    """

    rows: Rows
    lengths: NDArray[np.int32]
    speakers: Sequence[str | None]
    replies: NDArray[np.bool_]
    documents: NDArray[np.bool_]
    traits: NDArray[np.int64]
    sessions: NDArray[np.int64]
    moments: Moments


@dataclass(frozen=True, slots=True)
class Corpus(Columns):
    """The searched rows, and how to look into them.

    Attributes:
        lexical: the full-text index within the query's scope.
        describe: gives the texts of rows, in order.
        vectors, codes: those of rows that the index does not have yet, or has an older version of.
        nudges: what feedback adds to the score of a memory, by its row.
    """

    lexical: LexicalIndex
    describe: Callable[[Sequence[int]], Sequence[RowText]]
    vectors: Mapping[int, Floats] = field(default_factory=dict)
    codes: Mapping[int, Codes] = field(default_factory=dict)
    nudges: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def over(
        cls,
        columns: Columns,
        lexical: LexicalIndex,
        describe: Callable[[Sequence[int]], Sequence[RowText]],
        vectors: Mapping[int, Floats],
        codes: Mapping[int, Codes],
        nudges: Mapping[int, float],
    ) -> "Corpus":
        """A corpus of these columns."""
        known = {column.name: getattr(columns, column.name) for column in fields(Columns)}
        return cls(**known, lexical=lexical, describe=describe, vectors=vectors, codes=codes, nudges=nudges)

    def profile(self) -> Profile:
        """What most of the rows are."""
        if 2 * np.count_nonzero(self.documents) > len(self.rows):
            return "documents"
        known = len(self.rows) - list(self.speakers).count(None)
        return "people" if 2 * known > len(self.rows) - np.count_nonzero(self.documents) else "assistant"

    def has(self, trait: Trait) -> NDArray[np.bool_]:
        """`[N]` which rows have any of these traits."""
        found: NDArray[np.bool_] = (self.traits & int(trait)) != 0
        return found


@dataclass(frozen=True, slots=True)
class Turns:
    """The rows in the order in which they were said: by session, then side, then moment, then key.

    The assistant's replies are a side of their own: neighbours are what the same side said, and a long reply between
    two messages of the user does not part them.

    Attributes:
        order: `[N]` which row stands at each place.
        places: `[N]` the place of each row.
        sessions: `[N]` the session and side at each place.
        exchanges: `[N]` of each row: equal for messages of the user and the replies that follow them.
    """

    order: NDArray[np.int64]
    places: NDArray[np.int64]
    sessions: NDArray[np.int64]
    exchanges: NDArray[np.int64]

    def around(self, rows: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
        """These rows and up to `reach` neighbours on both sides in their sessions, by place."""
        places = self.places[rows]
        found = [places]
        for step in range(1, reach + 1):
            for moved in (places - step, places + step):
                inside = (moved >= 0) & (moved < len(self.order))
                near, at = moved[inside], places[inside]
                found.append(near[self.sessions[near] == self.sessions[at]])
        return self.order[np.unique(np.concatenate(found))]

    def before(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row before each in its session; -1 where there is none."""
        places = self.places[rows]
        earlier = np.maximum(places - 1, 0)
        same = (places > 0) & (self.sessions[earlier] == self.sessions[places])
        return np.where(same, self.order[earlier], -1)


def turns(corpus: Corpus) -> Turns:
    """The rows of a corpus as they were said."""
    order = np.lexsort((corpus.rows, corpus.moments, corpus.sessions))
    replies, sessions = corpus.replies[order], corpus.sessions[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (replies[:-1] & ~replies[1:]) | (sessions[1:] != sessions[:-1])
    exchanges = np.empty(len(order), dtype=np.int64)
    exchanges[order] = np.cumsum(begins)
    sides = 2 * sessions + replies
    by_side = np.argsort(sides, kind="stable")
    order = order[by_side]
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return Turns(order, places, sides[by_side], exchanges)
