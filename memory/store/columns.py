"""What a recall has to know of every searched row, read from an index of the table and never from the rows themselves.

All values of a column come as one JSON text: to fetch ten thousand rows one by one took longer than to find them. What
is text is kept as a number of it (`Names`), and a row of the table is a passage under its key. A session is told by all
three fields of its scope.
"""

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select

from memory.model import Selection
from memory.store.tables import memories
from retrieval.corpus import Columns, Speakers
from retrieval.passages import PASSAGE_BITS, expand, rows_of
from retrieval.ports import Rows
from retrieval.traits import Trait

_MICROSECONDS = len("2026-03-14T09:00:00.000000")
_SEPARATOR = "\x1f"
_NONE = -1
# Of a selection, what a table can tell by itself.
_TOLD = frozenset({"scope", "kinds", "states", "derived"})


class Names:
    """Texts by number, of one column or several. Grows; a number keeps its text, so older tables stay right."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str | None) -> int:
        """Of a text; -1 of None and of a text that no row ever had."""
        return _NONE if text is None else self._numbers.get(text, _NONE)

    def numbers(self, texts: Sequence[str | None]) -> NDArray[np.int32]:
        """Of texts, some of them new."""
        known = self._numbers
        for text in dict.fromkeys(texts):
            if text is not None and text not in known:
                self.texts.append(text)
                known[text] = len(self.texts) - 1
        return np.array([_NONE if text is None else known[text] for text in texts], dtype=np.int32)


@dataclass(frozen=True, slots=True)
class AllNames:
    """The names that the tables of one namespace share."""

    speakers: Names = field(default_factory=Names)
    sessions: Names = field(default_factory=Names)
    # Of users, agents, kinds and states.
    others: Names = field(default_factory=Names)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of memories, `[N]` passages each, ascending by key; see `retrieval.corpus.Columns` for what they mean.

    Attributes:
        speakers: numbers of names; users, agents, kinds, states alike.
        expires: NaT where a memory does not expire.
    """

    rows: Rows
    lengths: NDArray[np.int32]
    speakers: NDArray[np.int32]
    replies: NDArray[np.bool_]
    documents: NDArray[np.bool_]
    traits: NDArray[np.int64]
    sessions: NDArray[np.int64]
    moments: NDArray[np.datetime64]
    users: NDArray[np.int32]
    agents: NDArray[np.int32]
    kinds: NDArray[np.int32]
    states: NDArray[np.int32]
    expires: NDArray[np.datetime64]

    @property
    def bytes_memory(self) -> int:
        """Of all columns."""
        return sum(int(getattr(self, each.name).nbytes) for each in fields(self))

    def pick(self, places: Any) -> "Table":
        """The rows at these places, or where a mask holds."""
        return Table(*(getattr(self, each.name)[places] for each in fields(self)))

    def with_rows(self, read: "Table") -> "Table":
        """The same with the memories of `read` in the place of what it has of them."""
        if not len(read.rows):
            return self
        if not len(self.rows) or rows_of(read.rows[:1])[0] > rows_of(self.rows[-1:])[0]:
            return Table(
                *(np.concatenate([getattr(self, each.name), getattr(read, each.name)]) for each in fields(self))
            )
        kept = self.without(np.unique(rows_of(read.rows)))
        both = Table(*(np.concatenate([getattr(kept, each.name), getattr(read, each.name)]) for each in fields(self)))
        return both.pick(np.argsort(both.rows, kind="stable"))

    def without(self, rows: Rows) -> "Table":
        """The same without these memories."""
        return self.pick(~np.isin(rows_of(self.rows), rows))

    def columns(self, names: AllNames) -> Columns:
        """As a search takes them; an index may remember what read-only row numbers came to."""
        self.rows.setflags(write=False)
        return Columns(
            rows=self.rows,
            lengths=self.lengths,
            speakers=Speakers(names.speakers.texts, self.speakers),
            replies=self.replies,
            documents=self.documents,
            traits=self.traits,
            sessions=self.sessions,
            moments=self.moments,
        )

    def matching(self, selection: Selection, names: AllNames, now: datetime) -> NDArray[np.bool_]:
        """`[N]` which rows a selection that `tells_all` of holds; the conditions in SQL say the same."""
        at = moment(now)
        held = np.isnat(self.expires) | (self.expires > at)
        held &= np.isin(self.states, [names.others.number(state) for state in selection.states])
        if selection.kinds:
            held &= np.isin(self.kinds, [names.others.number(kind) for kind in selection.kinds])
        for column, wanted in ((self.users, selection.scope.user_id), (self.agents, selection.scope.agent_id)):
            if wanted is not None:
                number = names.others.number(wanted)
                held &= (column == number) & (number != _NONE)
        if selection.derived is not None:
            held &= ((self.traits & int(Trait.DERIVED)) != 0) == selection.derived
        return held


def moment(at: datetime) -> np.datetime64:
    """A time as the columns have it."""
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "us")


def tells_all(selection: Selection) -> bool:
    """Whether a table knows all that this selection asks for."""
    plain = Selection()
    rest = (each.name for each in fields(Selection) if each.name not in _TOLD)
    return selection.scope.session_id is None and all(getattr(selection, each) == getattr(plain, each) for each in rest)


def read(connection: Connection, where: Iterable[ColumnElement[bool]], names: AllNames) -> Table:
    """The memories that meet the conditions, a row for each passage."""
    m = memories.c
    session = m.session_id + _SEPARATOR + func.coalesce(m.user_id, "") + _SEPARATOR + func.coalesce(m.agent_id, "")
    times = (func.substr(each, 1, _MICROSECONDS) for each in (m.order_at, m.expires_at))
    assistant = m.role == "assistant"
    wanted = (m.row, m.terms, m.speaker, assistant, m.kind, m.traits, session, m.user_id, m.agent_id, m.state, *times)
    split = func.json_group_array(func.json_array(m.row, func.json(m.passages))).filter(m.passages.is_not(None))
    query = select(*(func.json_group_array(each) for each in wanted), split).where(*where)
    found = [json.loads(each) for each in connection.execute(query).one()]
    rows, lengths, speakers, replies, kinds, traits, sessions, users, agents, states, moments, expires, passages = found
    numbered = np.array(rows, dtype=np.int64)
    kind_numbers = names.others.numbers(kinds)
    in_session = names.sessions.numbers(sessions).astype(np.int64)
    table = Table(
        rows=numbered << PASSAGE_BITS,
        lengths=np.array(lengths, dtype=np.int32),
        speakers=names.speakers.numbers(speakers),
        replies=np.array(replies, dtype=object) == 1,
        documents=kind_numbers == names.others.numbers(["document"])[0],
        traits=np.array(traits, dtype=np.int64),
        # A memory outside any session has one of its own, below 0.
        sessions=np.where(in_session == _NONE, ~numbered, in_session),
        moments=np.array(moments, dtype="datetime64[us]"),
        users=names.others.numbers(users),
        agents=names.others.numbers(agents),
        kinds=kind_numbers,
        states=names.others.numbers(states),
        expires=np.array([each or "NaT" for each in expires], dtype="datetime64[us]"),
    ).pick(np.argsort(numbered, kind="stable"))
    return _by_passage(table, sorted(passages)) if passages else table


def read_rows(connection: Connection, where: Iterable[ColumnElement[bool]]) -> Rows:
    """The numbers of the memories that meet the conditions, ascending."""
    found = connection.scalar(select(func.json_group_array(memories.c.row)).where(*where))
    return np.sort(np.array(json.loads(found or "[]"), dtype=np.int64))


def session_codes(sessions: Sequence[Hashable | None], rows: Sequence[int]) -> NDArray[np.int64]:
    """Numbers that are equal within a session; that of a memory outside any is its own, below 0."""
    codes: dict[Hashable, int] = {}
    return np.array(
        [
            ~row if session is None else codes.setdefault(session, len(codes))
            for session, row in zip(sessions, rows, strict=True)
        ],
        dtype=np.int64,
    )


def _by_passage(table: Table, passages: Sequence[tuple[int, list[int]]]) -> Table:
    """The table with a row for each passage of those memories that have several."""
    rows = rows_of(table.rows)
    counts = np.ones(len(rows), dtype=np.int64)
    counts[np.searchsorted(rows, [row for row, _ in passages])] = [len(lengths) for _, lengths in passages]
    values = {each.name: np.repeat(getattr(table, each.name), counts) for each in fields(table)}
    values["rows"] = expand(rows, counts)
    values["lengths"][np.repeat(counts > 1, counts)] = [length for _, each in passages for length in each]
    return Table(**values)
