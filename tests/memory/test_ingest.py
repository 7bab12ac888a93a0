"""Every limit on an item names its field and its figure, at the limit and one past it; and what the indexes see."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.ingest import (
    FIELD_ERRORS_MAX,
    check,
    check_item,
    check_text,
    content_digest,
    date_words,
    embedded_texts,
    last_question,
    lexical_terms,
)
from memory.model import Item
from recalld.core.config import Limits
from recalld.core.errors import FieldError, InvalidInput
from recalld.core.scope import Scope
from tests.conftest import long_text, make_memory

LIMITS = Limits.model_validate({})
KIB_64 = 64 * 1024
SURROGATE = "must be valid Unicode: it holds a lone surrogate"
NUL = "must not hold the NUL character"


def nested(depth: int) -> dict[str, Any]:
    """An object that is `depth` deep, itself counted, of objects and arrays in turn."""
    value: dict[str, Any] | list[Any] = {} if depth % 2 else []
    for level in range(depth - 1, 0, -1):
        value = {"a": value} if level % 2 else [value]
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "item",
    [
        Item("x"),
        Item("x" * KIB_64),
        Item("é" * (KIB_64 // 2)),
        Item(" "),
        Item("\ufffe \U0010ffff 👍🏽"),
        Item("x", role="r" * 64, speaker="é" * 256, external_id="e" * 512),
        Item("x", scope=Scope("u" * 256, "a" * 256, "s" * 256)),
        Item("x", metadata={"a": "x" * (16 * 1024 - len('{"a":""}'))}),
        Item("x", metadata=nested(32)),
        Item("x", metadata={"a": "\\u0000 is six characters", "b": "\\"}),
        Item("x", metadata={"": None, "é": [1, 2.5, True, {"b": -0.0}], "big": 10**300}),
        Item("x", kind="fact", frame={"subject": "Ann"}),
        *(Item("x", kind=kind) for kind in ("fact", "episode", "procedure", "rationale")),
        Item("x", kind="episode", frame={"place": "Porto"}),
    ],
)
def test_an_item_within_the_limits_is_taken(item: Item) -> None:
    assert check_item(item, LIMITS) == []


@pytest.mark.parametrize(
    ("item", "wrong"),
    [
        (Item(""), FieldError("text", "1 to 65536 bytes of UTF-8", KIB_64)),
        (Item("x" * (KIB_64 + 1)), FieldError("text", "1 to 65536 bytes of UTF-8", KIB_64)),
        (Item("é" * (KIB_64 // 2) + "x"), FieldError("text", "1 to 65536 bytes of UTF-8", KIB_64)),
        (Item("a\0b"), FieldError("text", NUL)),
        (Item("a\ud800b"), FieldError("text", SURROGATE)),
        (Item("x", role=""), FieldError("role", "1 to 64 characters", 64)),
        (Item("x", role="r" * 65), FieldError("role", "1 to 64 characters", 64)),
        (Item("x", speaker=""), FieldError("speaker", "1 to 256 characters", 256)),
        (Item("x", speaker="s" * 257), FieldError("speaker", "1 to 256 characters", 256)),
        (Item("x", speaker="a\0"), FieldError("speaker", NUL)),
        (Item("x", speaker="a\udfff"), FieldError("speaker", SURROGATE)),
        (Item("x", role="\ud800"), FieldError("role", SURROGATE)),
        (Item("x", external_id=""), FieldError("external_id", "1 to 512 characters", 512)),
        (Item("x", external_id="e" * 513), FieldError("external_id", "1 to 512 characters", 512)),
        (Item("x", external_id="\0"), FieldError("external_id", NUL)),
        (Item("x", external_id="\udc80"), FieldError("external_id", SURROGATE)),
        (Item("x", scope=Scope(user_id="")), FieldError("scope.user_id", "1 to 256 characters", 256)),
        (Item("x", scope=Scope(agent_id="a" * 257)), FieldError("scope.agent_id", "1 to 256 characters", 256)),
        (Item("x", scope=Scope(session_id="\0")), FieldError("scope.session_id", NUL)),
        (Item("x", scope=Scope(user_id="\ud83d")), FieldError("scope.user_id", SURROGATE)),
        (
            Item("x", metadata={"a": "x" * (16 * 1024 - 7)}),
            FieldError("metadata", "at most 16384 bytes as JSON", 16384),
        ),
        (Item("x", metadata={"a": "é" * (8 * 1024 - 3)}), FieldError("metadata", "at most 16384 bytes as JSON", 16384)),
        (Item("x", metadata=nested(33)), FieldError("metadata", "nested at most 32 deep", 32)),
        (Item("x", metadata={"a": float("nan")}), FieldError("metadata", "must not hold NaN or infinity")),
        (Item("x", metadata={"a": [{"b": float("-inf")}]}), FieldError("metadata", "must not hold NaN or infinity")),
        (Item("x", metadata={"a": ["\0"]}), FieldError("metadata", NUL)),
        (Item("x", metadata={"\0": 1}), FieldError("metadata", NUL)),
        (Item("x", metadata={"a": "\\\0"}), FieldError("metadata", NUL)),
        (Item("x", metadata={"a": "\ud800"}), FieldError("metadata", SURROGATE)),
        (Item("x", metadata={"\ud800": 1}), FieldError("metadata", SURROGATE)),
        (Item("x", kind="fact", frame={"a": float("inf")}), FieldError("frame", "must not hold NaN or infinity")),
        (Item("x", kind="fact", frame=nested(33)), FieldError("frame", "nested at most 32 deep", 32)),
        *(
            (
                Item("x", kind=kind, frame={}),
                FieldError("frame", "only a memory of kind episode, fact, procedure, rationale has one"),
            )
            for kind in ("turn", "document", "summary", "profile")
        ),
    ],
)
def test_an_item_beyond_a_limit_is_refused_by_field_and_limit(item: Item, wrong: FieldError) -> None:
    assert check_item(item, LIMITS) == [wrong]
    with pytest.raises(InvalidInput) as refused:
        check([Item("fine"), item], LIMITS)
    assert refused.value.fields == (replace(wrong, field=f"items.1.{wrong.field}"),)
    assert refused.value.detail == f"items.1.{wrong.field}: {wrong.message}"


def test_limits_are_settings() -> None:
    small = LIMITS.model_copy(update={"text_bytes_max": 3, "metadata_bytes_max": 8, "metadata_depth_max": 1})
    wrong = check_item(Item("four", metadata={"a": {}}), small)
    assert [(error.field, error.limit) for error in wrong] == [("text", 3), ("metadata", 1)]
    assert check_item(Item("x", metadata={"a": 12}), small) == []
    assert [error.limit for error in check_item(Item("x", metadata={"a": 123}), small)] == [8]


def test_a_batch_has_1_item_up_to_the_limit() -> None:
    check([Item("x")] * 1000, LIMITS)
    for count, message, limit in ((0, "at least 1 item", 1), (1001, "at most 1000 items in one request", 1000)):
        with pytest.raises(InvalidInput) as refused:
            check([Item("x")] * count, LIMITS)
        assert refused.value.fields == (FieldError("items", message, limit),)


def test_only_the_first_errors_are_told() -> None:
    with pytest.raises(InvalidInput) as refused:
        check([Item("", role="")] * 500, LIMITS)
    assert len(refused.value.fields) == FIELD_ERRORS_MAX
    assert refused.value.fields[-1].field == "items.9.role"


@given(st.text(min_size=1, max_size=300))
def test_an_error_never_echoes_the_input(secret: str) -> None:
    marked = f"BEGIN{secret}END"
    items = [Item(f"{marked}\0{marked}", speaker=marked * 60, metadata={marked: float("nan")}, frame={marked: "\0"})]
    with pytest.raises(InvalidInput) as refused:
        check(items, LIMITS)
    told = refused.value.detail + "".join(f"{error.field}{error.message}" for error in refused.value.fields)
    assert "BEGIN" not in told


@given(st.text(max_size=40))
def test_what_is_taken_can_be_written_as_utf_8_and_holds_no_nul(text: str) -> None:
    taken = not check_text(text, 64, "text")
    assert taken == (1 <= len(text.encode(errors="replace")) <= 64 and "\0" not in text)


HUGE: dict[str, Callable[[], object]] = {
    "a text of 16 MiB": lambda: check_text("x" * (16 << 20), KIB_64, "text"),
    "a wide object": lambda: check_item(Item("x", metadata={str(i): [] for i in range(100_000)}), LIMITS),
    "a deep object": lambda: check_item(Item("x", metadata=nested(99_999)), LIMITS),
    "wide lists in deep ones": lambda: check_item(Item("x", metadata={"a": [[[[]] * 500] * 500]}), LIMITS),
    "spaces before no question": lambda: last_question(" " * KIB_64 + "x"),
    "only question marks": lambda: last_question("?" * KIB_64),
    "terms of one word": lambda: lexical_terms(make_memory(1, "x" * KIB_64)),
    "terms of marks": lambda: lexical_terms(make_memory(1, "e" + "\u0301" * (KIB_64 // 2 - 1))),
    "terms of many words": lambda: lexical_terms(make_memory(1, "a b " * (KIB_64 // 4))),
}


@pytest.mark.parametrize("act", HUGE.values(), ids=HUGE)
def test_huge_input_takes_no_more_than_linear_time(act: Callable[[], object]) -> None:
    started = time.perf_counter()
    act()
    assert time.perf_counter() - started < 5.0


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Where do you live?", "Where do you live?"),
        ("Hi Ann. Where do you live?", "Where do you live?"),
        ("Really? Where do you live?  \n", "Where do you live?"),
        ("I moved!\nWhere to?", "Where to?"),
        ("What did you do??", "What did you do??"),
        ("Where do you live? I asked.", None),
        ("I live in Porto.", None),
        ("?", "?"),
        ("", None),
        ("x" * 400 + "?", "x" * 299 + "?"),
        ("Où habites-tu ?", "Où habites-tu ?"),
        ("你住在哪里？", "你住在哪里？"),
        ("我搬家了。你呢？", "你呢？"),
        ("أين تعيش؟", "أين تعيش؟"),
    ],
)
def test_the_last_question_is_that_of_a_text_that_ends_in_one(text: str, question: str | None) -> None:
    assert last_question(text) == question


@given(st.text(alphabet="ab?？!. \n", max_size=30))
def test_a_last_question_is_the_end_of_the_text(text: str) -> None:
    asked = last_question(text)
    assert (asked is not None) == text.rstrip().endswith(("?", "？"))
    assert asked is None or (text.rstrip().endswith(asked) and asked == asked.strip())


def test_the_embedded_text_begins_with_what_was_just_asked() -> None:
    answer = make_memory(2, "Yes, last summer.")
    assert embedded_texts(answer, None) == ["Yes, last summer."]
    assert embedded_texts(answer, make_memory(1, "I like it.")) == ["Yes, last summer."]
    asked = make_memory(1, "It is hot. Did you go to Porto?")
    assert embedded_texts(answer, asked) == ["Did you go to Porto? Yes, last summer."]


def test_each_passage_of_a_long_text_is_embedded_by_itself_and_the_first_follows_the_question() -> None:
    sentences = ["We left early.", "Then it rained.", "We came home late."]
    written = long_text(*sentences)
    found = embedded_texts(make_memory(2, written), make_memory(1, "How was it?"))
    assert [text[:20] for text in found] == ["How was it? We left ", "Then it rained. So i", "We came home late. S"]
    assert "".join(found) == f"How was it? {written}"


@pytest.mark.parametrize(
    ("kind", "title", "ahead"),
    [
        ("document", "# A trip to Porto", "# A trip to Porto\n"),
        ("document", "  A trip\t", "A trip\n"),
        ("document", "t" * 120, "t" * 120 + "\n"),
        ("document", "t" * 121, ""),
        ("document", "", ""),
        ("turn", "A trip to Porto", ""),
    ],
)
def test_a_later_passage_of_a_document_follows_its_title(kind: Any, title: str, ahead: str) -> None:
    written = long_text("We left early.", "Then it rained.", title=title)
    first, second = embedded_texts(make_memory(1, written, kind=kind), None)
    assert written.startswith(first)
    assert second == ahead + written[len(first) :]
    assert second.startswith(f"{ahead}Then it rained.")


def test_full_text_keeps_speaker_and_date_with_each_passage() -> None:
    day = datetime(2026, 5, 7, tzinfo=UTC)
    first, second = lexical_terms(make_memory(1, long_text("Moved.", "Again."), speaker="Ann", occurred_at=day))
    assert (first[:3], first[-3:]) == (["ann", "move", "so"], ["7", "may", "2026"])
    assert (second[:3], second[-3:]) == (["ann", "again", "so"], ["7", "may", "2026"])


def test_full_text_keeps_speaker_text_and_date() -> None:
    day = datetime(2026, 5, 7, tzinfo=UTC)
    memory = make_memory(1, "Moved twice, moved again.", speaker="Ann Lee", occurred_at=day)
    wanted = ["ann", "lee", "move", "twice", "move", "again", "7", "may", "2026"]
    assert lexical_terms(memory) == [wanted]
    assert lexical_terms(make_memory(1, "Moved.")) == [["move"]]


@pytest.mark.parametrize("month", range(1, 13))
def test_a_date_is_written_as_people_ask_for_it(month: int) -> None:
    moment = datetime(987, month, 9, tzinfo=UTC)
    assert date_words(moment) == f"9 {moment:%B} 987"


def test_a_digest_is_the_same_everywhere_and_differs_with_the_text() -> None:
    assert content_digest("I live in Porto.").hex() == "f5e874108d26e6ea"
    assert content_digest("I live in Porto") != content_digest("I live in Porto.")
