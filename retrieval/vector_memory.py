"""Vectors in a dict: the `VectorIndex` that the others are compared with by value. Also the checks of what comes in."""

from collections.abc import Mapping, Sequence

import numpy as np

from recalld.core.errors import InvalidInput
from retrieval.ports import Codes, Floats, IndexStatistics, Rows, RowState, TokenCodes, VectorChange
from retrieval.ranking import best
from retrieval.vector_codes import width

DIGEST_BYTES = 8
# Of float16, which vectors are kept in.
HALF_MAX = 65504.0
HALF_MIN = 2.0**-24
_VERSION_MAX = 2**32 - 1
_ROW_MAX = 2**63 - 1


def check_changes(changes: Sequence[VectorChange], dimensions: int) -> None:
    """Refuse, before anything is written, what no index can hold.

    Raises:
        InvalidInput: a vector or its codes have another dimension or type, or a vector holds NaN or infinity; a
            number is out of range.
    """
    sound = _all_sound([change.vector for change in changes if change.vector is not None], dimensions)
    for number, change in enumerate(changes):
        if change.vector is not None and not sound:
            check_vector(f"changes.{number}.vector", change.vector, dimensions)
        if change.codes is not None:
            _check_codes(f"changes.{number}.codes", change.codes, width(dimensions))
        if len(change.digest) != DIGEST_BYTES:
            raise InvalidInput.of(f"changes.{number}.digest", f"must have {DIGEST_BYTES} bytes", DIGEST_BYTES)
        if not 0 <= change.row <= _ROW_MAX:
            raise InvalidInput.of(f"changes.{number}.row", f"must be between 0 and {_ROW_MAX}", _ROW_MAX)
        if not 0 <= change.version <= _VERSION_MAX:
            raise InvalidInput.of(f"changes.{number}.version", f"must be between 0 and {_VERSION_MAX}", _VERSION_MAX)


def _all_sound(vectors: Sequence[Floats], dimensions: int) -> bool:
    """Whether `check_vector` lets all of them pass, found out at once: many calls of it take longer than the rest."""
    if not vectors or any(vector.shape != (dimensions,) or vector.dtype != np.float32 for vector in vectors):
        return False
    largest = np.abs(np.array(vectors)).max(axis=1, initial=0.0)
    return bool(((largest >= HALF_MIN) & (largest <= HALF_MAX)).all())


def check_vector(field: str, vector: Floats, dimensions: int) -> None:
    """Refuse a vector that is not `[dimensions]` finite float32 with a direction, none too large for float16.

    Raises:
        InvalidInput: it is not.
    """
    if vector.shape != (dimensions,) or vector.dtype != np.float32:
        raise InvalidInput.of(field, f"must have {dimensions} float32 numbers", dimensions)
    if not np.isfinite(vector).all():
        raise InvalidInput.of(field, "must not hold NaN or infinity")
    largest = float(np.abs(vector).max(initial=0.0))
    if largest < HALF_MIN:
        raise InvalidInput.of(field, "must have a direction: all its numbers are 0")
    if largest > HALF_MAX:
        raise InvalidInput.of(field, f"must hold no number above {HALF_MAX:.0f}", int(HALF_MAX))


def _check_codes(field: str, codes: Codes, bytes_each: int) -> None:
    if codes.ndim != 2 or codes.shape[1] != bytes_each or codes.dtype != np.uint8:
        raise InvalidInput.of(field, f"must have {bytes_each} uint8 numbers a token", bytes_each)


class InMemoryVectorIndex:
    """The reference of `VectorIndex`: every search compares everything, in float64."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._kept: dict[str, dict[int, tuple[RowState, Floats, Codes]]] = {}
        self._generations: dict[str, int] = {}

    def apply(self, namespace: str, changes: Sequence[VectorChange]) -> None:
        check_changes(changes, self._dimensions)
        kept = self._kept.setdefault(namespace, {})
        self._generations[namespace] = self._generations.get(namespace, 0) + 1
        for change in changes:
            if change.vector is None:
                kept.pop(change.row, None)
            else:
                codes = (
                    np.zeros((0, width(self._dimensions)), np.uint8) if change.codes is None else change.codes.copy()
                )
                kept[change.row] = RowState(change.version, change.digest), change.vector.copy(), codes

    def search(self, namespace: str, query: Floats, limit: int, allowed: Rows | None = None) -> tuple[Rows, Floats]:
        check_vector("query", query, self._dimensions)
        wanted = np.array(list(self._kept.get(namespace, {})), dtype=np.int64) if allowed is None else allowed
        rows, vectors = self.vectors(namespace, wanted)
        scores = (vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
        return best(rows, scores, limit)

    def vectors(self, namespace: str, rows: Rows) -> tuple[Rows, Floats]:
        kept = self._kept.get(namespace, {})
        found = [row for row in sorted(rows.tolist()) if row in kept]
        vectors = np.array([kept[row][1] for row in found], dtype=np.float32)
        return np.array(found, dtype=np.int64), vectors.reshape(len(found), self._dimensions)

    def codes(self, namespace: str, rows: Rows) -> TokenCodes:
        kept = self._kept.get(namespace, {})
        found = [row for row in sorted(rows.tolist()) if row in kept]
        bits = [kept[row][2] for row in found]
        starts = np.cumsum([0, *map(len, bits)], dtype=np.int64)
        none = np.zeros((0, width(self._dimensions)), dtype=np.uint8)
        return TokenCodes(np.array(found, dtype=np.int64), starts, np.concatenate([none, *bits]))

    def states(self, namespace: str) -> Mapping[int, RowState]:
        return {row: state for row, (state, *_) in self._kept.get(namespace, {}).items()}

    def statistics(self, namespace: str) -> IndexStatistics:
        rows = len(self._kept.get(namespace, {}))
        return IndexStatistics(rows, 0, rows * self._dimensions * 4, self._generations.get(namespace, 0))
