"""One byte a dimension and a scale of four bytes for each vector: symmetric scalar quantization.

The scale is the largest absolute component over 127, so that no component is cut off; each is then off by at most half
a step, and a vector by at most `scale * sqrt(D) / 2`. (One scale for all vectors, as peers have it, saves the four
bytes and cuts off or wastes range where vectors differ.)
"""

from dataclasses import dataclass

import numpy as np

from compress.vectors.codec import Bytes, Floats

_LEVELS = 127
_SCALE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Int8Codec:
    """See the module's docstring."""

    dimensions: int

    @property
    def bytes_vector(self) -> int:
        return self.dimensions + _SCALE_BYTES

    def encode(self, vectors: Floats) -> Bytes:
        scales = (np.abs(vectors).max(axis=1, keepdims=True) / _LEVELS).astype(np.float32)
        steps = np.rint(vectors / np.maximum(scales, np.float32(1e-30))).astype(np.int8)
        return np.concatenate([steps.view(np.uint8), scales.view(np.uint8)], axis=1)

    def decode(self, codes: Bytes) -> Floats:
        steps, scales = self._parts(codes)
        decoded: Floats = steps.astype(np.float32) * scales[:, None]
        return decoded

    def score(self, query: Floats, codes: Bytes) -> Floats:
        steps, scales = self._parts(codes)
        scores: Floats = (steps.astype(np.float32) @ query) * scales
        return scores

    def _parts(self, codes: Bytes) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int8]], Floats]:
        steps = np.ascontiguousarray(codes[:, : self.dimensions]).view(np.int8)
        return steps, np.ascontiguousarray(codes[:, self.dimensions :]).view(np.float32)[:, 0]
