"""The reference encoder: signed feature hashing of words and their character trigrams. No model, no download.

Each analysed term gets a unit vector from its own feature (so that the same word matches exactly) and its trigrams' (so
that a misspelt one matches somewhat); a text is the normalised sum. Deterministic on every machine: CRC-32, never
`hash()`. Good enough to run every test of retrieval by value, and to serve where no model can be had.

Source: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (ICML 2009).
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from retrieval.analysis import terms
from retrieval.ports import Floats, TokenVectors

DIMENSIONS = 256
_TRIGRAM_WEIGHT = 0.3
_REVISION = "1"


class HashEncoder:
    """See the module's docstring, and `Encoder`."""

    @property
    def name(self) -> str:
        return "hash-256"

    @property
    def fingerprint(self) -> str:
        return f"{self.name}-{_REVISION}"

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    def encode(self, texts: Sequence[str]) -> Floats:
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[:] = _unit(sum((_term_vector(term) for term in terms(text)), start=np.zeros_like(row)))
        return vectors

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return [_tokens(text) for text in texts]

    def encode_both(self, texts: Sequence[str]) -> tuple[Floats, list[TokenVectors]]:
        return self.encode(texts), self.encode_tokens(texts)

    def count_tokens(self, text: str) -> int:
        return len(terms(text))


def _tokens(text: str) -> TokenVectors:
    found = terms(text)
    vectors = np.array([_term_vector(term) for term in found], dtype=np.float32)
    return TokenVectors(tuple(found), vectors.reshape(len(found), DIMENSIONS))


@lru_cache(maxsize=16384)
def _term_vector(term: str) -> Floats:
    """The unit vector of a term; not to be written to."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    marked = f"<{term}>"
    grams = [marked[start : start + 3] for start in range(len(marked) - 2)]
    for feature, weight in [(f"word {term}", 1.0), *((gram, _TRIGRAM_WEIGHT) for gram in grams)]:
        number = zlib.crc32(feature.encode())
        vector[number % DIMENSIONS] += weight if number & 0x80000000 else -weight
    return _unit(vector)


def _unit(vector: Floats) -> Floats:
    """The vector at length 1; a fixed one for a vector of length 0 (a text without terms)."""
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        fixed = np.zeros_like(vector)
        fixed[0] = 1.0
        return fixed
    return vector / np.float32(length)
