"""Every error in one form, with nothing of the input in it."""

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, TypeAdapter, ValidationError
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from api.errors import invalid
from api.errors import problem as reply_to
from memory.service import MemoryService
from recalld.bootstrap import Parts
from recalld.core import errors
from recalld.core.errors import FieldError, RecalldError
from tests.api.conftest import Running, add, problem

SECRET = "sesame-7f3a"


def tree(kind: type[RecalldError] = RecalldError) -> list[type[RecalldError]]:
    """The error tree, its root first."""
    return [kind, *(found for child in kind.__subclasses__() for found in tree(child))]


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_an_error_of_the_tree_is_answered_with_its_own_code_status_and_fields(kind: type[RecalldError]) -> None:
    reply = reply_to(kind("what is wrong", [FieldError("items.3.text", "too long", 9), FieldError("a", "b")]))
    assert reply.media_type == "application/problem+json"
    assert reply.status_code == kind.status
    assert TypeAdapter(dict[str, Any]).validate_json(bytes(reply.body)) == {
        "type": f"urn:recalld:error:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": "what is wrong",
        "code": kind.code,
        "retryable": kind.retryable,
        "errors": [
            {"field": "items.3.text", "message": "too long", "limit": 9},
            {"field": "a", "message": "b", "limit": None},
        ],
    }
    assert ("retry-after" in reply.headers) == kind.retryable
    assert ("www-authenticate" in reply.headers) == (kind is errors.Unauthorized)


def test_no_two_errors_of_the_tree_have_one_code() -> None:
    codes = [kind.code for kind in tree()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", f"/v1/{SECRET}", (404, "no_such_route", [])),
        ("GET", f"/{SECRET}?{SECRET}={SECRET}", (404, "no_such_route", [])),
        ("PUT", "/v1/memories", (405, "method_not_allowed", [])),
        ("POST", "/healthz", (405, "method_not_allowed", [])),
        ("TRACE", f"/v1/memories/{SECRET}", (405, "method_not_allowed", [])),
        ("DELETE", f"/v1/memories/{SECRET}", (404, "not_found", [])),
    ],
)
def test_what_the_framework_raises_has_the_same_form(
    run: Running, method: str, path: str, expected: tuple[int, str, list[str]]
) -> None:
    reply = run.client().request(method, path)
    assert problem(reply) == expected
    assert SECRET not in reply.text


def test_a_wrong_method_is_told_the_right_ones(run: Running) -> None:
    allowed = run.client().put("/v1/memories").headers["allow"]
    assert allowed in ("GET", "POST", "GET, POST", "POST, GET")


def test_an_error_that_nobody_foresaw_says_nothing_and_is_logged_without_its_words(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"could not handle {SECRET}")

    monkeypatch.setattr(MemoryService, "get", fail)
    with capture_logs() as logs:
        reply = run.client().get(f"/v1/memories/{SECRET}")
    assert problem(reply) == (500, "internal", [])
    assert SECRET not in reply.text + str(logs)
    told = next(entry for entry in logs if entry["event"] == "request_failed")
    assert (told["error"], told["at"].partition(":")[0]) == ("RuntimeError", "test_errors.py")


class OneId:
    """Gives the same id to everything, as no source of ids should."""

    def new(self, prefix: str) -> str:
        return f"{prefix}_one"


def test_what_the_database_refuses_is_told_to_nobody_not_even_to_a_servers_own_log(
    start: Callable[..., Running],
) -> None:
    run = start(Parts(ids=OneId()))
    add(run.client(), "a note")
    before = run.dump()
    body = {"items": [{"text": SECRET, "metadata": {"k": SECRET}}]}
    assert problem(run.client().post("/v1/memories", json=body)) == (500, "internal", [])
    with pytest.raises(IntegrityError) as logged:
        TestClient(run.app, base_url="http://localhost", client=("127.0.0.1", 1)).post("/v1/memories", json=body)
    told = "".join(traceback.format_exception(logged.value))
    assert "UNIQUE constraint failed" in told
    assert SECRET not in told
    assert run.dump() == before


def test_a_failure_of_the_server_is_logged_and_one_of_the_client_is_not(run: Running) -> None:
    with capture_logs() as logs:
        run.client().get("/v1/memories/mem_x")
        run.client().post("/v1/chat/completions", json={"messages": [{"role": "user", "content": SECRET}]})
    failed = [(entry["code"], entry["status"]) for entry in logs if entry["event"] == "request_failed"]
    assert failed == [("not_installed", 503)]
    assert SECRET not in str(logs)


def test_of_many_wrong_fields_the_first_twenty_are_named(run: Running) -> None:
    reply = run.client().post("/v1/memories", json={"items": [{"text": ""}] * 50})
    assert problem(reply) == (422, "invalid_input", [f"items.{n}.text" for n in range(20)])
    late = run.client().post("/v1/memories", json={"items": [{"text": "\x00"}] * 50})
    assert problem(late) == (422, "invalid_input", [f"items.{n}.text" for n in range(20)])


def test_a_field_is_named_by_its_path_alone_and_a_long_name_is_cut() -> None:
    class Part(BaseModel):
        text: str

    class Message(BaseModel):
        content: str | list[Part]

    with pytest.raises(ValidationError) as caught:
        Message.model_validate({"content": [{"text": SECRET}, {"text": [SECRET]}]})
    found = invalid([{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()])
    assert [wrong.field for wrong in found.fields] == ["content.1.text"]
    assert SECRET not in found.detail + str(found.fields)
    cut = invalid([{"loc": ("query", "a" * 500), "msg": "x", "type": "extra_forbidden"}])
    assert cut.fields == (FieldError("a" * 100, "is not a field of this request"),)


def test_no_error_at_all_is_still_an_error() -> None:
    assert invalid([]).fields == (FieldError("body", "is not valid"),)


def test_the_limit_that_was_passed_is_told(run: Running) -> None:
    def limits(reply: Any) -> list[Any]:
        return [wrong["limit"] for wrong in reply.json()["errors"]]

    client = run.client()
    memory_id = add(client, "a")[0]["id"]
    assert limits(client.get("/v1/memories?limit=501")) == [500]
    assert limits(client.get("/v1/memories?limit=0")) == [1]
    assert limits(client.post("/v1/recall", json={"query": "a", "limit": 101})) == [100]
    assert limits(client.post("/v1/context", json={"query": "a", "token_budget": 32_769})) == [32_768]
    assert limits(client.patch(f"/v1/memories/{memory_id}", json={"text": "a" * 65_537})) == [65_536]
    assert limits(client.get("/v1/memories?" + "&".join(f"metadata.k{n}=1" for n in range(17)))) == [16]
