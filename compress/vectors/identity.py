"""Four bytes a dimension: the vector itself, against which the others are measured."""

from dataclasses import dataclass

import numpy as np

from compress.vectors.codec import Bytes, Floats


@dataclass(frozen=True, slots=True)
class IdentityCodec:
    """IEEE binary32."""

    dimensions: int

    @property
    def bytes_vector(self) -> int:
        return 4 * self.dimensions

    def encode(self, vectors: Floats) -> Bytes:
        return np.ascontiguousarray(vectors).view(np.uint8).copy()

    def decode(self, codes: Bytes) -> Floats:
        return np.ascontiguousarray(codes).view(np.float32).copy()

    def score(self, query: Floats, codes: Bytes) -> Floats:
        scores: Floats = self.decode(codes) @ query
        return scores
