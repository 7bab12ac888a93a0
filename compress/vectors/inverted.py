"""Inverted lists: the rows of a large segment by the nearest of a few centroids, so that a search scans the near lists.

Sivic and Zisserman, "Video Google" (ICCV 2003), for the inverted file; Jégou, Douze and Schmid, "Product Quantization
for Nearest Neighbor Search" (PAMI 2011), section IV, for product codes in one. Codes are of the vectors themselves, not
of what is left of them behind a centroid, so that they are the same with and without lists, and a merge copies them.

With lists of equal use a search of a share `s` of them reads `s` of the codes; lists of k-means are not equal, and the
nearest ones are the fuller, so that it reads somewhat more.
"""

import faiss
import numpy as np
from numpy.typing import NDArray

from compress.vectors.codec import Floats

LISTS_MAX = 1024
LIST_SAMPLE = 64
LIST_SAMPLE_MIN = 8
_ROUNDS = 8
_BLOCK_ROWS = 8192

Lists = NDArray[np.uint16]


def sample_rows(rows: int, list_rows: int) -> int:
    """Of how many of a segment's rows the centroids are made, so that a list has about `list_rows` of them."""
    return LIST_SAMPLE * min(LISTS_MAX, max(1, rows // list_rows))


def train(sample: Floats, seed: int = 1) -> Floats:
    """The centroids `[L, D]`, of unit length, of a sample `[n, D]`, `n > 0`: spherical k-means.

    There is one for each `LIST_SAMPLE` of the sample, at most `LISTS_MAX`, but none that is the mean of fewer than
    `LIST_SAMPLE_MIN`, so that nothing of a single row is in it; the rows of such a one go to the next nearest. There is
    always one.
    """
    faiss.omp_set_num_threads(1)
    lists = min(LISTS_MAX, -(-len(sample) // LIST_SAMPLE))
    means = faiss.Kmeans(
        sample.shape[1],
        lists,
        niter=_ROUNDS,
        spherical=True,
        seed=seed,
        min_points_per_centroid=1,
        max_points_per_centroid=LIST_SAMPLE,
    )
    means.train(np.ascontiguousarray(sample, dtype=np.float32))
    held = np.bincount(assign(sample, means.centroids), minlength=lists)
    centroids: Floats = means.centroids[held >= min(LIST_SAMPLE_MIN, held.max())]
    return centroids


def assign(vectors: Floats, centroids: Floats) -> Lists:
    """The list of each vector, `[n]`: the centroid with the largest inner product."""
    nearest = np.empty(len(vectors), dtype=np.uint16)
    # Of 65,536 vectors with 1,024 centroids all products at once are 268 MB.
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        nearest[block] = np.argmax(vectors[block] @ centroids.T, axis=1)
    return nearest
