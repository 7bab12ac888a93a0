"""The rows that a query may see, as columns: what a search needs of each without reading its text.

Rows here are passages under their keys (`retrieval.passages`). SQL has decided which there are before any search, so
a filter never costs results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Codes, Floats, LexicalIndex, Rows
from retrieval.traits import Trait

T = TypeVar("T")
_TABLE_ENTRIES_MAX = 1 << 22
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


class Speakers(Sequence[str | None]):
    """Who said each row, by number: names are many times fewer than rows.

    Args:
        names: each once; others may be added behind them later.
        numbers: `[N]` places in `names`; -1 where nobody is known.
    """

    def __init__(self, names: Sequence[str], numbers: NDArray[np.int32]) -> None:
        self._names = names
        self._count = len(names)
        self._numbers = numbers

    @classmethod
    def of(cls, speakers: Sequence[str | None]) -> "Speakers":
        """The same in this form."""
        if isinstance(speakers, cls):
            return speakers
        numbers: dict[str, int] = {}
        each = [-1 if name is None else numbers.setdefault(name, len(numbers)) for name in speakers]
        return cls(list(numbers), np.array(each, dtype=np.int32))

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: Any) -> Any:
        number = self._numbers[place]
        if isinstance(number, np.ndarray):
            return [None if each < 0 else self._names[each] for each in number.tolist()]
        return None if number < 0 else self._names[number]

    @property
    def unknown(self) -> int:
        """Of how many rows nobody is known to have said them."""
        return int(np.count_nonzero(self._numbers < 0))

    def named(self) -> frozenset[str]:
        """The names that any row has."""
        present = np.flatnonzero(np.bincount(self._numbers + 1, minlength=1)[1:])
        return frozenset(self._names[number] for number in present.tolist() if self._names[number])

    def values(self, of_name: Mapping[str, float]) -> Floats:
        """`[N]` the value of each row's speaker, 0 for others."""
        names = self._names[: self._count]
        # The last entry is that of the number -1.
        table = np.zeros(self._count + 1, dtype=np.float32)
        for name, value in of_name.items():
            if name and name in names:
                table[names.index(name)] = value
        values: Floats = table[self._numbers]
        return values


class Memo:
    """What was worked out of these very columns, for the next search of them."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def of(self, name: str, make: Callable[[], T]) -> T:
        """What is known under a name, made at its first use. Twice where two threads ask at once: it is the same."""
        if name not in self._known:
            self._known[name] = make()
        value: T = self._known[name]
        return value


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
        sessions: `[N]` equal within one session; a memory outside any has one of its own, which may be below 0.
        moments: `[N]` what the turns of a session are ordered by; when it happened where `Trait.DATED` is set.
        memo: kept as long as the columns are.
    """

    rows: Rows
    lengths: NDArray[np.int32]
    speakers: Sequence[str | None]
    replies: NDArray[np.bool_]
    documents: NDArray[np.bool_]
    traits: NDArray[np.int64]
    sessions: NDArray[np.int64]
    moments: Moments
    memo: Memo = field(default_factory=Memo, kw_only=True, compare=False, repr=False)


Nudges = Callable[[Sequence[int]], Mapping[int, float]]


def no_nudges(rows: Sequence[int]) -> Mapping[int, float]:
    """Where nothing is known of feedback or use."""
    return {}


@dataclass(frozen=True, slots=True)
class Corpus(Columns):
    """The searched rows, and how to look into them.

    Attributes:
        lexical: the full-text index within the query's scope.
        describe: gives the texts of rows, in order.
        vectors, codes: those of rows that the index does not have yet, or has an older version of.
        nudges: tells of memories, by their rows, what feedback and use add to the score of those that have any.
    """

    lexical: LexicalIndex
    describe: Callable[[Sequence[int]], Sequence[RowText]]
    vectors: Mapping[int, Floats] = field(default_factory=dict)
    codes: Mapping[int, Codes] = field(default_factory=dict)
    nudges: Nudges = no_nudges

    @classmethod
    def over(
        cls,
        columns: Columns,
        lexical: LexicalIndex,
        describe: Callable[[Sequence[int]], Sequence[RowText]],
        vectors: Mapping[int, Floats],
        codes: Mapping[int, Codes],
        nudges: Nudges = no_nudges,
    ) -> "Corpus":
        """A corpus of these columns."""
        known = {column.name: getattr(columns, column.name) for column in fields(Columns)}
        return cls(**known, lexical=lexical, describe=describe, vectors=vectors, codes=codes, nudges=nudges)

    def profile(self) -> Profile:
        """What most of the rows are."""
        return self.memo.of("profile", self._profile)

    def _profile(self) -> Profile:
        documents = np.count_nonzero(self.documents)
        if 2 * documents > len(self.rows):
            return "documents"
        known = len(self.rows) - Speakers.of(self.speakers).unknown
        return "people" if 2 * known > len(self.rows) - documents else "assistant"

    def named(self) -> frozenset[str]:
        """The speakers that have a name."""
        return self.memo.of("named", Speakers.of(self.speakers).named)

    def has(self, trait: Trait, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.bool_]:
        """Which rows, all `[N]` or those at these places, have any of these traits."""
        found: NDArray[np.bool_] = (self.traits[rows] & int(trait)) != 0
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


def turns(corpus: Corpus, rows: NDArray[np.int64] | None = None) -> Turns:
    """The rows of a corpus as they were said.

    Args:
        rows: only the sessions of these are put in order; `places` is -1 for the rows of others. None: all.
    """
    members = np.arange(len(corpus.rows)) if rows is None else _of_sessions(corpus.sessions, rows)
    keys, moments, sessions = corpus.rows[members], corpus.moments[members], corpus.sessions[members]
    order = members[np.lexsort((keys, moments, sessions))]
    replies, sessions = corpus.replies[order], corpus.sessions[order]
    begins = np.ones(len(order), dtype=np.bool_)
    begins[1:] = (replies[:-1] & ~replies[1:]) | (sessions[1:] != sessions[:-1])
    exchanges = np.full(len(corpus.rows), -1, dtype=np.int64)
    exchanges[order] = np.cumsum(begins)
    sides = 2 * sessions + replies
    by_side = np.argsort(sides, kind="stable")
    order = order[by_side]
    places = np.full(len(corpus.rows), -1, dtype=np.int64)
    places[order] = np.arange(len(order))
    return Turns(order, places, sides[by_side], exchanges)


def _of_sessions(sessions: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """All rows of the sessions that `rows` are in, ascending."""
    own = sessions[rows]
    shared = own[own >= 0]
    if not len(shared):
        return np.unique(rows)
    low, high = int(shared.min()), int(shared.max())
    if high - low > _TABLE_ENTRIES_MAX:
        return np.flatnonzero(np.isin(sessions, own))
    # A table of a byte a session is ten times as fast as comparing with each.
    table = np.zeros(high - low + 3, dtype=np.bool_)
    table[shared - low + 1] = True
    held = table[np.clip(sessions, low - 1, high + 1) - (low - 1)]
    held[rows] = True
    return np.flatnonzero(held)
