"""MinHash of texts, and the keys of their bands: texts that share many shingles share a key. Pure, over batches.

    terms -> shingles of two terms, 64 bits each -> the least of each permutation `[N, K]` -> a key a band `[N, B]`

A permutation is `(a x + b) mod 2^64`, of which the upper half counts (multiply-shift; Dietzfelbinger et al., "A
Reliable Randomized Algorithm for the Closest-Pair Problem", 1997). Its numbers are digests of its place, so that a
filter on disk means the same in every version. The share of permutations whose least values are equal estimates the
Jaccard similarity of two texts' shingles.

Source: Broder, "On the Resemblance and Containment of Documents" (1997), for MinHash; Khan et al., "LSHBloom" (2024),
section 3, for bands as keys of Bloom filters. Shingles are short because turns are: one word changed in a turn of
fifteen leaves a similarity of three quarters.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

REVISION = 1
SHINGLE_TERMS = 2
_PART_SHINGLES = 4096
_HALF = np.uint64(32)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_MIX_LAST = np.uint64(31)


@dataclass(frozen=True, slots=True)
class Bands:
    """How signatures are cut: two texts of similarity s share a key with the chance 1 - (1 - s^rows)^count."""

    count: int = 25
    rows: int = 5

    @property
    def permutations(self) -> int:
        """K."""
        return self.count * self.rows


def shingles(terms: Sequence[str]) -> frozenset[tuple[str, ...]]:
    """The runs of two terms, each once; of one term itself."""
    if len(terms) < SHINGLE_TERMS:
        return frozenset([tuple(terms)] if terms else [])
    return frozenset(zip(*(terms[start:] for start in range(SHINGLE_TERMS)), strict=False))


def jaccard(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> float:
    """Their similarity in [0, 1]; of two empty ones 0."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def signatures(texts: Sequence[Sequence[str]], permutations: int) -> NDArray[np.uint32]:
    """The least values `[N, K]` of each text's shingles.

    Args:
        texts: the terms of each, one or more.
    """
    found = np.empty((len(texts), permutations), dtype=np.uint32)
    start = 0
    while start < len(texts):
        stop, size = start, 0
        while stop < len(texts) and (stop == start or size + len(texts[stop]) <= _PART_SHINGLES):
            size += len(texts[stop])
            stop += 1
        found[start:stop] = _least(texts[start:stop], permutations)
        start = stop
    return found


def band_keys(signed: NDArray[np.uint32], bands: Bands) -> Hashes:
    """A key `[N, B]` for each band of signatures `[N, K]`."""
    parts = signed.astype(np.uint64).reshape(len(signed), bands.count, bands.rows)
    keys = np.broadcast_to(_numbers("band", bands.count), (len(signed), bands.count))
    for row in range(bands.rows):
        keys = mixed(keys ^ parts[:, :, row])
    return keys


def text_keys(terms: Sequence[str], bands: Bands) -> Hashes:
    """Keys `[B]` that only the same terms in the same order have."""
    return mixed(_numbers("text", bands.count) ^ np.uint64(_digest("\x00".join(terms))))


def salted(keys: Hashes, salt: str) -> Hashes:
    """Keys that are equal only under one salt."""
    return mixed(keys + np.uint64(_digest(salt)))


def mixed(values: Hashes) -> Hashes:
    """Each number's bits spread over all of it (splitmix64; Steele et al., OOPSLA 2014)."""
    found = values + _ODD
    for shift, factor in _MIX:
        found = (found ^ (found >> shift)) * factor
    return found ^ (found >> _MIX_LAST)


def _least(texts: Sequence[Sequence[str]], permutations: int) -> NDArray[np.uint32]:
    counts = [max(len(terms) - SHINGLE_TERMS + 1, 1) for terms in texts]
    hashed = np.array([_term(term) for terms in texts for term in (*terms, *[""] * (SHINGLE_TERMS - len(terms)))])
    starts = np.concatenate([[0], np.cumsum([count + SHINGLE_TERMS - 1 for count in counts])])
    within = np.concatenate(
        [np.arange(begin, begin + count) for begin, count in zip(starts[:-1].tolist(), counts, strict=True)]
    )
    joined = hashed[within]
    for place in range(1, SHINGLE_TERMS):
        joined = mixed(joined) + hashed[within + place]
    joined = mixed(joined)
    factors, addends = _numbers("factor", permutations) | np.uint64(1), _numbers("addend", permutations)
    # A row a permutation, so that the least of each run of shingles is read in the order of memory.
    values = ((factors[:, None] * joined[None, :] + addends[:, None]) >> _HALF).astype(np.uint32)
    firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.minimum.reduceat(values, firsts, axis=1).T


@lru_cache(maxsize=65536)
def _term(term: str) -> np.uint64:
    return np.uint64(_digest(term))


@lru_cache(maxsize=32)
def _numbers(purpose: str, count: int) -> Hashes:
    return np.array([_digest(f"recalld {purpose} {place}") for place in range(count)], dtype=np.uint64)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
