"""The contract of vector codecs.

A codec turns unit vectors into rows of bytes of one length, and back into vectors that are near them. A score is the
inner product of a query, which is never coded, with what a code decodes to ("asymmetric distance": Jégou, Douze and
Schmid, "Product Quantization for Nearest Neighbor Search", PAMI 2011, section III.B).

Invariants: `score(query, codes)` is `decode(codes) @ query` within `SCORE_ERROR_MAX` of the query's length, so by
Cauchy and Schwarz no score is further from the true one than `|query| * |vector - decode(encode(vector))|`; a vector's
code depends on that vector alone; the same settings and sample give the same codec.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SCORE_ERROR_MAX = 1e-5
"""Of floating point alone, for a query of unit length."""


class Codec(Protocol):
    """Vectors to bytes and back; see the module's docstring."""

    @property
    def bytes_vector(self) -> int:
        """Bytes of one code."""
        ...

    def encode(self, vectors: Floats) -> Bytes:
        """`[N, D]` float32 to `[N, bytes_vector]`."""
        ...

    def decode(self, codes: Bytes) -> Floats:
        """`[N, bytes_vector]` to `[N, D]` float32."""
        ...

    def score(self, query: Floats, codes: Bytes) -> Floats:
        """Estimated inner products `[N]` of a query `[D]` with the coded vectors."""
        ...
