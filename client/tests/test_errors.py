"""What the errors say, and that they say nothing they must not."""

import copy
import pickle

import httpx2
import pytest

import recalld_client
from recalld_client import (
    ApiError,
    Conflict,
    ConnectionFailed,
    FieldError,
    Forbidden,
    Gone,
    InvalidRequest,
    InvalidValue,
    NotFound,
    PreconditionFailed,
    RateLimited,
    RecalldError,
    ServerError,
    ServiceUnavailable,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnexpectedReply,
)
from recalld_client.errors import of_status

CLASSES = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: InvalidRequest,
    409: Conflict,
    410: Gone,
    412: PreconditionFailed,
    413: TooLarge,
    415: InvalidRequest,
    421: InvalidRequest,
    422: InvalidRequest,
    429: RateLimited,
    500: ServerError,
    501: ServerError,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


@pytest.mark.parametrize(("status", "kind"), CLASSES.items())
def test_each_status_has_its_class(connect, fake, status, kind):
    fake.script.append(fake.problem(status, "some_code", "what happened"))
    with pytest.raises(ApiError) as caught:
        connect(retry=recalld_client.RetrySettings(attempts_max=1)).get("mem_1")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.code, caught.value.detail) == (status, "some_code", "what happened")
    assert str(caught.value).startswith(f"what happened [{status} some_code]")


def test_the_tree_is_as_drawn():
    assert issubclass(InvalidValue, ValueError)
    assert {each for each in (ConnectionFailed, TimedOut, ServiceUnavailable) if issubclass(each, Unavailable)} == {
        ConnectionFailed,
        TimedOut,
        ServiceUnavailable,
    }
    assert issubclass(ServiceUnavailable, ApiError)
    assert not issubclass(ConnectionFailed, ApiError)
    errors = {each for each in vars(recalld_client.errors).values() if isinstance(each, type)} - {FieldError}
    assert {each for each in errors if issubclass(each, Exception) and not issubclass(each, RecalldError)} == set()
    drawn = recalld_client.errors.__doc__
    assert {each.__name__ for each in errors if issubclass(each, Exception) and each.__name__ not in drawn} == set()
    exported = {each.__name__ for each in errors if issubclass(each, RecalldError)}
    assert exported - set(recalld_client.__all__) == set()


def test_wrong_fields_are_named_with_their_limits(client, fake):
    wrong = [
        {"field": "items.0.text", "message": "must hold 1 to 65536 bytes", "limit": 65536},
        {"field": "items.1.kind", "message": "is no kind"},
    ]
    fake.script.append(fake.problem(422, "invalid_input", "2 fields are wrong", wrong))
    with pytest.raises(InvalidRequest) as caught:
        client.add("a")
    assert caught.value.errors == (
        FieldError("items.0.text", "must hold 1 to 65536 bytes", 65536),
        FieldError("items.1.kind", "is no kind", None),
    )
    assert str(caught.value) == (
        "2 fields are wrong; items.0.text: must hold 1 to 65536 bytes; items.1.kind: is no kind [422 invalid_input]"
    )


def test_a_field_that_the_detail_names_already_is_not_said_twice():
    error = of_status("text: too long", status=422, code="invalid_input", errors=[FieldError("text", "too long")])
    assert str(error) == "text: too long [422 invalid_input]"


def test_a_missing_key_says_how_to_give_one(client, fake):
    fake.script.append(fake.problem(401, "unauthorized", "no key"))
    with pytest.raises(Unauthorized, match=r"no key \[401 unauthorized\]: pass api_key=\.\.\. or set RECALLD_API_KEY"):
        client.stats()


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[1]", b'"text"', b"\xff", b"null"])
def test_a_failure_without_a_problem_document_is_told_by_its_status(connect, fake, body):
    fake.script.append(httpx2.Response(502, content=body))
    with pytest.raises(ServiceUnavailable, match=r"^HTTP 502 without a problem document \[502\]$"):
        connect(retry=recalld_client.RetrySettings(attempts_max=1)).stats()


@pytest.mark.parametrize(
    "odd", [{"detail": 7, "code": [1], "errors": "none"}, {"errors": [1, {"field": None, "limit": {}}]}]
)
def test_an_odd_problem_document_is_still_its_status(client, fake, odd):
    fake.script.append(httpx2.Response(409, json=odd))
    with pytest.raises(Conflict, match=r"^HTTP 409 without a problem document"):
        client.stats()


def test_an_error_in_the_shape_of_openai_is_read_too(client, fake):
    inner = {"message": "no such model", "type": "invalid_request_error", "code": "not_found"}
    fake.script.append(httpx2.Response(404, json={"error": inner}))
    with pytest.raises(NotFound, match=r"^no such model \[404 not_found\]$"):
        client.chat("hello", model="x")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"<html>hello</html>", "the reply"),
        (b'{"id": "mem_1", "text": "a private thing"}', "namespace"),
        (b'["a private thing"]', "the reply"),
    ],
)
def test_a_reply_of_another_shape_is_not_shown(client, fake, body, where):
    fake.script.append(httpx2.Response(200, content=body))
    told = rf"^the reply is no Memory of recalld's \({where}: .*is the URL right\?$"
    with pytest.raises(UnexpectedReply, match=told) as caught:
        client.get("mem_1")
    assert "private" not in str(caught.value)
    # A chained error would print its content with the traceback.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_redirect_is_not_followed(client, fake):
    fake.script.append(httpx2.Response(307, headers={"Location": "http://elsewhere/"}))
    with pytest.raises(UnexpectedReply, match=r"redirects \(HTTP 307\)"):
        client.add("a")
    assert len(fake.requests) == 1


def test_a_damaged_body_is_an_unexpected_reply(client, fake):
    fake.script.append(httpx2.DecodingError("bad gzip"))
    with pytest.raises(UnexpectedReply, match="cannot be read"):
        client.stats()


def test_an_address_too_long_is_a_wrong_value(client):
    with pytest.raises(InvalidValue, match=r"^query parameters: cannot be part of an address"):
        client.list(text="x" * 70_000)


@pytest.mark.parametrize(
    "error",
    [
        of_status("d", status=429, code="c", errors=[FieldError("f", "m", 3)], retry_after_s=2.0),
        of_status("d", status=503, code="model_missing", retryable=False),
        ConnectionFailed("m", refused=True),
        TimedOut("m"),
        InvalidValue.of("f", "m"),
        UnexpectedReply("m"),
    ],
)
def test_errors_cross_a_process_pool_whole(error):
    error.acknowledged = 5
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_refused_says_whether_the_server_did_nothing():
    statuses = (400, 404, 409, 429, 500, 502, 503, 504)
    assert [of_status("", status=each).refused for each in statuses] == [True] * 4 + [False, False, True, False]
