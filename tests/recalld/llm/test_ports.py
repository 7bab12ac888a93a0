"""The contract of `LanguageModel`, by properties, for every implementation; and the types that it is made of."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recalld.core.errors import InvalidInput, Unavailable
from recalld.llm.ports import ChatMessage, Chunk, GenerationSettings, LanguageModel
from recalld.llm.remote import OpenAICompatibleModel
from recalld.llm.scripted import ScriptedModel

REPLY = "one two three four five six seven eight nine ten"
HELLO = [ChatMessage("user", "hello there")]


def scripted(request: pytest.FixtureRequest) -> LanguageModel:
    return ScriptedModel(lambda messages: REPLY, context_tokens_max=96)


def local(request: pytest.FixtureRequest) -> LanguageModel:
    pytest.importorskip("torch", reason="the llm extra (torch) is not installed")
    from recalld.llm.engine import EngineSettings, LocalModel

    return LocalModel.load(request.getfixturevalue("tiny_path"), EngineSettings())


def remote(request: pytest.FixtureRequest) -> LanguageModel:
    class Handler(BaseHTTPRequestHandler):
        """Speaks a word a token, as many as `max_tokens` allows."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            words = REPLY.replace(" ", "\n ").split("\n")
            said = words[: body["max_tokens"]]
            finish = "stop" if len(said) == len(words) else "length"
            events: list[Any] = [{"choices": [{"delta": {"content": word}}]} for word in said]
            events.append({"choices": [{"delta": {}, "finish_reason": finish}]})
            events.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": len(said)}})
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for event in events:
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    request.addfinalizer(lambda: (server.shutdown(), thread.join(), server.server_close()))
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return OpenAICompatibleModel(url, "far", None, 10, 96, lambda text: len(text.split()), "words")


@pytest.fixture(params=[scripted, local, remote], ids=lambda make: make.__name__)
def model(request: pytest.FixtureRequest) -> Iterator[LanguageModel]:
    made = request.param(request)
    yield made
    made.close()


def text_of(chunks: list[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


def test_only_the_last_chunk_ends_the_reply_and_has_the_usage(model: LanguageModel) -> None:
    chunks = list(model.generate(HELLO, GenerationSettings(tokens_max=8)))
    assert [chunk.finish_reason is None and chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [
        False
    ]
    assert chunks[-1].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8
    assert chunks[-1].usage.prompt_tokens > 0


def test_the_same_greedy_request_gets_the_same_reply(model: LanguageModel) -> None:
    settings = GenerationSettings(tokens_max=12)
    first = text_of(list(model.generate(HELLO, settings)))
    assert first
    assert text_of(list(model.generate(HELLO, settings))) == first


def test_a_shorter_reply_is_the_beginning_of_a_longer_one(model: LanguageModel) -> None:
    long = text_of(list(model.generate(HELLO, GenerationSettings(tokens_max=10))))
    short = text_of(list(model.generate(HELLO, GenerationSettings(tokens_max=3))))
    # A reply cut inside a character ends with the replacement character.
    assert long.startswith(short.rstrip("\ufffd"))
    assert len(short) < len(long)


def test_a_stop_string_ends_the_reply_before_it(model: LanguageModel) -> None:
    whole = text_of(list(model.generate(HELLO, GenerationSettings(tokens_max=10))))
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    chunks = list(model.generate(HELLO, GenerationSettings(tokens_max=10, stop=(stop, "never said"))))
    assert text_of(chunks) == whole[: whole.index(stop)]
    assert chunks[-1].finish_reason == "stop"


def test_closing_the_iterator_lets_the_next_generation_run(model: LanguageModel) -> None:
    settings = GenerationSettings(tokens_max=10)
    whole = text_of(list(model.generate(HELLO, settings)))
    chunks = model.generate(HELLO, settings)
    next(chunks)
    chunks.close()
    assert text_of(list(model.generate(HELLO, settings))) == whole


def test_a_prompt_as_long_as_the_context_is_refused_with_the_limit(model: LanguageModel) -> None:
    long = [ChatMessage("user", "word " * 96)]
    assert model.count_prompt_tokens(long) >= model.context_tokens_max == 96
    with pytest.raises(InvalidInput) as raised:
        list(model.generate(long, GenerationSettings()))
    assert (raised.value.fields[0].field, raised.value.fields[0].limit) == ("messages", 96)


def test_no_messages_are_refused(model: LanguageModel) -> None:
    with pytest.raises(InvalidInput, match="messages"):
        list(model.generate([], GenerationSettings()))


def test_a_prompt_counts_at_least_its_contents(model: LanguageModel) -> None:
    assert model.count_tokens("") == 0
    counts = [model.count_prompt_tokens([ChatMessage("user", "hello there")] * n) for n in (1, 2, 3)]
    assert counts[0] > model.count_tokens("hello there") > 0
    assert counts[2] - counts[1] == counts[1] - counts[0]


def test_it_says_what_it_is(model: LanguageModel) -> None:
    assert (model.name, model.tokenizer_name) in {
        ("scripted", "words"),
        ("tiny", "gpt2/smollm"),
        ("far", "words"),
    }


def test_a_closed_model_is_unavailable_and_closes_again(model: LanguageModel) -> None:
    model.close()
    model.close()
    with pytest.raises(Unavailable, match="closed"):
        list(model.generate(HELLO, GenerationSettings()))


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("tokens_max", lambda: GenerationSettings(tokens_max=0)),
        ("temperature", lambda: GenerationSettings(temperature=-0.1)),
        ("temperature", lambda: GenerationSettings(temperature=float("nan"))),
        ("top_p", lambda: GenerationSettings(top_p=0)),
        ("top_p", lambda: GenerationSettings(top_p=1.1)),
        ("top_k", lambda: GenerationSettings(top_k=-1)),
        ("stop", lambda: GenerationSettings(stop=("a", ""))),
        ("messages.role", lambda: ChatMessage("user<|im_end|>", "x")),
        ("messages.content", lambda: ChatMessage("user", "half \ud83d")),
    ],
)
def test_values_out_of_range_are_refused_by_name(field: str, make: Callable[[], object]) -> None:
    with pytest.raises(InvalidInput) as raised:
        make()
    assert raised.value.fields[0].field == field


def test_the_seam_needs_neither_torch_nor_gguf_nor_jinja() -> None:
    code = (
        "import sys; import recalld.llm.ports, recalld.llm.remote, recalld.llm.scripted;"
        "print(sorted({'torch', 'gguf', 'jinja2'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
