"""Who asks: keys, the scopes that they are bound to, local mode; and the cursors of lists."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest

from api.deps import decode_cursor, encode_cursor
from recalld.core import access
from recalld.core.errors import InvalidInput
from tests.api.conftest import PUBLIC, READS, Running, add, operations, problem
from tests.conftest import SetClock

BOUND: dict[str, Any] = {"user_id": "alice"}


def statuses(run: Running, **request: Any) -> dict[str, int]:
    """The status of every operation that needs a key, called as `request` says."""
    client = run.client(request.pop("key", None), peer=request.pop("peer", "127.0.0.1"))
    return {op.id: op.call(client, **request).status_code for op in operations(run.app) if op.id not in PUBLIC}


def test_without_a_key_every_route_but_the_public_ones_refuses_other_machines(run: Running) -> None:
    assert set(statuses(run, peer="192.0.2.7").values()) == {401}
    assert set(statuses(run, peer="127.0.0.1").values()) == {200, 201, 202, 404, 503}
    public = [op.call(run.client(peer="192.0.2.7")).status_code for op in operations(run.app) if op.id in PUBLIC]
    assert public == [200, 200, 200]


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1"])
def test_local_mode_serves_loopback_as_the_default_namespace(run: Running, peer: str) -> None:
    assert add(run.client(peer=peer), "a note")[0]["namespace"] == "default"


@pytest.mark.parametrize("peer", ["10.0.0.1", "::2", "::ffff:10.0.0.1", "testclient", ""])
def test_local_mode_serves_nobody_else_and_the_refusal_says_what_to_do(run: Running, peer: str) -> None:
    reply = run.client(peer=peer).get("/v1/memories")
    assert problem(reply) == (401, "unauthorized", [])
    assert reply.headers["www-authenticate"] == "Bearer"
    assert "recalld keys create" in reply.json()["detail"]


def test_local_mode_does_not_believe_a_header_about_where_a_request_came_from(run: Running) -> None:
    headers = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"}
    assert run.client(peer="10.0.0.1").get("/v1/memories", headers=headers).status_code == 401


def test_local_mode_ignores_authorization_and_ends_with_the_first_key_even_a_revoked_one(run: Running) -> None:
    local = run.client(key="rk_00000000_nonsense")
    assert local.get("/v1/memories").status_code == 200
    key = run.key("elsewhere")
    assert set(statuses(run).values()) == {401}
    with run.service.database.write() as connection:
        access.revoke_key(connection, key[:11], run.service.clock)
    assert set(statuses(run).values()) == {401}


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "{key}",
        "Basic {key}",
        "Bearer {key}x",
        "Bearer {flipped}",
        "Bearer {prefix}",
        "Bearer rk_00000000_{secret}",
        "Bearer rk_",
        "Bearer \x00",
    ],
)
def test_a_wrong_key_is_refused_whatever_is_wrong_with_it(run: Running, header: str | None) -> None:
    key = run.key()
    parts = {"key": key, "flipped": key[:-1] + ("A" if key[-1] != "A" else "B"), "prefix": key[:11], "secret": key[12:]}
    headers = {} if header is None else {"Authorization": header.format(**parts)}
    reply = run.client().get("/v1/memories", headers=headers)
    assert problem(reply) == (401, "unauthorized", [])
    assert not any(part in reply.text for part in parts.values())


@pytest.mark.parametrize("header", ["Bearer {key}", "bearer {key}", "BEARER   {key} "])
def test_a_right_key_is_let_in_whatever_the_case_of_its_scheme(run: Running, header: str) -> None:
    headers = {"Authorization": header.format(key=run.key("team"))}
    assert run.client(peer="203.0.113.9").get("/v1/stats", headers=headers).json()["namespace"] == "team"


def test_a_key_ends_when_it_expires_to_the_moment(run: Running, clock: SetClock) -> None:
    key = run.key(expires_at=clock.moment + timedelta(seconds=60))
    clock.advance(seconds=59.999999)
    assert run.client(key).get("/v1/memories").status_code == 200
    clock.advance(seconds=0.000001)
    expired = run.client(key).get("/v1/memories")
    assert problem(expired)[:2] == (401, "unauthorized")
    unknown = run.client("rk_00000000_x").get("/v1/memories")
    assert expired.json() == unknown.json()


def test_a_revoked_key_is_refused_at_once_and_the_others_stay(run: Running) -> None:
    first, second = run.key(), run.key()
    with run.service.database.write() as connection:
        access.revoke_key(connection, first[:11], run.service.clock)
    assert set(statuses(run, key=first).values()) == {401}
    assert run.client(second).get("/v1/memories").status_code == 200


def test_a_read_only_key_is_refused_by_every_write_and_by_nothing_else(run: Running) -> None:
    memory_id = add(run.client(run.key()), "a note")[0]["id"]
    before = run.dump()
    got = statuses(run, key=run.key(read_only=True), memory_id=memory_id)
    assert {name for name, status in got.items() if status == 403} == got.keys() - READS
    of_nothing = {"get_erasure", "get_job", "job_events"}
    assert {got[name] for name in READS - {"create_chat_completion"} - of_nothing} == {200}
    assert {got[name] for name in of_nothing} == {404}
    assert run.dump() == before


def test_a_read_only_key_is_refused_before_an_idempotency_key_is_looked_at(run: Running) -> None:
    reader = run.client(run.key(read_only=True))
    replies = [
        reader.post("/v1/memories", json={"items": [{"text": "a"}]}, headers={"Idempotency-Key": "k"}) for _ in "12"
    ]
    assert [problem(reply)[:2] for reply in replies] == [(403, "forbidden")] * 2
    assert run.dump("idempotency_keys") == []


def test_a_bound_scope_is_filled_in_when_writing_and_when_reading(run: Running) -> None:
    everyone, alice = run.client(run.key()), run.client(run.key(**BOUND))
    add(everyone, "of bob", scope={"user_id": "bob"})
    written = add(alice, "of alice", scope={"session_id": "s1"})[0]
    assert written["scope"] == {"user_id": "alice", "agent_id": None, "session_id": "s1"}
    assert [item["text"] for item in alice.get("/v1/memories").json()["items"]] == ["of alice"]
    found = alice.post("/v1/recall", json={"query": "of"}).json()["results"]
    assert [hit["memory"]["text"] for hit in found] == ["of alice"]
    assert [block["memory_ids"] for block in alice.post("/v1/context", json={"query": "of"}).json()["blocks"]] == [
        [written["id"]]
    ]


ELSEWHERE: dict[str, Callable[[Any], httpx2.Response]] = {
    "add": lambda client: client.post("/v1/memories", json={"items": [{"text": "a", "scope": {"user_id": "bob"}}]}),
    "list": lambda client: client.get("/v1/memories?user_id=bob"),
    "recall": lambda client: client.post("/v1/recall", json={"query": "a", "scope": {"user_id": "bob"}}),
    "context": lambda client: client.post("/v1/context", json={"query": "a", "scope": {"user_id": "bob"}}),
}


@pytest.mark.parametrize("route", ELSEWHERE)
def test_another_scope_than_the_bound_one_is_refused_and_never_silently_narrowed(run: Running, route: str) -> None:
    alice = run.client(run.key(**BOUND))
    before = run.dump()
    reply = ELSEWHERE[route](alice)
    assert problem(reply)[:2] == (403, "forbidden")
    assert "user_id" in reply.json()["detail"]
    assert "bob" not in reply.text
    assert "alice" not in reply.text
    assert run.dump() == before


def test_of_several_items_one_in_another_scope_refuses_them_all(run: Running) -> None:
    items = [{"text": "mine"}, {"text": "his", "scope": {"user_id": "bob"}}]
    assert run.client(run.key(**BOUND)).post("/v1/memories", json={"items": items}).status_code == 403
    assert run.dump("memories", "changes") == []


@pytest.mark.parametrize("owner", [{"namespace": "other"}, {"user_id": "bob"}], ids=["namespace", "user"])
def test_a_memory_of_somebody_else_is_not_found_in_the_words_of_one_that_there_is_not(
    run: Running, owner: dict[str, Any]
) -> None:
    theirs = add(run.client(run.key(**owner)), "a secret")[0]["id"]
    alice = run.client(run.key(**BOUND))
    before = run.dump()
    for op in operations(run.app):
        if "{memory_id}" in op.path:
            reply, missing = op.call(alice, theirs), op.call(alice, "mem_01ARZ3NDEKTSV4RRFFQ69G5FAV")
            assert problem(reply) == (404, "not_found", []), op.id
            assert reply.json() == missing.json()
    assert run.dump() == before


def test_a_cursor_names_its_place_in_its_list_only() -> None:
    for place in (0, 1, 255, 2**40, 2**63 - 1):
        cursor = encode_cursor("team/", place)
        assert decode_cursor("team/", cursor) == place
        for other in ("team", "other/", "team/mem_1/history", ""):
            with pytest.raises(InvalidInput, match="cursor"):
                decode_cursor(other, cursor)
    assert (decode_cursor("team/", None), encode_cursor("team/", None)) == (None, None)


def test_a_cursor_that_was_changed_is_refused() -> None:
    cursor = encode_cursor("team/", 7)
    assert cursor is not None
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = [
        cursor[:i] + other + cursor[i + 1 :] for i in range(len(cursor)) for other in letters if other != cursor[i]
    ]
    negative = base64.urlsafe_b64encode((2**64 - 1).to_bytes(8, "big") + bytes(8)).decode().rstrip("=")
    for wrong in [
        *changed,
        "",
        "=",
        "é",
        cursor + "=",
        cursor + "A",
        cursor[:-1],
        cursor + "\n",
        " " + cursor,
        negative,
    ]:
        with pytest.raises(InvalidInput, match="cursor"):
            decode_cursor("team/", wrong)
