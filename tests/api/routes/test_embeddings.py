"""`/v1/embeddings` and `/v1/models`, with OpenAI's own client and without."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from recalld.bootstrap import Parts, making
from recalld.core.errors import ModelMissing
from recalld.llm.scripted import ScriptedModel
from tests.api.conftest import Running, problem, running_in

TEXTS = ["We moved to Lisbon.", "naïve café 日本語 😀", "a" * 65_536, "?", " "]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_in(tmp_path_factory.mktemp("embeddings"), Parts(llm=ScriptedModel([], name="tiny"))) as run:
        yield run


@pytest.fixture(scope="module")
def sdk(run: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{run.live()}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


def test_the_sdk_gets_the_vectors_that_recall_uses_and_asks_for_base64_by_itself(
    run: Running, sdk: openai.OpenAI
) -> None:
    reply = sdk.embeddings.create(model="any", input=TEXTS)
    expected = run.service.encoder.encode(TEXTS)
    assert [item.index for item in reply.data] == list(range(len(TEXTS)))
    np.testing.assert_array_equal(np.array([item.embedding for item in reply.data], dtype=np.float32), expected)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    tokens = sum(run.service.encoder.count_tokens(text) for text in TEXTS)
    assert (reply.model, reply.object) == (run.service.encoder.name, "list")
    assert (reply.usage.prompt_tokens, reply.usage.total_tokens) == (tokens, tokens)


def test_floats_and_base64_are_the_same_numbers_and_one_text_may_stand_alone(run: Running) -> None:
    def vectors(**fields: Any) -> list[Any]:
        return [item["embedding"] for item in run.client().post("/v1/embeddings", json=fields).json()["data"]]

    [floats] = vectors(input=TEXTS[0])
    assert vectors(input=[TEXTS[0]], encoding_format="float") == [floats]
    [packed] = vectors(input=TEXTS[0], encoding_format="base64")
    assert np.frombuffer(base64.b64decode(packed), dtype="<f4").tolist() == floats
    assert len(floats) == run.service.encoder.dimensions


def test_its_own_number_of_dimensions_may_be_asked_for_and_no_other(run: Running) -> None:
    dimensions = run.service.encoder.dimensions
    for asked, status in ((dimensions, 200), (dimensions // 2, 422), (dimensions + 1, 422), (0, 422)):
        reply = run.client().post("/v1/embeddings", json={"input": "a", "dimensions": asked})
        assert reply.status_code == status
        assert status == 200 or problem(reply) == (422, "invalid_input", ["dimensions"])


@pytest.mark.parametrize(
    ("wrong", "fields"),
    [
        ("", {"input"}),
        ([], {"input"}),
        (["a", ""], {"input.1"}),
        (None, {"input"}),
        (7, {"input"}),
        ([1, 2, 3], {"input.0", "input.1", "input.2"}),
        ([[1, 2]], {"input.0"}),
        ({"a": "b"}, {"input"}),
        (["a"] * 1001, {"input"}),
        (["a", "b\x00", "c" * 65_537], {"input.1", "input.2"}),
        ("\x00", {"input.0"}),
    ],
)
def test_an_input_that_is_wrong_is_named(run: Running, wrong: Any, fields: set[str]) -> None:
    status, code, named = problem(run.client().post("/v1/embeddings", json={"input": wrong}))
    assert (status, code, set(named)) == (422, "invalid_input", fields)


def test_fields_that_say_nothing_here_are_taken(run: Running) -> None:
    body = {"input": "a", "model": "text-embedding-3-small", "user": "ann", "anything": {"x": 1}}
    assert run.client().post("/v1/embeddings?api-version=1", json=body).status_code == 200
    assert problem(run.client().post("/v1/embeddings", json=body | {"encoding_format": "int8"}))[2] == [
        "encoding_format"
    ]


def test_nothing_of_an_embedding_is_kept(run: Running) -> None:
    run.client().post("/v1/embeddings", json={"input": "sesame"})
    assert run.dump() == []


# --- models


def test_the_chat_model_is_listed_first(run: Running, sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == ["tiny", run.service.encoder.name]
    body = run.client().get("/v1/models").json()
    assert [(model["object"], model["purpose"]) for model in body["data"]] == [
        ("model", "chat"),
        ("model", "embedding"),
    ]


def test_a_chat_model_that_can_not_answer_is_not_listed(
    start: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(run: Running) -> list[str]:
        return [model["id"] for model in run.client().get("/v1/models").json()["data"]]

    assert listed(start(llm="none")) == ["hash-256"]
    assert listed(start(llm="openai", llm_model="qwen", llm_url="http://127.0.0.1:1/v1")) == ["qwen", "hash-256"]
    local = start(llm="smollm2")
    monkeypatch.setattr(making, "find_spec", lambda name: None)
    assert listed(local) == ["hash-256"]

    def missing(*_: object) -> Path:
        raise ModelMissing("pull it")

    monkeypatch.setattr(making, "find_spec", lambda name: object())
    monkeypatch.setattr(making, "path_of", missing)
    assert listed(local) == ["hash-256"]
    monkeypatch.setattr(making, "path_of", lambda *_: Path("smollm2.gguf"))
    assert listed(local) == ["smollm2", "hash-256"]
