"""Product quantization without a training set: one bit a dimension, 48 bytes for 384 dimensions.

A unit vector turned by a fixed random rotation has components that are nearly independent and normal, N(0, 1/D), be the
vector what it may. So the best codebook is known beforehand: that of the normal distribution. Here it is the optimal
quantizer of four normal components with 16 centroids (.34 of the variance is lost, the scalar Lloyd-Max quantizer of
one bit loses .363, the rate-distortion bound is .25). A trained codebook found no more of the nearest on the
embeddings that `bench/vector_index` measures, and a new namespace has nothing to train one on. What is drawn comes from
`RandomState`, whose numbers numpy promises to keep: codes on disk outlive a version of it.

Sources: Jégou, Douze and Schmid (PAMI 2011) for product quantization; Max, "Quantizing for Minimum Distortion" (IRE
1960), and Linde, Buzo and Gray (IEEE Trans. Comm. 1980) for the codebook; Gao and Long, "RaBitQ" (SIGMOD 2024), section
3.1, for the random rotation in place of training.
"""

from dataclasses import dataclass
from functools import lru_cache

import faiss
import numpy as np

from compress.vectors.codec import Bytes, Floats

SUBVECTOR = 4
CENTROIDS = 16
_CODEBOOK_SAMPLE = 1 << 15
_CODEBOOK_ROUNDS = 40
_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class GaussianPQ:
    """See the module's docstring.

    Attributes:
        dimensions: D; filled up with zeros to a multiple of 8 inside.
        seed: of the rotation and the codebook. Codes made with one do not compare with another's.
    """

    dimensions: int
    seed: int = 1

    @property
    def padded(self) -> int:
        """D rounded up to whole bytes of codes: two subvectors each."""
        return -(-self.dimensions // (2 * SUBVECTOR)) * 2 * SUBVECTOR

    @property
    def bytes_vector(self) -> int:
        return self.padded // (2 * SUBVECTOR)

    def rotated(self, vectors: Floats) -> Floats:
        """`[N, D]` to `[N, padded]`: what subvectors are cut from."""
        turned: Floats = vectors @ rotation(self.padded, self.seed)[: self.dimensions]
        return turned

    def centroids(self) -> Floats:
        """`[16, 4]`, the same for each subvector."""
        return normal_codebook(self.seed) / np.float32(np.sqrt(self.padded))

    def encode(self, vectors: Floats) -> Bytes:
        faiss.omp_set_num_threads(1)
        quantizer = _quantizer(self)
        codes = np.empty((len(vectors), self.bytes_vector), dtype=np.uint8)
        for start in range(0, len(vectors), _CHUNK_ROWS):
            part = vectors[start : start + _CHUNK_ROWS]
            lengths = np.linalg.norm(part, axis=1, keepdims=True)
            unit = part / np.maximum(lengths, np.float32(1e-30))
            codes[start : start + len(part)] = quantizer.compute_codes(self.rotated(unit))
        return codes

    def decode(self, codes: Bytes) -> Floats:
        split = numbers_of(codes)
        turned = self.centroids()[split].reshape(len(codes), self.padded)
        back: Floats = turned @ rotation(self.padded, self.seed)[: self.dimensions].T
        return back

    def score(self, query: Floats, codes: Bytes) -> Floats:
        table = self.rotated(query[None]).reshape(-1, SUBVECTOR) @ self.centroids().T
        scores: Floats = table[np.arange(len(table)), numbers_of(codes)].sum(axis=1, dtype=np.float32)
        return scores


def numbers_of(codes: Bytes) -> Bytes:
    """The numbers of centroids `[N, 2 * bytes]`: two in a byte, the first one in the low bits."""
    return np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(codes), 2 * codes.shape[1])


def _nearest(vectors: Floats, centroids: Floats) -> Bytes:
    """Each vector's nearest centroid, `[N]`."""
    half_squares = (centroids**2).sum(axis=1) / 2
    nearest: Bytes = np.argmax(vectors @ centroids.T - half_squares, axis=1).astype(np.uint8)
    return nearest


@lru_cache(maxsize=4)
def _quantizer(codec: GaussianPQ) -> faiss.ProductQuantizer:
    """FAISS's search for each subvector's nearest centroid of this codebook; the first of two in the low bits."""
    subvectors = codec.padded // SUBVECTOR
    quantizer = faiss.ProductQuantizer(codec.padded, subvectors, 4)
    faiss.copy_array_to_vector(np.tile(codec.centroids(), (subvectors, 1)).ravel(), quantizer.centroids)
    quantizer.sync_transposed_centroids()
    return quantizer


@lru_cache(maxsize=4)
def rotation(dimensions: int, seed: int) -> Floats:
    """A random orthogonal matrix `[D, D]`, uniform over all (Mezzadri, Notices of the AMS 2007, section 5)."""
    normal = np.random.RandomState([seed, dimensions]).standard_normal((dimensions, dimensions))
    orthogonal, upper = np.linalg.qr(normal)
    turned: Floats = (orthogonal * np.sign(np.diag(upper))).astype(np.float32)
    turned.setflags(write=False)
    return turned


@lru_cache(maxsize=4)
def normal_codebook(seed: int) -> Floats:
    """The 16 centroids `[16, 4]` that are best for four independent standard normal numbers: Lloyd's iteration."""
    rng = np.random.RandomState([seed, SUBVECTOR, CENTROIDS])
    half = rng.standard_normal((_CODEBOOK_SAMPLE // 2, SUBVECTOR)).astype(np.float32)
    sample = np.concatenate([half, -half])
    centroids = half[:CENTROIDS]
    for _ in range(_CODEBOOK_ROUNDS):
        nearest = _nearest(sample, centroids)
        counts = np.bincount(nearest, minlength=CENTROIDS)
        sums = np.stack([np.bincount(nearest, column, CENTROIDS) for column in sample.T], axis=1)
        centroids = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    centroids.setflags(write=False)
    return centroids
