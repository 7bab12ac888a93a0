"""One bit a dimension: signs, and the inner products of a float query with vectors of signs.

`BinaryCodec` is the plain sign code: candidates by Hamming distance (one XOR and a population count a word), reranked
by the query's floats against the signs (Yamada, Asai and Hajishirzi, "Efficient Passage Retrieval with Hashing for
Open-domain Question Answering", ACL 2021: BPR, section 3.2). A code decodes to its signs times the one length that fits
unit vectors of independent normal components best, `sqrt(2 / pi / D)`.

`RotatedBitsCodec` turns vectors by a random rotation first and keeps with each code what its signs lost: the inner
product of the vector with its own signs, by which a score is divided. The estimate is then unbiased, with an error of
`O(1 / sqrt(D))` (Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound", SIGMOD
2024, section 3.2, theorem 3.2). Unbiased is not nearest: what it decodes to is longer than the vector.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compress.vectors.codec import Bytes, Floats
from compress.vectors.gaussian_pq import rotation

_FACTOR_BYTES = 4


@dataclass(frozen=True, slots=True)
class BinaryCodec:
    """Signs of the components as they are."""

    dimensions: int

    @property
    def bytes_vector(self) -> int:
        return -(-self.dimensions // 8)

    def encode(self, vectors: Floats) -> Bytes:
        return np.packbits(vectors > 0, axis=1)

    def decode(self, codes: Bytes) -> Floats:
        length = np.float32(np.sqrt(2 / np.pi / self.dimensions))
        decoded: Floats = signs(codes, self.dimensions) * length
        return decoded

    def score(self, query: Floats, codes: Bytes) -> Floats:
        scores: Floats = self.decode(codes) @ query
        return scores

    def distances(self, code: Bytes, codes: Bytes) -> NDArray[np.int64]:
        """The Hamming distances `[N]` of a code `[bytes]` to codes: what finds the candidates."""
        differing = np.bitwise_count(codes ^ code)
        found: NDArray[np.int64] = differing.sum(axis=1, dtype=np.int64)
        return found


@dataclass(frozen=True, slots=True)
class RotatedBitsCodec:
    """Signs after a random rotation, with the factor that makes scores unbiased, for unit vectors."""

    dimensions: int
    seed: int = 1

    @property
    def bytes_vector(self) -> int:
        return -(-self.dimensions // 8) + _FACTOR_BYTES

    def encode(self, vectors: Floats) -> Bytes:
        # In double precision, so that a code is the same in whatever batch a BLAS multiplies its vector.
        turned = vectors.astype(np.float64) @ rotation(self.dimensions, self.seed)
        bits = np.packbits(turned > 0, axis=1)
        own = np.abs(turned).sum(axis=1)
        squares = (vectors.astype(np.float64) ** 2).sum(axis=1)
        factors = (squares / np.maximum(own, 1e-30)).astype(np.float32)
        return np.concatenate([bits, factors[:, None].view(np.uint8)], axis=1)

    def decode(self, codes: Bytes) -> Floats:
        bits, factors = self._parts(codes)
        decoded: Floats = signs(bits, self.dimensions) @ rotation(self.dimensions, self.seed).T
        decoded *= factors[:, None]
        return decoded

    def score(self, query: Floats, codes: Bytes) -> Floats:
        bits, factors = self._parts(codes)
        turned: Floats = query @ rotation(self.dimensions, self.seed)
        sums: Floats = signs(bits, self.dimensions) @ turned
        return sums * factors

    def _parts(self, codes: Bytes) -> tuple[Bytes, Floats]:
        factors = np.ascontiguousarray(codes[:, -_FACTOR_BYTES:]).view(np.float32)[:, 0]
        return codes[:, :-_FACTOR_BYTES], np.asarray(factors, dtype=np.float32)


def signs(bits: Bytes, dimensions: int) -> Floats:
    """Bits `[N, bytes]` as +1 and -1, `[N, D]`."""
    return np.where(np.unpackbits(bits, axis=1, count=dimensions), np.float32(1), np.float32(-1))
