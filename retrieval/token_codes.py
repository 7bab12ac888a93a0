"""Token codes: one bit a dimension of each token vector, so that what late interaction compares is small.

A bit says whether a number is above its dimension's threshold, which is the mean of that dimension over a fixed list
of everyday sentences: hidden states are not centred (one dimension of MiniLM has the same sign in every token). The
thresholds depend on the encoder and on that list only, never on what is stored: the same text has the same codes in
every index, and nothing of a tenant shows in another one's.
"""

import hashlib
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from retrieval.analysis import STOP_WORDS
from retrieval.ports import Codes, Encoder, Floats, TokenVectors

_REVISION = "content-1"
_SENTENCES = Path(__file__).parent / "assets" / "sentences.txt"
_known: dict[str, Floats] = {}
_knowing = threading.Lock()


def content(found: TokenVectors) -> TokenVectors:
    """The tokens that carry a meaning of their own.

    Without the others a conversation's rows need less than half the bytes, and nothing is found worse.
    """
    kept = content_places(found.tokens)
    if len(kept) == len(found.tokens):
        return found
    return TokenVectors(tuple(found.tokens[number] for number in kept), found.vectors[kept])


def content_places(tokens: Sequence[str]) -> list[int]:
    """Which tokens those are: no stop words, no punctuation; all of them where that leaves none."""
    kept = [number for number, token in enumerate(tokens) if _is_word(token) and token not in STOP_WORDS]
    return kept or list(range(len(tokens)))


def pack(vectors: Floats, thresholds: Floats) -> Codes:
    """The codes of token vectors.

    Args:
        vectors: `[T, D]`.
        thresholds: `[D]`.

    Returns:
        `[T, ceil(D / 8)]`: the first dimension is the highest bit of the first byte; bits behind the last are 0.
    """
    return np.packbits(vectors > thresholds, axis=1)


def thresholds(encoder: Encoder) -> Floats:
    """The mean of the encoder's token vectors `[D]` over the fixed sentences, computed once: about .3 s with ONNX."""
    with _knowing:
        if encoder.fingerprint not in _known:
            tokens = encoder.encode_tokens(_sentences())
            vectors = np.concatenate([found.vectors for found in tokens])
            mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
            mean.setflags(write=False)
            _known[encoder.fingerprint] = mean
        return _known[encoder.fingerprint]


def fingerprint(encoder: Encoder) -> str:
    """A short digest that changes when vectors or codes would: an index built under another one does not serve."""
    sentences = hashlib.blake2b("\n".join((_REVISION, *_sentences())).encode(), digest_size=4).hexdigest()
    return f"{encoder.fingerprint}-{sentences}"


def _is_word(token: str) -> bool:
    return any(character.isalnum() for character in token)


@lru_cache(maxsize=1)
def _sentences() -> tuple[str, ...]:
    return tuple(_SENTENCES.read_text(encoding="utf-8").splitlines())
