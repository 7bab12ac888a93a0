"""One GGUF file, read and checked: typed metadata and dequantized tensors.

The `gguf` package (llama.cpp's own) parses the container and knows every quantization; this module turns what it
raises, or would silently let through, into errors that name the file and the part: a wrong magic, a truncated file, a
missing key or tensor, a shape that the metadata does not promise, a quantization without a decoder, a NaN.

Invariants: nothing is returned that was not checked against the caller's expected type or shape; `unread` tells which
tensors nobody asked for, so that a model with parts that an engine does not know is refused, not half computed.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from gguf import GGUFReader
from gguf.gguf_reader import ReaderTensor
from gguf.quants import dequantize
from numpy.typing import NDArray

from recalld.core.errors import ConfigError, ModelMissing

Value = TypeVar("Value", str, int, float, bool)


class GGUFFile:
    """The metadata and tensors of one file, memory-mapped while this object lives."""

    def __init__(self, name: str, metadata: Mapping[str, Any], tensors: Mapping[str, ReaderTensor]) -> None:
        self.name = name
        self.metadata = metadata
        self._tensors = tensors
        self._read: set[str] = set()

    @classmethod
    def open(cls, path: Path) -> "GGUFFile":
        """Parse the header.

        Raises:
            ModelMissing: there is no such file.
            ConfigError: it is not a whole GGUF file of this machine's byte order.
        """
        if not path.is_file():
            raise ModelMissing(f"there is no model file {path.name}; `recalld models pull` brings the models")
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise _refusal(path.name, "is not a GGUF file: it does not begin with that magic")
        try:
            reader = GGUFReader(path)
            metadata = {key: field.contents() for key, field in reader.fields.items()}
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            # What the parser raises depends on where the bytes end or go wrong; its text says nothing to a user.
            raise _refusal(path.name, "is damaged: it is truncated or its header is torn") from error
        if reader.byte_order != "I":
            raise _refusal(path.name, "has another byte order than this machine")
        return cls(path.name, metadata, {tensor.name: tensor for tensor in reader.tensors})

    def refusal(self, what: str) -> ConfigError:
        """The error to raise about this file: "the model file NAME `what`"."""
        return _refusal(self.name, what)

    def value(self, key: str, kind: type[Value], default: Value | None = None) -> Value:
        """The metadata value of `key`; without a default it has to be there.

        Raises:
            ConfigError: it is missing, or of another type.
        """
        value = self.metadata.get(key, default)
        if value is None:
            raise self.refusal(f"lacks the metadata key {key}")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.refusal(f"has a metadata key {key} that is not a {kind.__name__}")
        return value

    def values(self, key: str, kind: type[Value]) -> list[Value]:
        """The metadata array of `key`.

        Raises:
            ConfigError: it is missing, or holds another type.
        """
        values = self.metadata.get(key)
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise self.refusal(f"lacks a metadata array {key} of {kind.__name__}")
        return values

    def has_tensor(self, name: str) -> bool:
        """Whether there is such a tensor."""
        return name in self._tensors

    def tensor(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The tensor's numbers, `[out, in]` for a matrix, as a float32 array of its own.

        Raises:
            ConfigError: it is missing, has another shape, an unsupported quantization, or holds NaN or infinity.
        """
        tensor = self._tensors.get(name)
        if tensor is None:
            raise self.refusal(f"is damaged or incomplete: it lacks the tensor {name}")
        found = tuple(int(size) for size in reversed(tensor.shape))
        if found != shape:
            raise self.refusal(f"is damaged: tensor {name} has shape {list(found)}, expected {list(shape)}")
        try:
            numbers = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        except NotImplementedError as error:
            kind = tensor.tensor_type.name
            raise self.refusal(f"uses the unsupported quantization {kind} ({name})") from error
        if not np.isfinite(numbers).all():
            raise self.refusal(f"is damaged: tensor {name} holds NaN or infinity")
        self._read.add(name)
        return numbers

    def unread(self) -> list[str]:
        """The names of the tensors that were never asked for, sorted."""
        return sorted(set(self._tensors) - self._read)


def _refusal(name: str, what: str) -> ConfigError:
    return ConfigError(f"the model file {name} {what}")
