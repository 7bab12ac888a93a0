"""Vectors to measure an index with: real texts embedded, and above what those give an extension that is not easier.

Real: turns of LoCoMo, LongMemEval and BEAM and paragraphs of HotpotQA and MuSiQue, whichever are here, each once and
cut to one passage; queries are questions of the same sets. They are encoded once and kept in the user's cache folder,
under a digest of the texts and the encoder, so that a second run starts at once.

Extension: a real vector plus isotropic noise, of unit length again. Copies of one vector are near each other, so that a
query's neighbours differ in little but noise, which is what codes keep worst: `difficulty` measures on both sets how
many of the ten nearest a code of one bit a dimension finds by itself, and each report has both figures.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from bench import corpora
from bench.datasets import BEAM_SIZES, beam, here, locomo, longmemeval
from bench.runner import say
from recalld.core.errors import ConfigError
from retrieval.ports import Encoder, Floats, Rows

TEXT_CHARS_MAX = 1000
REAL_MAX = 16_000
QUERIES = 500
NOISE = 0.6
BLOCK_ROWS = 100_000
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Vectors:
    """What is searched and what is asked for.

    Attributes:
        base: `[N, D]` unit length.
        queries: `[Q, D]` unit length.
        real: how many of `base` are of real texts: the first ones.
    """

    base: Floats
    queries: Floats
    real: int


def vectors(encoder: Encoder, count: int, seed: int) -> Vectors:
    """`count` vectors, real ones first, and the queries.

    Raises:
        ConfigError: no data set is here.
    """
    texts, asked = _texts()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(texts))[:REAL_MAX]
    real = _encoded(encoder, [texts[place] for place in order])
    queries = _encoded(encoder, [asked[place] for place in rng.permutation(len(asked))[:QUERIES]])
    return Vectors(extended(real, count, seed), queries, min(len(real), count))


def extended(real: Floats, count: int, seed: int) -> Floats:
    """The first `count` of `real`, and as many noisy copies as are missing, in turn."""
    base = np.empty((count, real.shape[1]), dtype=np.float32)
    base[: len(real)] = real[:count]
    rng = np.random.default_rng(seed)
    for start in range(len(real), count, len(real)):
        part = base[start : start + len(real)]
        noise = rng.standard_normal(part.shape, dtype=np.float32)
        part[:] = real[: len(part)] + np.float32(NOISE / np.sqrt(part.shape[1])) * noise
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return base


def nearest(base: Floats, queries: Floats, k: int) -> Rows:
    """The exact answer `[Q, k]`, in blocks."""
    kept = np.zeros((len(queries), 0), dtype=np.int64)
    scores = np.zeros((len(queries), 0), dtype=np.float32)
    for start in range(0, len(base), BLOCK_ROWS):
        part = queries @ base[start : start + BLOCK_ROWS].T
        scores = np.concatenate([scores, part], axis=1)
        kept = np.concatenate([kept, np.broadcast_to(np.arange(start, start + part.shape[1]), part.shape)], axis=1)
        if scores.shape[1] > k:
            best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            scores, kept = np.take_along_axis(scores, best, 1), np.take_along_axis(kept, best, 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(kept, order, 1)


def _texts() -> tuple[list[str], list[str]]:
    """Distinct texts and distinct questions of what is here, in a fixed order."""
    texts, asked = [], []
    for told in here(locomo, longmemeval, *(partial(beam, size) for size in BEAM_SIZES)):
        texts += [turn.text[:TEXT_CHARS_MAX] for turn in told.turns]
        asked += [question.text for question in told.questions]
    for load in (corpora.hotpot, corpora.musique):
        try:
            corpus = load()
        except ConfigError:
            continue
        texts += [f"{one.title}\n{one.text}"[:TEXT_CHARS_MAX] for one in corpus.paragraphs]
        asked += [question.text for question in corpus.questions]
    if not texts:
        raise ConfigError("vectors: no data set is here; see `bench.files`")
    return list(dict.fromkeys(texts)), list(dict.fromkeys(asked))


def _encoded(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Vectors of the texts `[N, D]`, from the cache where they were encoded before."""
    digest = hashlib.blake2b("\0".join([encoder.fingerprint, *texts]).encode(), digest_size=12).hexdigest()
    path: Path = user_cache_path("recalld-bench") / f"{digest}.npy"
    if path.exists():
        kept: Floats = np.load(path)
        return kept
    say(f"encoding {len(texts)} texts, once")
    found = np.empty((len(texts), encoder.dimensions), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(order), _BATCH):
        part = order[start : start + _BATCH]
        found[part] = encoder.encode([texts[place] for place in part])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new.npy")
    np.save(beside, found)
    beside.replace(path)
    return found
