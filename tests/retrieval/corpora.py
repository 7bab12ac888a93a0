"""What the tests of a search share: rows that are told in a line each, and an encoder with one axis a word.

A text is heard as its words; the vector of a word is one of `DIMENSIONS` axes, so that the codes of a row have one bit
a token, and the similarity of a query token with a row is 1 / sqrt(DIMENSIONS) where the row has the word, and
-1 / sqrt(DIMENSIONS) where it has not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count

import numpy as np

from retrieval.analysis import terms
from retrieval.corpus import Corpus, RowText
from retrieval.lexical_memory import InMemoryLexicalIndex
from retrieval.passages import key
from retrieval.ports import Codes, Floats, TokenVectors, VectorChange
from retrieval.traits import Trait, traits
from retrieval.vector_memory import InMemoryVectorIndex

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
DIMENSIONS = 16
AXES = ("dog", "park", "cat", "film", "lake", "bread", "piano")
UNIT = 1 / np.sqrt(np.float32(DIMENSIONS))


def at(degrees: float) -> Floats:
    """The unit vector at this angle from every query's."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return vector


def axis(word: str) -> Floats:
    """The vector of a word; words without an axis share the last one."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[AXES.index(word) if word in AXES else -1] = 1
    return vector


def codes(words: str) -> Codes:
    """The codes of a row that has these words: a token each."""
    bits = [axis(word) > 0 for word in words.split()]
    return np.packbits(np.array(bits, dtype=np.bool_).reshape(-1, DIMENSIONS), axis=1)


class AxisEncoder:
    """Pools every text to the vector at 0 degrees, hears its words, and remembers what it was asked."""

    name = fingerprint = "axes"
    dimensions = DIMENSIONS

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        return np.stack([at(0)] * len(texts))

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        words = [tuple(text.lower().rstrip("?").split()) for text in texts]
        none = np.zeros((0, DIMENSIONS), dtype=np.float32)
        return [TokenVectors(each, np.stack(list(map(axis, each))) if each else none) for each in words]

    def encode_both(self, texts: Sequence[str]) -> tuple[Floats, list[TokenVectors]]:
        self.asked += texts
        return self.encode(texts), self.encode_tokens(texts)

    def count_tokens(self, text: str) -> int:
        return len(text.split())


@dataclass(frozen=True)
class Row:
    """One passage.

    Attributes:
        angle: of its vector in the index; None: it has none there.
        heard: the words of its codes in the index.
        fresh: the angle and the words of what the index does not have yet.
        session: None: one of its own.
        said: when it happened; None: not known.
        turn: what it is ordered by where that is not known.
        noise: whether it says nothing to keep.
    """

    text: str = "cat"
    angle: float | None = None
    heard: str = ""
    fresh: tuple[float, str] | None = None
    speaker: str | None = None
    session: int | None = None
    said: datetime | None = None
    turn: int = 0
    reply: bool = False
    noise: bool = False
    document: bool = False
    passage: tuple[int, int] | None = None


@dataclass
class World:
    """Rows by key, and which of them were described."""

    rows: Mapping[int, Row]
    nudges: Mapping[int, float] = field(default_factory=dict)
    described: list[int] = field(default_factory=list)

    def corpus(self, written: Sequence[int] | None = None) -> Corpus:
        """The searched rows; `written` is the order in which full text got them."""
        keys = sorted(self.rows)
        rows = [self.rows[each] for each in keys]
        lexical = InMemoryLexicalIndex()
        for each in written or keys:
            lexical.add("n", each, terms(self.rows[each].text))
        own = count(1000)

        def describe(wanted: Sequence[int]) -> list[RowText]:
            self.described += wanted
            return [RowText(self.rows[each].text, self.rows[each].said, self.rows[each].passage) for each in wanted]

        told = [row.said or datetime(2000, 1, 1, 0, 0, row.turn, tzinfo=UTC) for row in rows]
        dated = [(Trait.DATED if row.said else 0) | (Trait.NOISE if row.noise else 0) for row in rows]
        fresh = {each: row.fresh for each, row in self.rows.items() if row.fresh}
        return Corpus(
            rows=np.array(keys, dtype=np.int64),
            lengths=np.array([len(terms(row.text)) for row in rows], dtype=np.int32),
            speakers=[row.speaker for row in rows],
            replies=np.array([row.reply for row in rows], dtype=np.bool_),
            documents=np.array([row.document for row in rows], dtype=np.bool_),
            traits=np.array([int(traits(row.text)) | int(bit) for row, bit in zip(rows, dated, strict=True)], np.int64),
            sessions=np.array([next(own) if row.session is None else row.session for row in rows], dtype=np.int64),
            moments=np.array([moment.replace(tzinfo=None) for moment in told], dtype="datetime64[us]"),
            lexical=lexical,
            describe=describe,
            vectors={each: at(angle) for each, (angle, _) in fresh.items()},
            codes={each: codes(words) for each, (_, words) in fresh.items()},
            nudges=lambda rows: {row: self.nudges[row] for row in rows if row in self.nudges},
        )

    def index(self, written: Sequence[int] | None = None) -> InMemoryVectorIndex:
        """The vectors and codes of the rows that have an angle."""
        index = InMemoryVectorIndex(DIMENSIONS)
        for each in written or sorted(self.rows):
            row = self.rows[each]
            if row.angle is not None:
                index.apply("n", [VectorChange(each, 1, b"12345678", at(row.angle), codes(row.heard))])
        return index


def memories(*rows: Row) -> dict[int, Row]:
    """Memories 1, 2, ... of one passage each, by their keys."""
    return {key(number): row for number, row in enumerate(rows, 1)}
