"""What a recall has to know of every searched row, read from an index of the table and never from the rows themselves.

All values of a column come as one JSON text: to fetch ten thousand rows one by one took longer than to find them. A
session is told by all three fields of its scope.
"""

import json
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, func, select

from memory.store.tables import memories
from retrieval.corpus import Columns
from retrieval.passages import PASSAGE_BITS, expand

_MICROSECONDS = len("2026-03-14T09:00:00.000000")
_SEPARATOR = "\x1f"


def read(connection: Connection, where: Iterable[ColumnElement[bool]]) -> Columns:
    """The columns of the memories that meet the conditions, a row for each passage."""
    m = memories.c
    session = m.session_id + _SEPARATOR + func.coalesce(m.user_id, "") + _SEPARATOR + func.coalesce(m.agent_id, "")
    wanted = (m.row, m.terms, m.speaker, m.role == "assistant", m.kind == "document", m.traits, session)
    arrays = [func.json_group_array(each) for each in (*wanted, func.substr(m.order_at, 1, _MICROSECONDS))]
    split = func.json_group_array(func.json_array(m.row, func.json(m.passages))).filter(m.passages.is_not(None))
    found = connection.execute(select(*arrays, split).where(*where)).one()
    rows, lengths, speakers, replies, documents, traits, sessions, moments, passages = map(json.loads, found)
    order = np.argsort(rows, kind="stable")
    held = np.array(rows, dtype=np.int64)[order]
    columns = Columns(
        rows=held << PASSAGE_BITS,
        lengths=np.array(lengths, dtype=np.int32)[order],
        speakers=np.array(speakers, dtype=object)[order].tolist(),
        replies=(np.array(replies, dtype=object) == 1)[order],
        documents=np.array(documents, dtype=np.bool_)[order],
        traits=np.array(traits, dtype=np.int64)[order],
        sessions=session_codes(sessions, rows)[order],
        moments=np.array(moments, dtype="datetime64[us]")[order],
    )
    return _by_passage(columns, held, sorted(passages)) if passages else columns


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


def _by_passage(columns: Columns, rows: NDArray[np.int64], passages: Sequence[tuple[int, list[int]]]) -> Columns:
    """The columns with a row for each passage of those memories that have several."""
    counts = np.ones(len(rows), dtype=np.int64)
    counts[np.searchsorted(rows, [row for row, _ in passages])] = [len(lengths) for _, lengths in passages]
    lengths = np.repeat(columns.lengths, counts)
    lengths[np.repeat(counts > 1, counts)] = [length for _, each in passages for length in each]
    return Columns(
        rows=expand(rows, counts),
        lengths=lengths,
        speakers=np.repeat(np.array(columns.speakers, dtype=object), counts).tolist(),
        replies=np.repeat(columns.replies, counts),
        documents=np.repeat(columns.documents, counts),
        traits=np.repeat(columns.traits, counts),
        sessions=np.repeat(columns.sessions, counts),
        moments=np.repeat(columns.moments, counts),
    )
