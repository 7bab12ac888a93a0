"""Searching 4-bit product codes with FAISS's FastScan: 16-entry tables in registers, 32 codes at a time.

André, Kermarrec and Le Scouarnec, "Cache locality is not enough: High-Performance Nearest Neighbor Search with Product
Quantization Fast Scan" (VLDB 2015); in FAISS the "PQ...x4fs" indexes. An inverted file of one list with codes of the
vectors themselves (`by_residual=False`) is used as a flat one, because it takes a bitmap of what may be found and the
flat one takes none; the bitmap costs nothing measurable, whatever it holds. Many codes are in many lists (`inverted`),
and a search says how many of them it scans.

Error: a table's entries are rounded to 8 bits, so that a score is off `GaussianPQ.score` by at most `score_error`.

Invariant: nothing changes after the constructor, so any number of threads may search at once.
"""

from math import ceil

import faiss
import numpy as np
from numpy.typing import NDArray

from compress.vectors.codec import Bytes, Floats
from compress.vectors.gaussian_pq import SUBVECTOR, GaussianPQ
from compress.vectors.inverted import Lists

_ID_BYTES = 8
_BLOCK_ROWS = 32
# FAISS's choice of how to scan: one query by itself, candidates in a reservoir. What it chooses itself takes a tenth to
# a fifth longer for one query.
_ONE_QUERY = 11


class FastScan:
    """The codes of `N` vectors in memory, in FAISS's own order. Places are their numbers, from 0."""

    def __init__(self, codec: GaussianPQ, codes: Bytes, inverted: tuple[Lists, Floats] | None = None) -> None:
        """Take over codes `[N, codec.bytes_vector]`.

        Args:
            inverted: the list of each `[N]` and the centroids `[lists, D]`; None: one list.
        """
        faiss.omp_set_num_threads(1)
        subvectors = codec.padded // SUBVECTOR
        lists, centroids = (None, np.zeros((1, codec.dimensions), dtype=np.float32)) if inverted is None else inverted
        coarse = faiss.IndexFlatIP(codec.padded)
        coarse.add(codec.rotated(centroids))
        flat = faiss.IndexIVFPQ(coarse, codec.padded, len(centroids), subvectors, 4, faiss.METRIC_INNER_PRODUCT)
        flat.by_residual = False
        faiss.copy_array_to_vector(np.tile(codec.centroids(), (subvectors, 1)).ravel(), flat.pq.centroids)
        flat.is_trained = True
        numbers = np.zeros(len(codes), dtype=np.uint16) if lists is None else lists
        sizes = np.bincount(numbers, minlength=len(centroids))
        of_lists = np.split(np.argsort(numbers, kind="stable"), np.cumsum(sizes)[:-1])
        for number, places in enumerate(of_lists):
            if len(places):
                listed = codes[places]
                flat.invlists.add_entries(number, len(places), faiss.swig_ptr(places), faiss.swig_ptr(listed))
        flat.ntotal = len(codes)
        self._codec = codec
        self._index = faiss.IndexIVFPQFastScan(flat, _BLOCK_ROWS)
        self._index.implem = _ONE_QUERY
        # The Python wrapper keeps `flat` with its own copy of all codes, which nothing reads any more.
        vars(self._index).pop("referenced_objects", None)
        self._coarse = coarse
        self.count = len(codes)
        self.lists = len(centroids)
        self._blocks = int((-(-sizes // _BLOCK_ROWS)).sum())

    @property
    def bytes_memory(self) -> int:
        """Codes and the number of each, which FAISS keeps, and the centroids."""
        codes = self._blocks * _BLOCK_ROWS * (self._codec.bytes_vector + _ID_BYTES)
        return codes + 4 * self.lists * self._codec.padded

    def search(
        self, rotated: Floats, limit: int, allowed: NDArray[np.uint8] | None = None, share: float = 1.0
    ) -> tuple[NDArray[np.int64], Floats]:
        """The best `limit` places by estimated inner product, best first.

        Args:
            rotated: `[padded]`: `GaussianPQ.rotated` of the query.
            allowed: one bit a place, the lowest of each byte first; None: all.
            share: of the lists, the nearest ones: those are scanned.

        Returns:
            places `[K]` and estimates `[K]`.
        """
        if not self.count:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        probed = max(1, ceil(min(share, 1.0) * self.lists))
        parameters = faiss.SearchParametersIVF(nprobe=probed)
        if allowed is not None:
            selector = faiss.IDSelectorBitmap(allowed)
            parameters = faiss.SearchParametersIVF(nprobe=probed, sel=selector)
        scores, places = self._index.search(rotated[None], min(limit, self.count), params=parameters)
        found = places[0] >= 0
        return places[0][found], scores[0][found]


def tables(codec: GaussianPQ, query: Floats) -> Floats:
    """The scores of each subvector's centroids `[M, 16]`: what the scan rounds to 8 bits."""
    scores: Floats = codec.rotated(query[None]).reshape(-1, SUBVECTOR) @ codec.centroids().T
    return scores


def score_error(codec: GaussianPQ, query: Floats) -> float:
    """How far an estimate of a scan may be from `codec.score`: a step of 8 bits of the widest table, each."""
    scores = tables(codec, query)
    widest = float((scores.max(axis=1) - scores.min(axis=1)).max())
    return len(scores) * widest / 255
