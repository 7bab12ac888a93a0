"""`/v1/memories` as API.md has it: statuses, shapes, versions, pages and filters."""

import json
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from memory.model import Deriver, Item, Memory
from recalld.core.scope import Scope
from tests.api.conftest import Json, Running, add, problem
from tests.conftest import NOW, SetClock

FULL: Json = {
    "text": "Am 14. März zog ich nach Lissabon. 🏡\n\t— Zoë ",
    "kind": "fact",
    "role": "user",
    "speaker": "Zoë",
    "occurred_at": "2026-03-14T10:00:00+02:00",
    "external_id": "chat/17",
    "metadata": {"source": "chat", "nested": {"a": [1, 2.5, None, True, "x"]}, "größe": 10**30},
    "scope": {"user_id": "zoë", "agent_id": "a1", "session_id": "s1"},
    "expires_at": "2027-01-01T00:00:00Z",
    "frame": {"subject": "Zoë", "predicate": "lives in", "object": "Lisbon", "negated": False},
}
NOW_TOLD = "2026-03-14T09:00:00Z"


def texts(client: TestClient, **params: Any) -> list[str]:
    reply = client.get("/v1/memories", params=params)
    assert reply.status_code == 200, reply.text
    return [item["text"] for item in reply.json()["items"]]


def walk(client: TestClient, path: str = "/v1/memories", **params: Any) -> list[list[Json]]:
    """The pages of a list."""
    pages: list[list[Json]] = []
    cursor = None
    while True:
        reply = client.get(path, params=params | ({"cursor": cursor} if cursor else {}))
        assert reply.status_code == 200, reply.text
        assert reply.json().keys() == {"items", "next_cursor"}
        pages.append(reply.json()["items"])
        cursor = reply.json()["next_cursor"]
        if cursor is None:
            return pages


# --- add and get


def test_what_is_added_comes_back_whole_and_the_text_byte_for_byte(client: TestClient) -> None:
    reply = client.post("/v1/memories", json={"items": [FULL]})
    assert reply.status_code == 201
    [memory] = reply.json()["items"]
    own = {
        "id": memory["id"],
        "namespace": "default",
        "version": 1,
        "state": "active",
        "created_at": NOW_TOLD,
        "recorded_at": NOW_TOLD,
        "valid_from": None,
        "valid_to": None,
        "superseded_at": None,
        "sources": [],
        "deriver": None,
    }
    assert memory == FULL | {"occurred_at": "2026-03-14T08:00:00Z"} | own
    assert memory["id"].startswith("mem_")
    assert client.get(f"/v1/memories/{memory['id']}").json() == memory


def test_what_is_left_out_has_its_default_and_an_unknown_time_is_not_now(client: TestClient) -> None:
    [memory] = add(client, "a note")
    empty = ("role", "speaker", "occurred_at", "external_id", "expires_at", "frame")
    assert {name: memory[name] for name in empty} == dict.fromkeys(empty)
    assert (memory["kind"], memory["metadata"]) == ("turn", {})
    assert memory["scope"] == {"user_id": None, "agent_id": None, "session_id": None}


def test_items_are_answered_in_their_order(client: TestClient) -> None:
    sent = [f"note {n}" for n in range(1000)]
    assert [memory["text"] for memory in add(client, *sent)] == sent


@pytest.mark.parametrize("kind", ["turn", "document", "fact", "episode", "procedure", "rationale"])
def test_a_caller_writes_these_kinds(client: TestClient, kind: str) -> None:
    assert add(client, "a", kind=kind)[0]["kind"] == kind


def test_a_text_may_fill_its_limit_in_bytes(client: TestClient) -> None:
    for text in ("a" * 65_536, "é" * 32_768, "😀" * 16_384):
        assert add(client, text)[0]["text"] == text
        reply = client.post("/v1/memories", json={"items": [{"text": text + "a"}]})
        assert problem(reply) == (422, "invalid_input", ["items.0.text"])
        assert reply.json()["errors"][0]["limit"] == 65_536


def test_an_external_id_names_one_memory_of_its_scope(client: TestClient) -> None:
    alice, bob = {"user_id": "alice"}, {"user_id": "bob"}
    [first] = add(client, "one", external_id="x", scope=alice)
    [same] = add(client, "one", external_id="x", scope=alice)
    assert same == first
    [other] = add(client, "two", external_id="x", scope=alice)
    assert (other["id"], other["version"], other["text"]) == (first["id"], 2, "two")
    [of_bob] = add(client, "one", external_id="x", scope=bob)
    assert (of_bob["id"] != first["id"], of_bob["version"]) == (True, 1)
    client.post(f"/v1/memories/{first['id']}/forget")
    [still] = add(client, "three", external_id="x", scope=alice)
    assert (still["id"], still["state"], still["text"]) == (first["id"], "forgotten", "two")


def test_an_external_id_twice_in_one_request_ends_at_its_last_item(client: TestClient) -> None:
    items = [{"text": text, "external_id": "x"} for text in ("one", "two", "two", "three")]
    kept = client.post("/v1/memories", json={"items": items}).json()["items"]
    assert [(memory["id"], memory["version"], memory["text"]) for memory in kept] == [(kept[0]["id"], 3, "three")] * 4
    history = client.get(f"/v1/memories/{kept[0]['id']}/history").json()["items"]
    assert [version["text"] for version in history] == ["three", "two", "one"]


@pytest.mark.parametrize("how", ["", "/history", "/sources", "/derived"])
def test_a_memory_that_has_expired_is_gone(client: TestClient, clock: SetClock, how: str) -> None:
    [memory] = add(client, "a note", expires_at=(NOW + timedelta(seconds=10)).isoformat())
    clock.advance(seconds=9.9)
    assert client.get(f"/v1/memories/{memory['id']}{how}").status_code == 200
    clock.advance(seconds=0.1)
    assert problem(client.get(f"/v1/memories/{memory['id']}{how}"))[:2] == (404, "not_found")
    assert texts(client) == []


# --- versions


def test_the_etag_is_the_version_on_every_reply_that_shows_one_memory(client: TestClient) -> None:
    path = f"/v1/memories/{add(client, 'one')[0]['id']}"
    replies = [
        client.get(path),
        client.patch(path, json={"text": "two"}),
        client.post(f"{path}/forget"),
        client.post(f"{path}/restore"),
        client.get(path),
    ]
    assert [reply.headers["etag"] for reply in replies] == ['"1"', '"2"', '"3"', '"4"', '"4"']
    assert [reply.json()["version"] for reply in replies] == [1, 2, 3, 4, 4]
    assert "etag" not in client.delete(path).headers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ('"2"', 304),
        ('W/"2"', 304),
        ("*", 304),
        ('"1", "2"', 304),
        ('"1"', 200),
        ("2", 200),
        ('"*"', 200),
        ("", 200),
        ('"1", *', 200),
    ],
)
def test_if_none_match_spares_what_the_client_has(client: TestClient, sent: str, status: int) -> None:
    path = f"/v1/memories/{add(client, 'one')[0]['id']}"
    client.patch(path, json={"text": "two"})
    reply = client.get(path, headers={"If-None-Match": sent})
    assert (reply.status_code, reply.headers["etag"]) == (status, '"2"')
    assert (reply.content == b"") == (status == 304)


@pytest.mark.parametrize("how", ["patch", "delete", "forget", "restore"])
@pytest.mark.parametrize(
    ("sent", "fits"), [('"2"', True), ("*", True), ('"1", "2"', True), ('"1"', False), ('"3"', False), ("2", False)]
)
def test_a_write_with_a_stale_if_match_does_nothing(run: Running, how: str, sent: str, fits: bool) -> None:
    client = run.client()
    path = f"/v1/memories/{add(client, 'one')[0]['id']}"
    client.patch(path, json={"text": "two"})
    before = run.dump()
    call = {
        "patch": ("PATCH", path, {"text": "three"}),
        "delete": ("DELETE", path, None),
        "forget": ("POST", f"{path}/forget", None),
        "restore": ("POST", f"{path}/restore", None),
    }[how]
    reply = client.request(call[0], call[1], json=call[2], headers={"If-Match": sent})
    if fits:
        assert reply.status_code == 200
    else:
        assert problem(reply)[:2] == (412, "precondition_failed")
        assert run.dump() == before


def test_a_patch_is_a_json_merge_patch(client: TestClient) -> None:
    metadata = {"keep": 1, "change": 1, "drop": 1, "nested": {"keep": 1, "drop": 1}, "flat": 1}
    [memory] = add(
        client, "one", speaker="Ann", occurred_at=NOW_TOLD, metadata=metadata, kind="fact", frame={"a": 1, "b": 1}
    )
    patch: Json = {
        "metadata": {"change": {"x": None, "y": 2}, "drop": None, "nested": {"drop": None, "new": []}, "flat": {}},
        "occurred_at": None,
        "frame": {"b": None, "c": 2},
    }
    changed = client.patch(f"/v1/memories/{memory['id']}", json=patch).json()
    assert changed == memory | {
        "version": 2,
        "metadata": {"keep": 1, "change": {"y": 2}, "nested": {"keep": 1, "new": []}, "flat": {}},
        "occurred_at": None,
        "frame": {"a": 1, "c": 2},
    }
    bare = client.patch(f"/v1/memories/{memory['id']}", json={"metadata": None, "speaker": None, "frame": None}).json()
    assert (bare["metadata"], bare["speaker"], bare["frame"], bare["version"]) == ({}, None, None, 3)


def test_a_patch_that_changes_nothing_makes_no_version(client: TestClient) -> None:
    [memory] = add(client, "one", metadata={"a": 1})
    path = f"/v1/memories/{memory['id']}"
    patches: list[Json] = [{}, {"text": "one"}, {"metadata": {}}, {"metadata": {"b": None}}, {"speaker": None}]
    for patch in patches:
        assert client.patch(path, json=patch).json() == memory
    assert len(client.get(f"{path}/history").json()["items"]) == 1


@pytest.mark.parametrize("field", ["kind", "role", "external_id", "scope", "id", "version", "state", "namespace"])
def test_a_patch_changes_no_other_field(client: TestClient, field: str) -> None:
    path = f"/v1/memories/{add(client, 'one')[0]['id']}"
    assert problem(client.patch(path, json={field: "x"})) == (422, "invalid_input", [field])


def test_a_patch_keeps_the_limits_of_the_whole_memory(run: Running) -> None:
    client = run.client()
    [memory] = add(client, "one", metadata={"a": "x" * 16_000})
    before = run.dump()
    patches: list[tuple[Json, str]] = [
        ({"text": ""}, "text"),
        ({"text": None}, "text"),
        ({"text": "\x00"}, "text"),
        ({"metadata": {"b": "x" * 1000}}, "metadata"),
        ({"frame": {"a": 1}}, "frame"),
        ({"speaker": ""}, "speaker"),
    ]
    for patch, field in patches:
        reply = client.patch(f"/v1/memories/{memory['id']}", json=patch)
        assert problem(reply) == (422, "invalid_input", [field])
    assert run.dump() == before


def test_the_history_holds_every_version_as_it_was(client: TestClient, clock: SetClock) -> None:
    [first] = add(client, "one", metadata={"a": 1})
    path = f"/v1/memories/{first['id']}"
    clock.advance(seconds=1)
    second = client.patch(path, json={"text": "two", "metadata": {"a": 2}}).json()
    clock.advance(seconds=1)
    third = client.post(f"{path}/forget").json()
    assert client.get(f"{path}/history").json()["items"] == [
        third,
        second | {"superseded_at": third["recorded_at"]},
        first | {"superseded_at": second["recorded_at"]},
    ]
    assert (first["recorded_at"], third["recorded_at"]) == (NOW_TOLD, "2026-03-14T09:00:02Z")
    assert {version["created_at"] for version in (first, second, third)} == {NOW_TOLD}


# --- forget, restore, erase


def test_forgetting_takes_out_of_recall_and_lists_and_restoring_brings_back(client: TestClient) -> None:
    [memory] = add(client, "we moved to Lisbon")
    path = f"/v1/memories/{memory['id']}"

    def seen() -> tuple[int, int, int]:
        recalled = client.post("/v1/recall", json={"query": "Lisbon"}).json()["results"]
        return len(texts(client)), len(texts(client, state="forgotten")), len(recalled)

    assert seen() == (1, 0, 1)
    assert client.post(f"{path}/forget").json()["state"] == "forgotten"
    assert seen() == (0, 1, 0)
    assert client.get(path).json()["state"] == "forgotten"
    assert client.post(f"{path}/forget").json()["version"] == 2
    assert problem(client.patch(path, json={"text": "x"}))[:2] == (409, "conflict")
    assert client.post(f"{path}/restore").json() == memory | {"version": 3}
    assert client.post(f"{path}/restore").json()["version"] == 3
    assert seen() == (1, 0, 1)


def test_erasing_takes_out_everything_and_says_what(run: Running) -> None:
    client = run.client()
    memory, kept = add(client, "a sesame secret", "a note")
    path = f"/v1/memories/{memory['id']}"
    client.patch(path, json={"text": "another sesame secret"})
    run.service.indexer.apply_all()
    recall_id = client.post("/v1/recall", json={"query": "sesame", "limit": 1}).json()["recall_id"]
    client.post("/v1/feedback", json={"recall_id": recall_id, "memory_id": memory["id"], "useful": True})
    reply = client.delete(path)
    assert reply.status_code == 200
    receipt = reply.json()
    assert receipt == {
        "id": receipt["id"],
        "state": "succeeded",
        "namespace": "default",
        "asked": "ids",
        "memories": 1,
        "memory_ids": [memory["id"]],
        "removed": {
            "memories": 1, "versions": 1, "sources": 0, "fulltext": 1, "outbox": 0, "changes": 2, "recalls": 1,
            "feedback": 1, "vectors": 1, "idempotency_replies": 0, "jobs": 0,
        },
        "erased_at": NOW_TOLD,
        "finished_at": NOW_TOLD,
        "digest": receipt["digest"],
        "rescan": receipt["rescan"],
    }  # fmt: skip
    assert receipt["rescan"] | {"files": 0, "bytes": 0, "windows": 0} == {
        "clean": True, "files": 0, "bytes": 0, "windows": 0, "found": 0, "places": [], "at": NOW_TOLD,
    }  # fmt: skip
    assert receipt["rescan"]["windows"] > 40
    assert client.get(f"/v1/erasures/{receipt['id']}").json() == receipt | {"memory_ids": []}
    assert receipt["id"].startswith("era_")
    assert len(receipt["digest"]) == 64
    for how in ("", "/history", "/sources", "/derived"):
        assert problem(client.get(f"{path}{how}"))[:2] == (404, "not_found")
    assert problem(client.delete(path))[:2] == (404, "not_found")
    assert texts(client) == ["a note"]
    assert texts(client, text="sesame") == []
    hits = client.post("/v1/recall", json={"query": "sesame secret"}).json()["results"]
    assert [hit["memory"]["id"] for hit in hits] == [kept["id"]]
    told = ("memories", "versions", "memory_fts", "change_memories", "recall_memories", "feedback", "outbox")
    left = str(run.dump(*told))
    assert [word for word in ("sesame", memory["id"]) if word in left] == []


# --- what is derived


@pytest.fixture
def derived(run: Running) -> tuple[list[str], list[str]]:
    """Two sources of alice and one of bob, and three summaries of all three, of which bob's is one: their ids."""
    client = run.client()
    of_alice = add(client, "one", "two", scope={"user_id": "alice"})
    sources = [*of_alice, *add(client, "three", scope={"user_id": "bob"})]
    ids = [memory["id"] for memory in sources]
    with run.service.write_store() as store:
        kept = store.insert(
            "default",
            [
                Memory(
                    f"mem_0000000000000000000000SUM{n}",
                    "default",
                    Item(f"summary {n}", kind="summary", scope=Scope(user_id=user)),
                    created_at=NOW,
                    recorded_at=NOW,
                    sources=tuple(ids),
                    deriver=Deriver("rules", "1"),
                )
                for n, user in enumerate(("alice", "alice", "bob"))
            ],
        )
    return ids, [memory.id for memory in kept]


def ids_of(reply: Any) -> list[str]:
    return [item["id"] for item in reply.json()["items"]]


def test_a_derived_memory_names_its_sources_and_its_deriver(
    client: TestClient, derived: tuple[list[str], list[str]]
) -> None:
    sources, made = derived
    memory = client.get(f"/v1/memories/{made[0]}").json()
    assert (memory["sources"], memory["deriver"]) == (sorted(sources), {"name": "rules", "version": "1"})
    assert ids_of(client.get(f"/v1/memories/{made[0]}/sources")) == sources[::-1]
    assert ids_of(client.get(f"/v1/memories/{sources[0]}/derived")) == made[::-1]
    assert ids_of(client.get(f"/v1/memories/{sources[0]}/sources")) == []
    assert ids_of(client.get(f"/v1/memories/{made[0]}/derived")) == []


def test_a_bound_key_sees_the_sources_and_derived_ones_of_its_scope(
    run: Running, derived: tuple[list[str], list[str]]
) -> None:
    sources, made = derived
    alice = run.client(run.key(user_id="alice"))
    assert ids_of(alice.get(f"/v1/memories/{made[0]}/sources")) == [sources[1], sources[0]]
    assert ids_of(alice.get(f"/v1/memories/{sources[0]}/derived")) == [made[1], made[0]]


def test_every_list_takes_the_fields_of_a_scope(
    run: Running, client: TestClient, derived: tuple[list[str], list[str]]
) -> None:
    sources, made = derived
    lists = {
        f"/v1/memories/{made[0]}/sources": [sources[2]],
        f"/v1/memories/{sources[0]}/derived": [made[2]],
        f"/v1/memories/{sources[0]}/history": [],
        f"/v1/memories/{sources[2]}/history": [sources[2]],
    }
    for path, of_bob in lists.items():
        assert ids_of(client.get(f"{path}?user_id=bob")) == of_bob
        assert ids_of(client.get(f"{path}?user_id=bob&session_id=s1")) == []
    alice = run.client(run.key(user_id="alice"))
    for how, memory_id in (("sources", made[0]), ("derived", sources[0]), ("history", sources[0])):
        assert problem(alice.get(f"/v1/memories/{memory_id}/{how}?user_id=bob"))[:2] == (403, "forbidden")


def test_erasing_a_source_erases_what_was_derived_from_it(
    client: TestClient, derived: tuple[list[str], list[str]]
) -> None:
    sources, made = derived
    receipt = client.delete(f"/v1/memories/{sources[0]}").json()
    assert sorted(receipt["memory_ids"]) == sorted([sources[0], *made])
    assert ids_of(client.get("/v1/memories")) == [sources[2], sources[1]]


# --- pages


@pytest.mark.parametrize("limit", [1, 7, 25, 49, 50, 51, 500])
def test_a_walk_gives_every_row_once_newest_first(client: TestClient, limit: int) -> None:
    ids = [memory["id"] for memory in add(client, *[f"note {n}" for n in range(50)])]
    pages = walk(client, limit=limit)
    assert [item["id"] for page in pages for item in page] == ids[::-1]
    assert {len(page) for page in pages[:-1]} <= {limit}


def test_a_page_has_fifty_by_default_and_an_empty_list_ends_at_once(client: TestClient) -> None:
    assert walk(client) == [[]]
    add(client, *[f"note {n}" for n in range(51)])
    assert [len(page) for page in walk(client)] == [50, 1]


def test_a_walk_gives_what_was_there_once_while_rows_come_change_and_go(client: TestClient) -> None:
    ids = [memory["id"] for memory in add(client, *[f"note {n}" for n in range(40)])]
    seen: list[str] = []
    cursor = None
    for step in range(100):
        page = client.get("/v1/memories", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        add(client, f"added {step}", f"and {step}")
        client.patch(f"/v1/memories/{ids[5]}", json={"text": f"changed {step}"})
        if step == 2:
            client.delete(f"/v1/memories/{ids[38]}")
            client.delete(f"/v1/memories/{ids[3]}")
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [memory_id for memory_id in reversed(ids) if memory_id != ids[3]]


def test_the_pages_of_a_history_keep_their_place_while_versions_come(client: TestClient) -> None:
    path = f"/v1/memories/{add(client, 'v1')[0]['id']}"
    for number in range(2, 8):
        client.patch(path, json={"text": f"v{number}"})
    seen: list[int] = []
    cursor = None
    while True:
        page = client.get(f"{path}/history", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["version"] for item in page["items"]]
        client.patch(path, json={"text": f"later {len(seen)}"})
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("how", ["history", "sources", "derived"])
def test_the_other_lists_are_walked_the_same_way(
    client: TestClient, derived: tuple[list[str], list[str]], how: str
) -> None:
    sources, made = derived
    for text in ("changed", "again"):
        client.patch(f"/v1/memories/{sources[0]}", json={"text": text})
    path = f"/v1/memories/{made[0] if how == 'sources' else sources[0]}/{how}"
    whole = client.get(path).json()["items"]
    assert len(whole) == 3
    for limit in (1, 2, 3, 4):
        assert [item for page in walk(client, path, limit=limit) for item in page] == whole
    for limit, status in ((0, 422), (501, 422), (500, 200)):
        assert client.get(path, params={"limit": limit}).status_code == status


def test_a_cursor_serves_its_own_list_only(run: Running) -> None:
    client, other = run.client(run.key()), run.client(run.key("other"))
    path = f"/v1/memories/{add(client, 'one', 'two')[0]['id']}"
    add(other, "one", "two")
    client.patch(path, json={"text": "three"})
    cursors = {
        "list": client.get("/v1/memories?limit=1").json()["next_cursor"],
        "history": client.get(f"{path}/history?limit=1").json()["next_cursor"],
        "other": other.get("/v1/memories?limit=1").json()["next_cursor"],
        "made up": "AAAAAAAAAAEAAAAAAAAAAA",
        "empty": "",
        "long": "A" * 65,
    }
    for name, target in (("list", "/v1/memories"), ("history", f"{path}/history")):
        for other_name, cursor in cursors.items():
            reply = client.get(target, params={"cursor": cursor})
            if other_name == name:
                assert reply.status_code == 200
            else:
                assert problem(reply) == (422, "invalid_input", ["cursor"]), (name, other_name)


# --- filters


@pytest.fixture
def mixed(client: TestClient, clock: SetClock) -> TestClient:
    """Memories that differ in each thing that a list filters on."""
    rows: list[Json] = [
        {"text": "Ann moved to Lisbon", "scope": {"user_id": "ann", "session_id": "s1"}, "metadata": {"n": 1}},
        {"text": "Ann likes trains", "scope": {"user_id": "ann", "session_id": "s2"}, "metadata": {"n": "1"}},
        {
            "text": "Bob moved to Porto",
            "scope": {"user_id": "bob", "agent_id": "a1"},
            "metadata": {"n": 1.5, "ok": True},
        },
        {"text": "a manual about moving", "kind": "document", "metadata": {"n": None, "a.b": "dotted"}},
        {"text": "Lisbon is in Portugal", "kind": "fact", "occurred_at": "2020-01-01T00:00:00Z"},
    ]
    for row in rows:
        client.post("/v1/memories", json={"items": [row]})
        clock.advance(hours=1)
    forgotten = add(client, "forgotten in Lisbon", scope={"user_id": "ann"})[0]["id"]
    client.post(f"/v1/memories/{forgotten}/forget")
    return client


ACTIVE = [
    "Lisbon is in Portugal",
    "a manual about moving",
    "Bob moved to Porto",
    "Ann likes trains",
    "Ann moved to Lisbon",
]
FIRST, SECOND, THIRD = "Ann moved to Lisbon", "Ann likes trains", "Bob moved to Porto"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ACTIVE),
        ({"user_id": "ann"}, [SECOND, FIRST]),
        ({"user_id": "ann", "session_id": "s1"}, [FIRST]),
        ({"agent_id": "a1"}, [THIRD]),
        ({"agent_id": "a1", "user_id": "ann"}, []),
        ({"user_id": "ANN"}, []),
        ({"kind": "document"}, ["a manual about moving"]),
        ({"kind": ["document", "fact"]}, ["Lisbon is in Portugal", "a manual about moving"]),
        ({"kind": "summary"}, []),
        ({"state": "active"}, ACTIVE),
        ({"state": "forgotten"}, ["forgotten in Lisbon"]),
        ({"state": ["forgotten", "active"], "user_id": "ann"}, ["forgotten in Lisbon", SECOND, FIRST]),
        ({"state": "superseded"}, []),
        ({"since": "2026-03-14T10:00:00Z"}, ["a manual about moving", THIRD, SECOND]),
        ({"since": "2026-03-14T11:00:00+01:00"}, ["a manual about moving", THIRD, SECOND]),
        ({"until": "2026-03-14T10:00:00Z"}, ["Lisbon is in Portugal", FIRST]),
        ({"since": "2026-03-14T10:00:00Z", "until": "2026-03-14T11:00:00Z"}, [SECOND]),
        ({"since": "2026-03-14T11:00:00Z", "until": "2026-03-14T11:00:00Z"}, []),
        ({"since": "2019-12-31T23:59:59Z", "until": "2020-01-01T00:00:01Z"}, ["Lisbon is in Portugal"]),
        ({"metadata.n": "1"}, [SECOND, FIRST]),
        ({"metadata.n": "1.0"}, [FIRST]),
        ({"metadata.n": "1.5", "metadata.ok": "true"}, [THIRD]),
        ({"metadata.n": "null"}, ["a manual about moving"]),
        ({"metadata.a.b": "dotted"}, ["a manual about moving"]),
        ({"metadata.nothing": "1"}, []),
        ({"metadata.n": ""}, []),
        ({"text": "lisbon"}, ["Lisbon is in Portugal", FIRST]),
        ({"text": "move"}, ["a manual about moving", THIRD, FIRST]),
        ({"text": "moved Lisbon"}, [FIRST]),
        ({"text": "moved nowhere"}, []),
        ({"text": "?!"}, []),
        ({"text": 'lisbon" OR "porto'}, []),
        ({"text": "lisbon", "user_id": "ann", "kind": "turn", "metadata.n": "1", "since": NOW_TOLD}, [FIRST]),
    ],
)
def test_a_list_is_filtered_by_everything_at_once(mixed: TestClient, query: Json, expected: list[str]) -> None:
    assert texts(mixed, **query) == expected
    pages = walk(mixed, limit=1, **query)
    assert [item["text"] for page in pages for item in page] == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("kind=note", "kind.0"),
        ("kind=turn&kind=note", "kind.1"),
        ("kind=", "kind.0"),
        ("state=gone", "state.0"),
        ("since=yesterday", "since"),
        ("since=2026-03-14", "since"),
        ("since=2026-03-14T09:00:00", "since"),
        ("until=2026-03-14T09:00:00+01:00", "until"),
        ("until=1773478800", "until"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("limit=1.5", "limit"),
        ("limit=", "limit"),
        (f"limit={10**30}", "limit"),
        (f"limit={'9' * 5000}", "limit"),
        ("user_id=", "user_id"),
        ("user_id=%00", "user_id"),
        ("agent_id=" + "a" * 257, "agent_id"),
        ("text=", "text"),
        ("text=%00", "text"),
        ("text=" + "a" * 1001, "text"),
        ("cursor=x", "cursor"),
        ("metadata.a=1&metadata.a=2", "metadata"),
        ("metadata.=1", "metadata."),
        ("metadata=1", "metadata"),
        ("users=ann", "users"),
        ("Kind=turn", "Kind"),
        ("%00=1", "\x00"),
    ],
)
def test_a_filter_that_is_wrong_is_named_and_gives_no_rows(mixed: TestClient, query: str, field: str) -> None:
    reply = mixed.get(f"/v1/memories?{query}")
    assert problem(reply) == (422, "invalid_input", [field])
    assert "Lisbon" not in reply.text


def test_a_list_is_json_of_memories_as_get_shows_them(mixed: TestClient) -> None:
    for item in json.loads(mixed.get("/v1/memories").content)["items"]:
        assert mixed.get(f"/v1/memories/{item['id']}").json() == item
