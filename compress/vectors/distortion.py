"""What a codec costs on given vectors: the two figures that its bytes are held against."""

from dataclasses import dataclass

import numpy as np

from compress.vectors.codec import Codec, Floats


@dataclass(frozen=True, slots=True)
class Distortion:
    """Measured, not promised.

    Attributes:
        bytes_vector: of one code.
        lost: the mean squared error over the mean square: the share of the vectors' energy that is not in the codes.
        score_error: the root mean square of estimated less true inner products.
    """

    bytes_vector: int
    lost: float
    score_error: float


def measure(codec: Codec, vectors: Floats, queries: Floats) -> Distortion:
    """Of vectors `[N, D]` and queries `[Q, D]`."""
    codes = codec.encode(vectors)
    lost = ((codec.decode(codes) - vectors) ** 2).sum(axis=1).mean() / (vectors**2).sum(axis=1).mean()
    errors = [codec.score(query, codes) - vectors @ query for query in queries]
    return Distortion(codec.bytes_vector, float(lost), float(np.sqrt(np.mean(np.square(errors)))))
