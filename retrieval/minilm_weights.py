"""The weights of MiniLM as its graph (`assets/minilm.onnx`) takes them, out of the published ONNX file.

The published file keeps int8 weights, one scale for each output, but multiplies floats. Ours multiplies integers: each
matrix is scaled row by row by the factors that the graph divides its input by (SmoothQuant), and quantized again, for
each output by itself, to seven bits. Seven, because a processor without VNNI adds two products of a byte and a weight
in 16 bits: 2 x 255 x 64 fits, so every processor finds the same integers.

Source: Xiao et al., "SmoothQuant" (ICML 2023), section 4; the weights' names are those of the published file, whose
digest is checked before it is read.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from numpy.typing import NDArray

from retrieval.ports import Floats

LAYERS = 6
FACTOR = ".factor"
"""Ends the name of what the graph multiplies an input with: one over its factors."""
_WEIGHT_MAX = 64
_PREFIX = "inner."
# Field numbers of onnx.proto: the graph of a model, a graph's initializers, and of a tensor what is used here.
_GRAPH, _INITIALIZER = 7, 5
_DIMS, _TYPE, _NAME, _RAW = 1, 2, 8, 9
_TYPES = {1: np.float32, 3: np.int8, 7: np.int64}

Tensor = NDArray[Any]


def tensors(model: bytes) -> dict[str, Tensor]:
    """The initializers of an ONNX model that are kept as raw bytes of a type that weights have, by name."""
    found = {}
    for initializer in (data for number, data in _fields(_graph(model)) if number == _INITIALIZER):
        parts = list(_fields(initializer))
        one = dict(parts)
        if one[_TYPE] in _TYPES and _RAW in one:
            dims = [size for number, size in parts if number == _DIMS]
            found[one[_NAME].decode()] = np.frombuffer(one[_RAW], dtype=_TYPES[one[_TYPE]]).reshape(dims)
    return found


def factors(graph: Mapping[str, Tensor]) -> dict[str, Floats]:
    """What the inputs of matrices are divided by in a graph with these tensors, by the matrix's name."""
    return {
        name.removesuffix(FACTOR): np.reciprocal(inverse, dtype=np.float32)
        for name, inverse in graph.items()
        if name.endswith(FACTOR)
    }


def initializers(published: Mapping[str, Tensor], factors: Mapping[str, Floats]) -> dict[str, Tensor]:
    """What the graph's initializers are, by their names there.

    Args:
        published: the tensors of the published file.
        factors: of those matrices that have any, by name: `[inputs]`.
    """
    embeddings = f"{_PREFIX}embeddings."
    places = _floats(published, f"{embeddings}position_embeddings.weight")
    found: dict[str, Tensor] = {
        "words": published[f"{embeddings}word_embeddings.weight_q"],
        "words.scale": published[f"{embeddings}word_embeddings.weight_scale"],
        # All tokens are of the first type.
        "places": places + published[f"{embeddings}token_type_embeddings.weight"][0],
        "norm.weight": published[f"{embeddings}LayerNorm.weight"],
        "norm.bias": published[f"{embeddings}LayerNorm.bias"],
    }
    for layer in range(LAYERS):
        for name, matrix in matrices(published, layer).items():
            factor = factors.get(name)
            weights, scale = _quantized(matrix if factor is None else matrix * factor[:, None])
            found |= {f"{name}.weight": weights, f"{name}.scale": scale}
            found[f"{name}.zero"] = np.zeros(len(scale), dtype=np.int8)
        found |= _vectors(published, layer)
    return found


def matrices(published: Mapping[str, Tensor], layer: int) -> dict[str, Floats]:
    """A layer's matrices `[inputs, outputs]` by name: those of query, key and value side by side, and three others."""
    numbers = sorted(int(name[4:-2]) for name in published if name.startswith("val_") and name.endswith("_q"))
    mine = [_floats(published, f"val_{number}") for number in numbers[6 * layer :][:6]]
    named = {"qkv": np.concatenate(mine[:3], axis=1), "o": mine[3], "f1": mine[4], "f2": mine[5]}
    return {f"{layer}.{name}": matrix for name, matrix in named.items()}


def _vectors(published: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
    """A layer's biases and the weights of its norms, by name."""
    of = f"{_PREFIX}encoder.layer.{layer}."
    own = f"{of}attention.self."
    named = {
        "qkv.bias": np.concatenate([published[f"{own}{name}.bias"] for name in ("query", "key", "value")]),
        "o.bias": published[f"{of}attention.output.dense.bias"],
        "o.norm.weight": published[f"{of}attention.output.LayerNorm.weight"],
        "o.norm.bias": published[f"{of}attention.output.LayerNorm.bias"],
        "f1.bias": published[f"{of}intermediate.dense.bias"],
        "f2.bias": published[f"{of}output.dense.bias"],
        "f2.norm.weight": published[f"{of}output.LayerNorm.weight"],
        "f2.norm.bias": published[f"{of}output.LayerNorm.bias"],
    }
    return {f"{layer}.{name}": vector for name, vector in named.items()}


def _floats(published: Mapping[str, Tensor], name: str) -> Floats:
    return published[f"{name}_q"].astype(np.float32) * published[f"{name}_scale"].astype(np.float32)


def _quantized(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """A matrix as integers, and what one of them is worth in each column."""
    scale = np.abs(matrix).max(axis=0) / np.float32(_WEIGHT_MAX)
    return np.rint(matrix / scale).astype(np.int8), scale.astype(np.float32)


def _graph(model: bytes) -> bytes:
    return bytes(next(data for number, data in _fields(model) if number == _GRAPH))


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and values of a serialized message's fields."""
    read = Empty()
    read.ParseFromString(message)
    found = UnknownFieldSet(read)
    return ((found[place].field_number, found[place].data) for place in range(len(found)))
