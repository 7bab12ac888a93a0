"""The sentence-transformers encoder on the float32 MiniLM, and how near the int8 one is to it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from platformdirs import user_data_dir

from recalld.core.errors import ModelMissing
from retrieval.encode_onnx import OnnxEncoder

pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed (extra `st`)")

if TYPE_CHECKING:
    from retrieval.encode_st import SentenceTransformersEncoder

FOLDER = Path(os.environ.get("RECALLD_MODELS_DIR") or user_data_dir("recalld-models", appauthor=False)) / "minilm-st"

PEOPLE = ["Caroline", "My brother", "The doctor", "Our neighbour", "Sam from work"]
DEEDS = [
    "moved to Lisbon last spring", "is allergic to peanuts", "adopted a grey cat called Miso",
    "wants to learn pottery", "cancelled the meeting at 3 pm", "runs ten kilometres before breakfast",
    "painted the kitchen dark green", "cannot stand horror films",
]  # fmt: skip
FRAMES = ["{} {}.", "Did you know that {} {}?", "{} {}, can you believe it!! 😀", "I think {} {}, but I forgot when.",
          "Note to self: {} {}; ask again on 12 May 2023."]  # fmt: skip
TEXTS = [frame.format(person, deed) for frame in FRAMES for person in PEOPLE for deed in DEEDS]


@pytest.fixture(scope="module")
def encoder() -> "SentenceTransformersEncoder":
    if not FOLDER.is_dir():
        pytest.skip(f"no model in {FOLDER}; `recalld models pull minilm-st` brings it")
    from retrieval.encode_st import SentenceTransformersEncoder

    return SentenceTransformersEncoder(str(FOLDER))


def test_the_int8_encoder_is_near_it_on_two_hundred_texts(encoder: "SentenceTransformersEncoder") -> None:
    assert len(set(TEXTS)) == 200
    cosines = (encoder.encode(TEXTS) * OnnxEncoder().encode(TEXTS)).sum(axis=1)
    assert cosines.min() >= 0.98


def test_its_tokens_are_those_of_the_int8_encoder(encoder: "SentenceTransformersEncoder") -> None:
    for mine, other in zip(encoder.encode_tokens(TEXTS[:20]), OnnxEncoder().encode_tokens(TEXTS[:20]), strict=True):
        assert mine.tokens == other.tokens
        assert (mine.vectors * other.vectors).sum(axis=1).min() >= 0.97


def test_the_fingerprint_is_that_of_the_weights(encoder: "SentenceTransformersEncoder") -> None:
    from retrieval.encode_st import SentenceTransformersEncoder

    again = SentenceTransformersEncoder(str(FOLDER))
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.encode(TEXTS[:3]), encoder.encode(TEXTS[:3]))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    from retrieval.encode_st import SentenceTransformersEncoder

    with pytest.raises(ModelMissing):
        SentenceTransformersEncoder(str(tmp_path / "nothing"))
