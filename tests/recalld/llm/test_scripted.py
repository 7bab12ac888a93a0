import pytest

from recalld.core.errors import Unavailable
from recalld.llm.ports import ChatMessage, Chunk, GenerationSettings, Usage
from recalld.llm.scripted import ScriptedModel

HELLO = [ChatMessage("user", "hello there")]


def test_replies_come_in_order_word_by_word_and_then_run_out() -> None:
    model = ScriptedModel(["It rains.", "No."])
    assert list(model.generate(HELLO, GenerationSettings())) == [
        Chunk("It"),
        Chunk(" rains."),
        Chunk("", "stop", Usage(4, 2)),
    ]
    assert next(model.generate(HELLO, GenerationSettings())) == Chunk("No.")
    with pytest.raises(Unavailable, match="only 2 replies"):
        model.generate(HELLO, GenerationSettings())


def test_a_function_sees_the_messages_and_the_calls_are_kept() -> None:
    model = ScriptedModel(lambda messages: messages[-1].content.upper())
    settings = GenerationSettings(tokens_max=1)
    assert list(model.generate(HELLO, settings)) == [Chunk("HELLO"), Chunk("", "length", Usage(4, 1))]
    assert model.calls == [(tuple(HELLO), settings)]


def test_the_context_ends_a_reply() -> None:
    model = ScriptedModel(["a b c d"], context_tokens_max=6)
    assert list(model.generate(HELLO, GenerationSettings()))[-1] == Chunk("", "length", Usage(4, 2))


def test_a_text_is_its_tokens_joined() -> None:
    text = "  two\n words \n"
    assert list(ScriptedModel([text]).generate(HELLO, GenerationSettings()))[:-1] == [
        Chunk("  two"),
        Chunk("\n words"),
        Chunk(" \n"),
    ]
    assert ScriptedModel([]).count_tokens(text) == 3
