"""Product quantizers that learn from a sample: what training adds to `gaussian_pq` at the same bytes.

A vector is cut into `parts` subvectors, each replaced by the number of the nearest of its own `2^bits` centroids
(Jégou, Douze and Schmid, PAMI 2011). `rotated` learns an orthogonal matrix together with the centroids, so that the
parts carry alike and are independent (Ge, He, Ke and Sun, "Optimized Product Quantization", CVPR 2013, section 4.1,
non-parametric). `balanced` evens out how often each centroid is taken, which k-means does not ask for: in each round
the distance to a centroid is raised by a price that grows with its share (Zhan et al., "Learning Discrete
Representations via Constrained Clustering for Effective and Efficient Dense Retrieval", WSDM 2022: RepCONC, section
4.2; there while the encoder is trained, here for an encoder as it is).
"""

from dataclasses import dataclass, field

import faiss
import numpy as np
from numpy.typing import NDArray

from compress.vectors.codec import Bytes, Floats
from compress.vectors.gaussian_pq import numbers_of

SAMPLE_MAX = 16_384
# With more of each, learning a rotation of 384 dimensions takes minutes and finds no more.
_OPQ_SAMPLE_MAX = 4096
_OPQ_ROUNDS = 4
_BALANCE_ROUNDS = 12
_PRICE = 0.5


@dataclass(frozen=True, slots=True)
class TrainedPQ:
    """See the module's docstring; `fit` makes one.

    Attributes:
        matrix: `[D, D]` orthogonal, or None.
        centroids: `[parts, 2^bits, D / parts]`.
    """

    centroids: Floats = field(repr=False)
    matrix: Floats | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls, sample: Floats, parts: int, bits: int, seed: int, *, rotated: bool = False, balanced: bool = False
    ) -> "TrainedPQ":
        """Learn from vectors `[N, D]`; at most `SAMPLE_MAX` of them are read, and D is a multiple of `parts`."""
        chosen = np.random.default_rng(seed).permutation(len(sample))[:SAMPLE_MAX]
        known = np.ascontiguousarray(sample[chosen])
        dimensions = known.shape[1]
        matrix = None
        if rotated:
            learned = faiss.OPQMatrix(dimensions, parts)
            learned.niter, learned.max_train_points = _OPQ_ROUNDS, _OPQ_SAMPLE_MAX
            learned.pq = _quantizer(dimensions, parts, bits, seed)
            learned.train(known)
            matrix = faiss.vector_to_array(learned.A).reshape(dimensions, dimensions).T.copy()
            known = np.ascontiguousarray(known @ matrix)
        quantizer = _quantizer(dimensions, parts, bits, seed)
        quantizer.train(known)
        centroids = faiss.vector_to_array(quantizer.centroids).reshape(parts, 1 << bits, dimensions // parts)
        return cls(_balanced(known, centroids) if balanced else centroids, matrix)

    @property
    def bits(self) -> int:
        """Of one part's code: 4 or 8."""
        return int(self.centroids.shape[1]).bit_length() - 1

    @property
    def bytes_vector(self) -> int:
        return len(self.centroids) * self.bits // 8

    def encode(self, vectors: Floats) -> Bytes:
        turned = vectors if self.matrix is None else vectors @ self.matrix
        parts = zip(self._cut(turned), self.centroids, strict=True)
        numbers = np.stack([nearest(part, centroids) for part, centroids in parts], axis=1)
        packed = numbers if self.bits == 8 else numbers[:, ::2] | numbers[:, 1::2] << 4
        return packed.astype(np.uint8)

    def decode(self, codes: Bytes) -> Floats:
        numbers = self._numbers(codes)
        parts = [centroids[number] for centroids, number in zip(self.centroids, numbers.T, strict=True)]
        turned = np.concatenate(parts, axis=1)
        decoded: Floats = turned if self.matrix is None else turned @ self.matrix.T
        return decoded

    def score(self, query: Floats, codes: Bytes) -> Floats:
        turned = query if self.matrix is None else query @ self.matrix
        table = np.stack([c @ part[0] for c, part in zip(self.centroids, self._cut(turned[None]), strict=True)])
        scores: Floats = table[np.arange(len(table)), self._numbers(codes)].sum(axis=1, dtype=np.float32)
        return scores

    def _cut(self, vectors: Floats) -> list[Floats]:
        return np.split(vectors, len(self.centroids), axis=1)

    def _numbers(self, codes: Bytes) -> Bytes:
        return codes if self.bits == 8 else numbers_of(codes)


def _quantizer(dimensions: int, parts: int, bits: int, seed: int) -> faiss.ProductQuantizer:
    quantizer = faiss.ProductQuantizer(dimensions, parts, bits)
    quantizer.cp.seed, quantizer.cp.min_points_per_centroid = seed, 1
    return quantizer


def nearest(vectors: Floats, centroids: Floats, prices: Floats | float = 0.0) -> NDArray[np.int64]:
    """Each vector's nearest centroid, with a price added to its squared distance."""
    reach = vectors @ centroids.T - ((centroids**2).sum(axis=1) + prices) / 2
    found: NDArray[np.int64] = np.argmax(reach, axis=1)
    return found


def _balanced(sample: Floats, centroids: Floats) -> Floats:
    """The centroids after rounds of priced assignment, part by part."""
    moved = []
    for part, start in zip(np.split(sample, len(centroids), axis=1), centroids, strict=True):
        count, now = len(start), start
        spread = float(((part - start[nearest(part, start)]) ** 2).sum(axis=1).mean())
        prices = np.zeros(count, dtype=np.float32)
        for _ in range(_BALANCE_ROUNDS):
            taken = nearest(part, now, prices)
            shares = np.bincount(taken, minlength=count) * count / len(part)
            prices += np.float32(_PRICE * spread) * (shares - 1).astype(np.float32) / count
            sums = np.stack([np.bincount(taken, column, count) for column in part.T], axis=1)
            now = np.where(shares[:, None] > 0, sums / np.maximum(shares * len(part) / count, 1)[:, None], now)
        moved.append(now.astype(np.float32))
    return np.stack(moved)
