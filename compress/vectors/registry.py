"""The table of vector codecs, which tests and benchmarks go through: adding one is a file and a line here.

Each is made from a sample and a seed; those that need no training read nothing of the sample but its length of vectors.
"""

from collections.abc import Callable
from functools import partial

from compress.vectors.bits import BinaryCodec, RotatedBitsCodec
from compress.vectors.codec import Codec, Floats
from compress.vectors.gaussian_pq import SUBVECTOR, GaussianPQ
from compress.vectors.half import HalfCodec
from compress.vectors.identity import IdentityCodec
from compress.vectors.int8 import Int8Codec
from compress.vectors.trained_pq import TrainedPQ

Maker = Callable[[Floats, int], Codec]


def _trained(width: int, bits: int, sample: Floats, seed: int, **options: bool) -> Codec:
    return TrainedPQ.fit(sample, sample.shape[1] // width, bits, seed, **options)


CODECS: dict[str, Maker] = {
    "f32": lambda sample, seed: IdentityCodec(sample.shape[1]),
    "f16": lambda sample, seed: HalfCodec(sample.shape[1]),
    "int8": lambda sample, seed: Int8Codec(sample.shape[1]),
    "binary": lambda sample, seed: BinaryCodec(sample.shape[1]),
    "rabitq": lambda sample, seed: RotatedBitsCodec(sample.shape[1], seed),
    "gaussian-pq4": lambda sample, seed: GaussianPQ(sample.shape[1], seed),
    "pq4": partial(_trained, SUBVECTOR, 4),
    "opq4": partial(_trained, SUBVECTOR, 4, rotated=True),
    "balanced-pq4": partial(_trained, SUBVECTOR, 4, balanced=True),
    "pq8": partial(_trained, 2 * SUBVECTOR, 8),
}

TRAINED = frozenset({"pq4", "opq4", "balanced-pq4", "pq8"})
"""Those that learn from the sample."""
