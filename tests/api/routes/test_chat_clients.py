"""Chat with a real client on a real connection: OpenAI's own SDK, and clients that hang up."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai
import pytest

from recalld.bootstrap import Parts
from recalld.core.errors import UpstreamError
from recalld.llm.ports import Chunk, Usage
from recalld.llm.scripted import ScriptedModel
from tests.api.conftest import Running, add, eventually
from tests.api.routes.test_chat import ANN, ASKED, PiecesModel, kept

SAID = "You live in Lisbon, 里斯本 😀."
USAGE = Usage(10, 4, cached_tokens=6)
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASKED}]


def pieces() -> Iterator[Chunk]:
    for word in SAID.split(" "):
        yield Chunk(word if word == "You" else f" {word}")
    yield Chunk("", "stop", USAGE)


@pytest.fixture
def run(start: Callable[..., Running]) -> Running:
    return start(Parts(llm=PiecesModel(pieces)))


@pytest.fixture
def sdk(run: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{run.live()}/v1", api_key="unused", max_retries=0) as sdk:
        yield sdk


def test_a_plain_reply_with_the_sdk(run: Running, sdk: openai.OpenAI) -> None:
    [memory] = add(run.client(), "I moved to Lisbon.", scope={"user_id": "ann"})
    reply = sdk.chat.completions.create(model="any", messages=MESSAGES, user="ann")
    choice = reply.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", SAID, "stop")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens_details is not None
    assert (reply.usage.total_tokens, reply.usage.prompt_tokens_details.cached_tokens) == (14, 6)
    assert reply.model_extra is not None
    assert [cited["memory_id"] for cited in reply.model_extra["recalld"]["citations"]] == [memory["id"]]
    eventually(lambda: kept(run.client())[1:] == [("user", ASKED), ("assistant", SAID)])


def test_a_streamed_reply_with_the_sdk(run: Running, sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(
        model="any",
        messages=MESSAGES,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"recalld": ANN},
    )
    events = list(stream)
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == SAID
    assert [event.choices[0].finish_reason for event in events if event.choices][-1] == "stop"
    assert events[-1].usage is not None
    assert (events[-1].choices, events[-1].usage.completion_tokens) == ([], 4)
    eventually(lambda: kept(run.client()) == [("user", ASKED), ("assistant", SAID)])


def test_both_with_the_asynchronous_sdk(run: Running) -> None:
    base_url = f"{run.live()}/v1"

    async def talk() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="unused", max_retries=0) as sdk:
            plain = await sdk.chat.completions.create(model="any", messages=MESSAGES)
            streamed = ""
            async for event in await sdk.chat.completions.create(model="any", messages=MESSAGES, stream=True):
                streamed += event.choices[0].delta.content or ""
            return plain.choices[0].message.content, streamed

    assert asyncio.run(talk()) == (SAID, SAID)
    assert run.dump() == []


def test_the_sdk_raises_what_is_refused_under_its_own_names(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        sdk.chat.completions.create(model="any", messages=MESSAGES, n=2)
    assert isinstance(refused.value.body, dict)
    assert [wrong["field"] for wrong in refused.value.body["errors"]] == ["n"]


def test_the_sdk_sends_its_key(run: Running, sdk: openai.OpenAI) -> None:
    key = run.key("team", user_id="ann")
    with pytest.raises(openai.AuthenticationError):
        sdk.chat.completions.create(model="any", messages=MESSAGES)
    sdk.with_options(api_key=key).chat.completions.create(model="any", messages=MESSAGES)
    eventually(lambda: kept(run.client(key), user_id="ann") == [("user", ASKED), ("assistant", SAID)])


def test_a_model_that_fails_in_its_reply_is_an_error_in_the_sdk_too(start: Callable[..., Running]) -> None:
    def fails() -> Iterator[Chunk]:
        yield Chunk("You live")
        raise UpstreamError("the model's server went away")

    run = start(Parts(llm=PiecesModel(fails)))
    with openai.OpenAI(base_url=f"{run.live()}/v1", api_key="unused", max_retries=0) as sdk:
        stream = sdk.chat.completions.create(model="any", messages=MESSAGES, stream=True, user="ann")
        with pytest.raises(openai.APIError, match="went away"):
            list(stream)
    assert run.dump() == []


# --- clients that hang up


def read_until(base_url: str, mark: str) -> None:
    """Stream a reply and hang up when `mark` has come."""
    body = {"messages": MESSAGES, "stream": True, "user": "ann"}
    with httpx2.stream("POST", f"{base_url}/v1/chat/completions", json=body, timeout=20) as reply:
        for line in reply.iter_lines():
            if mark in line:
                return
    raise AssertionError(f"{mark} never came")


def test_when_the_client_hangs_up_midway_the_model_is_stopped_and_nothing_is_remembered(
    start: Callable[..., Running],
) -> None:
    stopped = threading.Event()
    go_on = threading.Semaphore(1)

    def endless() -> Iterator[Chunk]:
        try:
            while True:
                go_on.acquire(timeout=0.05)
                yield Chunk(" word")
        finally:
            stopped.set()

    run = start(Parts(llm=PiecesModel(endless)))
    read_until(run.live(), "word")
    assert stopped.wait(10)
    assert run.dump() == []


@pytest.mark.parametrize("mark", ['"finish_reason": "stop"', "[DONE]"])
def test_when_the_client_hangs_up_at_the_end_the_whole_exchange_is_remembered(run: Running, mark: str) -> None:
    base_url = run.live()
    for _ in range(15):
        read_until(base_url, mark)
    eventually(lambda: len(kept(run.client())) >= 30)
    assert kept(run.client()) == [("user", ASKED), ("assistant", SAID)] * 15


def test_chats_that_wait_for_the_model_keep_no_other_request_from_its_answer(start: Callable[..., Running]) -> None:
    leave = threading.Event()
    entered = threading.Semaphore(0)

    def slow(_: object) -> str:
        entered.release()
        leave.wait(20)
        return SAID

    run = start(Parts(llm=ScriptedModel(slow)))
    base_url = run.live()

    statuses: list[int] = []

    def chat() -> None:
        reply = httpx2.post(f"{base_url}/v1/chat/completions", json={"messages": MESSAGES}, timeout=30)
        statuses.append(reply.status_code)

    chats = [threading.Thread(target=chat) for _ in range(50)]
    for thread in chats:
        thread.start()
    try:
        for _ in range(32):
            assert entered.acquire(timeout=10)
        reply = httpx2.post(f"{base_url}/v1/memories", json={"items": [{"text": "a note"}]}, timeout=10)
        assert reply.status_code == 201
    finally:
        leave.set()
        for thread in chats:
            thread.join()
    assert statuses == [200] * 50
