"""When a call is tried again, how long it waits, and that a write is done once however often it arrives."""

from datetime import UTC, datetime

import httpx2
import pytest

from recalld_client import (
    ApiError,
    ConnectionFailed,
    InvalidRequest,
    InvalidValue,
    RateLimited,
    RetrySettings,
    ServerError,
    ServiceUnavailable,
    TimedOut,
    transport,
)
from recalld_client.errors import of_status
from recalld_client.retry import retry_after_s, wait_s

NOW = datetime(2026, 3, 14, 9, tzinfo=UTC)
CUT = ConnectionFailed("cut")


def test_the_wait_is_drawn_below_a_bound_that_doubles_up_to_its_limit():
    settings = RetrySettings(attempts_max=7, backoff_s=0.5, backoff_s_max=4.0)
    waits = [wait_s(settings, attempt, CUT, repeatable=True, chance=0.5) for attempt in range(1, 8)]
    assert waits == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0, None]
    assert wait_s(settings, 3, CUT, repeatable=True, chance=0.0) == 0.0


def test_a_wait_that_the_server_asks_for_is_kept_and_one_too_long_ends_it():
    settings = RetrySettings(retry_after_s_max=30.0)
    for asked, waited in [(None, 0.125), (0.0, 0.125), (7.0, 7.0), (30.0, 30.0), (30.5, None)]:
        error = of_status("busy", status=429, retry_after_s=asked)
        assert wait_s(settings, 1, error, repeatable=True, chance=0.5) == waited


@pytest.mark.parametrize(
    ("error", "repeatable", "only_once"),
    [
        (ConnectionFailed("refused", refused=True), True, True),
        (ConnectionFailed("cut"), True, False),
        (TimedOut("no connection", refused=True), True, True),
        (TimedOut("slow"), True, False),
        (of_status("", status=429), True, True),
        (of_status("", status=502), True, False),
        (of_status("", status=503, code="unavailable"), True, True),
        (of_status("", status=503), True, True),
        (of_status("", status=504), True, False),
        (of_status("", status=503, retryable=False), False, False),
        (of_status("", status=409, retryable=True), True, True),
        (of_status("", status=500), False, False),
        (of_status("", status=409), False, False),
        (of_status("", status=422), False, False),
        (InvalidValue("text: "), False, False),
    ],
)
def test_what_is_tried_again(error, repeatable, only_once):
    """Whether a call that may arrive twice is tried again, and one that may arrive only once."""
    waits = [wait_s(RetrySettings(), 1, error, repeatable=each, chance=0.5) for each in (True, False)]
    assert [wait is not None for wait in waits] == [repeatable, only_once]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 12 ", 12.0),
        ("Sat, 14 Mar 2026 09:00:30 GMT", 30.0),
        ("Sat, 14 Mar 2026 08:00:00 GMT", 0.0),
        ("Sat, 14 Mar 2026 09:00:30 -0000", 30.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(header, seconds):
    assert retry_after_s(header, NOW) == seconds


@pytest.mark.parametrize("wrong", [{"attempts_max": 0}, {"backoff_s": -1.0}, {"backoff_s_max": float("nan")}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: "):
        RetrySettings(**wrong)


@pytest.mark.parametrize(
    "failure",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("closed"),
        httpx2.ConnectTimeout(""),
        httpx2.ReadTimeout(""),
        httpx2.PoolTimeout(""),
        429,
        502,
        503,
        504,
    ],
)
def test_a_write_that_fails_three_times_is_done_once_with_one_key(client, fake, failure):
    for _ in range(3):
        fake.script.append(failure if isinstance(failure, Exception) else httpx2.Response(failure))
    memory = client.add("once")
    assert [each["id"] for each in fake.memories] == [memory.id]
    assert len(fake.requests) == 4
    assert len({each.headers["idempotency-key"] for each in fake.requests}) == 1
    assert len({each.content for each in fake.requests}) == 1


def test_a_write_whose_answer_was_lost_is_not_done_twice(client, fake):
    fake.script.append(fake.LOST)
    memory = client.add("once")
    fake.script.append(fake.LOST)
    changed = client.update(memory.id, text="twice", if_match=1)
    fake.script.append(fake.LOST)
    client.add_many(["a", "b"])
    assert changed.version == 2
    assert [(each["text"], each["version"]) for each in fake.memories] == [("twice", 2), ("a", 1), ("b", 1)]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (httpx2.ConnectError("refused"), ConnectionFailed),
        (httpx2.ReadTimeout(""), TimedOut),
        (429, RateLimited),
        (503, ServiceUnavailable),
    ],
)
def test_after_the_last_try_its_error_is_raised(client, fake, failure, error):
    fake.script.extend([failure if isinstance(failure, Exception) else httpx2.Response(failure)] * 4)
    with pytest.raises(error):
        client.recall("anything")
    assert len(fake.requests) == 4


@pytest.mark.parametrize(("status", "error"), [(400, InvalidRequest), (422, InvalidRequest), (500, ServerError)])
def test_what_a_retry_cannot_help_is_sent_once(client, fake, status, error):
    fake.script.append(httpx2.Response(status))
    with pytest.raises(error):
        client.add("a")
    assert len(fake.requests) == 1


def test_a_503_that_the_server_calls_lasting_is_sent_once(client, fake):
    fake.script.append(fake.problem(503, "model_missing", "run `recalld models pull`", retryable=False))
    with pytest.raises(ServiceUnavailable, match=r"^run `recalld models pull` \[503 model_missing\]$") as caught:
        client.chat("hello")
    assert (len(fake.requests), caught.value.retryable) == (1, False)


def test_chat_is_not_repeated_unless_it_was_refused(client, fake):
    fake.script.append(httpx2.ReadTimeout(""))
    with pytest.raises(TimedOut):
        client.chat("hello")
    fake.script.append(fake.LOST)
    with pytest.raises(ConnectionFailed):
        client.chat("hello")
    assert len(fake.requests) == 2
    for refusals in (
        [httpx2.ConnectError("refused"), httpx2.ConnectTimeout(""), httpx2.PoolTimeout("")],
        [httpx2.Response(429), httpx2.Response(503)],
    ):
        fake.requests.clear()
        fake.script.extend(refusals)
        assert client.chat("hello").text == "I do not know."
        assert len(fake.requests) == len(refusals) + 1


def test_one_attempt_means_no_retry(connect, fake):
    fake.script.append(httpx2.Response(503))
    with pytest.raises(ServiceUnavailable):
        connect(retry=RetrySettings(attempts_max=1)).stats()
    assert len(fake.requests) == 1


def test_the_clients_wait_as_decided(connect, fake, monkeypatch):
    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(transport.time, "sleep", waited.append)
    monkeypatch.setattr(transport.asyncio, "sleep", sleep)
    monkeypatch.setattr(transport.random, "random", lambda: 0.5)
    fake.script.extend([httpx2.Response(503), httpx2.Response(429, headers={"Retry-After": "7"}), httpx2.Response(502)])
    connect(retry=RetrySettings(backoff_s=0.25)).stats()
    assert waited == [0.125, 7.0, 0.5]


def test_a_wait_longer_than_allowed_is_left_to_the_caller(client, fake):
    fake.script.append(httpx2.Response(429, headers={"Retry-After": "3600"}))
    with pytest.raises(RateLimited) as caught:
        client.add("a")
    assert (caught.value.retry_after_s, caught.value.retryable, len(fake.requests)) == (3600.0, True, 1)


def test_an_idempotency_key_used_for_something_else_is_a_conflict(client):
    client.add("a", idempotency_key="k")
    with pytest.raises(ApiError) as caught:
        client.add("b", idempotency_key="k")
    assert (caught.value.status, caught.value.code) == (409, "conflict")
