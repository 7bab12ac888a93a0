"""Values that JSON, UTF-8, a header or a path cannot carry are refused by name."""

import enum
import math
from datetime import UTC, date, datetime, timedelta, timezone
from types import MappingProxyType

import pytest

from recalld_client import InvalidValue, wire

NAIVE = datetime(2026, 3, 14, tzinfo=UTC).replace(tzinfo=None)


class Kind(enum.StrEnum):
    FACT = "fact"


def test_plain_values_go_through_and_structures_become_plain():
    value = {"a": [1, 2.5, None, True, "é\u2028"], "b": (MappingProxyType({"c": Kind.FACT}),)}
    assert wire.to_json(value, "") == {"a": [1, 2.5, None, True, "é\u2028"], "b": [{"c": "fact"}]}
    assert wire.encode(wire.to_json(value, "")) == '{"a":[1,2.5,null,true,"é\u2028"],"b":[{"c":"fact"}]}'.encode()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "metadata.a.1: JSON has no NaN or infinity"),
        (math.inf, "metadata.a.1: JSON has no NaN or infinity"),
        ("ok\ud800", "metadata.a.1: has a lone surrogate at character 2, which UTF-8 cannot carry"),
        (NAIVE, "metadata.a.1: has no time zone: use datetime.now(UTC) or .replace(tzinfo=...)"),
        (date(2026, 3, 14), "metadata.a.1: a date cannot be sent as JSON"),
        (b"bytes", "metadata.a.1: a bytes cannot be sent as JSON"),
        ({1, 2}, "metadata.a.1: a set cannot be sent as JSON"),
        ({1: "x"}, "a key of metadata.a.1: must be text, not int"),
        ({"\ud800": 1}, "a key of metadata.a.1: has a lone surrogate at character 0, which UTF-8 cannot carry"),
    ],
)
def test_what_cannot_be_sent_is_named_by_its_path(value, message):
    with pytest.raises(InvalidValue) as caught:
        wire.to_json({"a": ["x", value]}, "metadata")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("2026-03-14T09:00:00Z", "2026-03-14T09:00:00Z"),
        (datetime(2026, 3, 14, 9, tzinfo=UTC), "2026-03-14T09:00:00+00:00"),
        (datetime(2026, 3, 14, 9, 0, 0, 5, tzinfo=timezone(timedelta(hours=-3))), "2026-03-14T09:00:00.000005-03:00"),
        # Lisbon before 1912 was 36 minutes and 45 seconds behind; RFC 3339 cannot say so.
        (datetime(1900, 1, 1, tzinfo=timezone(-timedelta(minutes=36, seconds=45))), "1900-01-01T00:36:45+00:00"),
    ],
)
def test_times_are_rfc_3339(value, told):
    assert wire.time(value, "occurred_at") == told


@pytest.mark.parametrize("name", ["occurred_at", "expires_at"])
def test_a_naive_time_is_refused_by_the_name_of_its_argument(client, fake, name):
    with pytest.raises(ValueError, match=f"^{name}: has no time zone"):
        client.add("a", **{name: NAIVE})
    with pytest.raises(ValueError, match=f"^{name}: has no time zone"):
        client.update("mem_000", **{name: NAIVE})
    with pytest.raises(ValueError, match=rf"^items\.0\.{name}: has no time zone"):
        client.add_many([{"text": "a", name: NAIVE}])
    assert fake.requests == []


@pytest.mark.parametrize("name", ["as_of", "known_at", "now"])
def test_a_naive_time_in_a_question_is_refused(client, name):
    for call in (client.recall, client.context):
        with pytest.raises(ValueError, match=f"^{name}: has no time zone"):
            call("what?", **{name: NAIVE})


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_naive_time_in_a_list_is_refused(client, name):
    with pytest.raises(ValueError, match=f"^{name}: has no time zone"):
        client.list(**{name: NAIVE})
    with pytest.raises(ValueError, match=f"^{name}: must be RFC 3339 text or a datetime, not int"):
        client.list(**{name: 7})


def test_a_lone_surrogate_is_refused_before_anything_is_sent(client, fake):
    for call, field in [
        (lambda: client.add("a\ud800"), "text"),
        (lambda: client.recall("a\ud800"), "query"),
        (lambda: client.chat("a\ud800"), "messages.0.content"),
        (lambda: client.embeddings(["b", "a\ud800"]), "texts.1"),
        (lambda: client.list(text="a\ud800"), "text"),
        (lambda: client.list(metadata={"k": "a\ud800"}), "metadata.k"),
    ]:
        with pytest.raises(InvalidValue, match=rf"^{field}: has a lone surrogate at character 1"):
            call()
    assert fake.requests == []


@pytest.mark.parametrize("text", [None, 7, b"a", ["a"]])
def test_a_text_that_is_none_is_refused(client, text):
    with pytest.raises(InvalidValue, match=r"^text: must be text, not "):
        client.add(text)
