"""The seams of retrieval: encoders and indexes, each held to one contract in `tests/contract`.

Rows are int64 numbers that are never reused: in every index the keys of passages, which are a memory's row and the
number of the passage in it (`retrieval.passages`). Vectors are float32 of unit length, so that an inner product is a
cosine. The namespace is a required argument of everything that reads or writes rows: it is the hard wall, not a filter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]
"""Token codes of one text, `[T, ceil(D / 8)]`: one bit a dimension of each token vector (`retrieval.token_codes`)."""


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The last hidden states of one text, special tokens left out.

    Attributes:
        tokens: the `T` tokens as the tokenizer writes them.
        vectors: `[T, D]` float32, each of unit length.
    """

    tokens: tuple[str, ...]
    vectors: Floats


class Encoder(Protocol):
    """Texts to vectors. Deterministic: the same text gives the same vector in any batch, to 1e-3 in cosine."""

    @property
    def name(self) -> str:
        """What the model is called."""
        ...

    @property
    def fingerprint(self) -> str:
        """A short digest that changes when the vectors would: an index built under another one does not serve."""
        ...

    @property
    def dimensions(self) -> int:
        """D."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """Pooled vectors `[N, D]`, float32, unit length. An empty text gets a vector too; N = 0 gives `[0, D]`."""
        ...

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """One `TokenVectors` a text, in order."""
        ...

    def encode_both(self, texts: Sequence[str]) -> tuple[Floats, list[TokenVectors]]:
        """What `encode` and `encode_tokens` give, from one pass over the texts."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of the whole text, without special tokens and without truncation."""
        ...


@dataclass(frozen=True, slots=True)
class VectorChange:
    """One change to an index.

    Attributes:
        row: the key of a passage.
        version: the memory's version that this comes from.
        digest: 8 bytes over what was encoded, so that `verify` sees a stale vector.
        vector: `[D]` float32 of unit length, or None to delete the row (and overwrite its bytes on disk).
        codes: the token codes of what was encoded; None: none, as with T = 0.
    """

    row: int
    version: int
    digest: bytes
    vector: Floats | None
    codes: Codes | None = None


@dataclass(frozen=True, slots=True)
class TokenCodes:
    """The token codes of several rows.

    Attributes:
        rows: `[K]` ascending: those that the index has.
        starts: `[K + 1]`: the codes of `rows[k]` are `bits[starts[k] : starts[k + 1]]`.
        bits: `[sum T, ceil(D / 8)]`.
    """

    rows: Rows
    starts: NDArray[np.int64]
    bits: Codes


@dataclass(frozen=True, slots=True)
class RowState:
    """What an index knows of one row: enough to compare it with SQL."""

    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """Sizes of one namespace's index: live rows, bytes on disk and in memory."""

    rows: int
    bytes_disk: int
    bytes_memory: int
    generation: int


class VectorIndex(Protocol):
    """Nearest neighbours by inner product, filtered inside the search: asking for k gives k when k exist.

    Vectors are kept in float16 at least (a cosine moves by 2^-11 at most); an inner product is exact for what is kept,
    and has the same bits wherever the row is. Among few rows the best are the best; among many (above 10,000 allowed,
    unless most are asked for) an index may miss one, and then has the next one instead.
    """

    def apply(self, namespace: str, changes: Sequence[VectorChange]) -> None:
        """Apply changes in order. Durable, and seen by every process's next search, when it returns.

        Raises:
            InvalidInput: a vector or its codes have another dimension, or a vector holds NaN, infinity or zeros only.
        """
        ...

    def search(self, namespace: str, query: Floats, limit: int, allowed: Rows | None = None) -> tuple[Rows, Floats]:
        """The best `limit` rows among `allowed` (None: all rows), best first; equal scores by row, ascending.

        Args:
            query: `[D]` float32.
            allowed: sorted row numbers; rows that the index lacks are left out. One that is read-only and owns its
                memory must stay as it is: what it comes to is remembered.

        Returns:
            rows `[K]` and their inner products `[K]`.
        """
        ...

    def vectors(self, namespace: str, rows: Rows) -> tuple[Rows, Floats]:
        """The stored vectors of those of `rows` that the index has: rows `[K]` and vectors `[K, D]`, by row."""
        ...

    def codes(self, namespace: str, rows: Rows) -> TokenCodes:
        """The token codes of those of `rows` that the index has, by row."""
        ...

    def states(self, namespace: str) -> Mapping[int, RowState]:
        """Every live row's version and digest."""
        ...

    def statistics(self, namespace: str) -> IndexStatistics:
        """Sizes, for `/v1/stats`."""
        ...


@dataclass(frozen=True, slots=True)
class LexicalHits:
    """What a lexical search found.

    Attributes:
        rows: `[K]` best first.
        scores: `[K]`, above 0.
        terms: the `T` distinct terms that were searched for.
        rarity: `[T]` the idf of each among the searched rows.
        holds: `[T, K]` whether a row has a term.
    """

    rows: Rows
    scores: Floats
    terms: tuple[str, ...]
    rarity: Floats
    holds: NDArray[np.bool_]

    @property
    def ceiling(self) -> float:
        """What no score of a query without repeated terms reaches, whatever a row holds."""
        return float(self.rarity.sum())


@dataclass(frozen=True, slots=True)
class LexicalScores:
    """BM25 of all searched rows.

    Attributes:
        scores: `[N]`; 0 exactly where a row has none of the terms.
        terms: the `T` distinct terms that were searched for.
        rarity: `[T]` the idf of each among the searched rows.
        places: for each term which of the searched rows hold it, ascending.
    """

    scores: Floats
    terms: tuple[str, ...]
    rarity: Floats
    places: tuple[NDArray[np.int64], ...]

    @property
    def ceiling(self) -> float:
        """What no score of a query without repeated terms reaches, whatever a row holds."""
        return float(self.rarity.sum())

    def holds(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`[T, K]` which of the searched rows at these places `[K]` hold each term."""
        found = [np.isin(rows, places) for places in self.places]
        return np.array(found, dtype=np.bool_).reshape(len(self.terms), len(rows))


class LexicalIndex(Protocol):
    """BM25 over the analysed terms of each row, with the statistics of the searched rows only."""

    def score(self, namespace: str, terms: Sequence[str], allowed: Rows, lengths: NDArray[np.int32]) -> LexicalScores:
        """The score of every one of the searched rows; the arguments are those of `search`."""
        ...

    def search(
        self, namespace: str, terms: Sequence[str], limit: int, allowed: Rows, lengths: NDArray[np.int32]
    ) -> LexicalHits:
        """The best `limit` rows among `allowed` that hold any of `terms`, best first; equal scores by row, ascending.

        Args:
            terms: analysed query terms (`retrieval.analysis`), repeats allowed.
            allowed: `[N]` sorted row numbers: the searched rows. Their count, mean length and term counts are the
                statistics, so that no other row, of this tenant or another, changes a score.
            lengths: `[N]` analysed terms in each of them.
        """
        ...
