"""A Bloom filter for each band: whether a text that shares a band's key was seen, in bits instead of in keys.

    layer 0  [B, m0 bits]  up to n0 texts, a chance of P/2 of a false answer over all bands
    layer 1  [B, m1 bits]  up to 2 n0 texts, P/4                       ... made when the one before is full

A text is seen when in some layer all bits of some band's key are set. The chances of all layers add up to less than P,
however many there are. What was added is always found; nothing can be taken out, only everything built again.

Source: Khan et al., "LSHBloom: Memory-efficient, Extreme-scale Document Deduplication" (2024), section 3; Almeida et
al., "Scalable Bloom Filters" (2007), growth 2 and tightening 1/2; Dillinger and Manolios, "Bloom Filters in
Probabilistic Verification" (2004), enhanced double hashing, for the bits of a key.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from memory.minhash import Bands, Hashes

_HALF = np.uint64(32)
_LOW = np.uint64(2**32 - 1)
_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """What filters are sized for.

    Attributes:
        bands: B.
        first_texts: how many texts the first layer holds; each later one twice as many as the one before.
        false_positives: P, the chance that a text of which no band was added is called seen.
    """

    bands: int = Bands().count
    first_texts: int = 2048
    false_positives: float = 1e-3


@dataclass(frozen=True, slots=True)
class LayerSize:
    """One layer: `texts` it is made for, `bits` of each band (m), `hashes` of each key (k)."""

    texts: int
    bits: int
    hashes: int


def layer_size(settings: FilterSettings, number: int) -> LayerSize:
    """The size of a layer: a band's share of its chance is p with 1 - (1 - p)^B = P / 2^(number + 1)."""
    texts = settings.first_texts << number
    chance = settings.false_positives / 2 ** (number + 1)
    each = -math.expm1(math.log1p(-chance) / settings.bands)
    bits = math.ceil(texts * -math.log(each) / math.log(2) ** 2)
    return LayerSize(texts, -(-bits // _WORD_BITS) * _WORD_BITS, max(1, round(-math.log2(each))))


@dataclass
class BandFilters:
    """Layers of filters, to which `texts` were added."""

    settings: FilterSettings = FilterSettings()
    layers: list[NDArray[np.uint8]] = field(default_factory=list)
    texts: int = 0

    def add(self, keys: Hashes) -> NDArray[np.bool_]:
        """Add texts by their keys `[N, B]`, in order.

        Returns:
            which were seen already, among those before them too. `[N]`
        """
        seen = self.seen(keys) | _repeated(keys)
        start = 0
        while start < len(keys):
            room = self._room()
            if not room:
                size = layer_size(self.settings, len(self.layers))
                self.layers.append(np.zeros((self.settings.bands, size.bits // 8), dtype=np.uint8))
                continue
            part = keys[start : start + room]
            number = len(self.layers) - 1
            places, bits = self._places(part, number)
            np.bitwise_or.at(self.layers[number].reshape(-1), places.reshape(-1), bits.reshape(-1))
            self.texts += len(part)
            start += len(part)
        return seen

    def seen(self, keys: Hashes) -> NDArray[np.bool_]:
        """Which texts share a key with what was added, or look so. `[N]`"""
        found = np.zeros(len(keys), dtype=np.bool_)
        for number, layer in enumerate(self.layers):
            places, bits = self._places(keys, number)
            found |= ((layer.reshape(-1)[places] & bits) != 0).all(axis=2).any(axis=1)
        return found

    @property
    def bytes_memory(self) -> int:
        """Of all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def _room(self) -> int:
        """How many texts the last layer still takes."""
        return (self.settings.first_texts << len(self.layers)) - self.settings.first_texts - self.texts

    def _places(self, keys: Hashes, number: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The bytes of a layer and the bit in each `[N, B, k]` that keys stand for."""
        size = layer_size(self.settings, number)
        step = (keys >> _HALF) | np.uint64(1)
        hashes = np.arange(size.hashes, dtype=np.uint64)
        # Without the cubes the bits of two keys meet more often than chance has it, which counts where P is small.
        cubes = (hashes**3 - hashes) // np.uint64(6)
        at = ((keys & _LOW)[:, :, None] + step[:, :, None] * hashes + cubes) % np.uint64(size.bits)
        band = np.arange(self.settings.bands, dtype=np.int64)[None, :, None] * (size.bits // 8)
        return band + (at >> np.uint64(3)).astype(np.int64), np.uint8(1) << (at & np.uint64(7)).astype(np.uint8)


def _repeated(keys: Hashes) -> NDArray[np.bool_]:
    """Which of the texts share a key of a band with one before them. `[N]`"""
    found = np.zeros(len(keys), dtype=np.bool_)
    for band in keys.T:
        _, first, inverse = np.unique(band, return_index=True, return_inverse=True)
        found |= first[inverse] < np.arange(len(keys))
    return found
