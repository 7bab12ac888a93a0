"""`/v1/episodes` and `/v1/workspace`, and the questions that the workspace answers."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import Json, Running, add, problem

ALICE = {"user_id": "alice", "session_id": "s1"}


def tell(client: TestClient, day: int, who: str, action: str, place: str | None = None, **item: Any) -> Json:
    """Keep one episode of March 2026."""
    frame = {
        "actors": [{"name": name} for name in who.split(", ")],
        "action": action,
        "place": place,
        "time": {"start": f"2026-03-{day:02}T10:00:00Z"},
    }
    given = {"kind": "episode", "frame": frame, "scope": ALICE} | item
    return add(client, f"{who} {action}", **given)[0]


def listed(client: TestClient, **params: Any) -> list[str]:
    reply = client.get("/v1/episodes", params=params)
    assert reply.status_code == 200, reply.text
    return [memory["text"] for memory in reply.json()["items"]]


def stand(client: TestClient, **params: Any) -> dict[str, str | None]:
    reply = client.get("/v1/workspace", params=params)
    assert reply.status_code == 200, reply.text
    return {one["actor"]: one["place"] and one["place"]["value"] for one in reply.json()["items"]}


@pytest.fixture
def told(run: Running) -> Running:
    client = run.client()
    tell(client, 9, "Bob", "slept", "Porto")
    tell(client, 3, "Ann, Bob", "painted a mural", "Blue Café")
    tell(client, 1, "Ann", "left", "Lisbon")
    return run


def test_episodes_come_in_the_order_of_time_by_actor_place_and_time(told: Running) -> None:
    client = told.client()
    assert listed(client) == ["Ann left", "Ann, Bob painted a mural", "Bob slept"]
    assert listed(client, actor="ANN") == ["Ann left", "Ann, Bob painted a mural"]
    assert listed(client, place="blue café") == ["Ann, Bob painted a mural"]
    assert listed(client, since="2026-03-02T00:00:00Z", until="2026-03-09T10:00:00Z") == ["Ann, Bob painted a mural"]
    assert listed(client, as_of="2026-03-01T12:00:00+01:00") == ["Ann left"]
    assert listed(client, user_id="bob") == listed(client, session_id="s2") == listed(client, actor="An") == []


def test_episodes_come_in_pages(told: Running) -> None:
    client = told.client()
    first = client.get("/v1/episodes", params={"limit": 2}).json()
    tell(client, 2, "Ann", "came too late to be shown")
    rest = client.get("/v1/episodes", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [memory["text"] for memory in first["items"] + rest["items"]] == [
        "Ann left",
        "Ann, Bob painted a mural",
        "Bob slept",
    ]
    assert rest["next_cursor"] is None
    other = client.get("/v1/memories", params={"limit": 1}).json()["next_cursor"]
    assert problem(client.get("/v1/episodes", params={"cursor": other}))[0] == 422
    assert problem(client.get("/v1/workspace", params={"cursor": first["next_cursor"]}))[0] == 422


def test_where_everybody_stands(told: Running) -> None:
    client = told.client()
    assert stand(client) == {"Ann": "Blue Café", "Bob": "Porto"}
    assert stand(client, as_of="2026-03-05T00:00:00Z") == {"Ann": "Blue Café", "Bob": "Blue Café"}
    assert stand(client, place="porto") == {"Bob": "Porto"}
    assert stand(client, actor="ann", as_of="2026-03-02T00:00:00Z") == {"Ann": "Lisbon"}
    assert stand(client, user_id="bob") == {}
    first = client.get("/v1/workspace", params={"limit": 1}).json()
    rest = client.get("/v1/workspace", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [one["actor"] for one in first["items"] + rest["items"]] == ["Ann", "Bob"]
    assert rest["next_cursor"] is None


def test_a_standing_cites_what_tells_it(told: Running) -> None:
    client = told.client()
    ann = client.get("/v1/workspace", params={"actor": "Ann"}).json()["items"][0]
    painted = client.get("/v1/episodes", params={"place": "Blue Café"}).json()["items"][0]
    at = "2026-03-03T10:00:00Z"
    assert ann == {
        "actor": "Ann",
        "role": None,
        "state": None,
        "place": {"value": "Blue Café", "at": at, "memory_ids": [painted["id"]]},
        "last": {
            "action": "painted a mural", "object": None, "place": "Blue Café", "start": at, "end": None,
            "with_actors": ["Bob"], "memory_ids": [painted["id"]],
        },
    }  # fmt: skip


def ask(client: TestClient, query: str, path: str = "context", **question: Any) -> Json:
    reply = client.post(f"/v1/{path}", json={"query": query} | question)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def test_a_question_of_the_workspace_gets_a_short_cited_context(told: Running) -> None:
    client = told.client()
    for n in range(20):
        add(client, f"Ann and Bob spoke of the Blue Café and of Porto, note {n}.", scope=ALICE)
    found = ask(client, "Who was at the Blue Café on 3 March?", scope={"user_id": "alice"})
    (block,) = found["blocks"]
    assert block["text"].endswith("] 2026-03-03 10:00, Blue Café: Ann, Bob: painted a mural\n")
    assert (found["relevant"], len(block["memory_ids"])) == (True, 1)
    assert len(ask(client, "Who was at the Blue Café on 3 March?", scope={"user_id": "bob"})["blocks"]) == 0
    assert len(ask(client, "Tell me about the Blue Café")["blocks"]) > 10
    results = ask(client, "What did Bob do last?", "recall", kinds=["episode"], limit=2)["results"]
    assert (results[0]["memory"]["text"], results[0]["signals"], len(results)) == ("Bob slept", {"workspace": 1.0}, 2)


def test_what_was_forgotten_corrected_or_erased_is_answered_no_more(told: Running) -> None:
    client = told.client()
    (slept,) = client.get("/v1/episodes", params={"place": "Porto"}).json()["items"]
    last = "Where was Bob last?"
    client.post(f"/v1/memories/{slept['id']}/forget")
    assert "Blue Café" in ask(client, last)["text"]
    client.post(f"/v1/memories/{slept['id']}/restore")
    assert "Porto" in ask(client, last)["text"]
    patch = {"frame": {"place": "Braga"}}
    assert client.patch(f"/v1/memories/{slept['id']}", json=patch).json()["frame"]["action"] == "slept"
    assert "Braga" in ask(client, last)["text"]
    assert "Porto" not in ask(client, last)["text"]
    client.delete(f"/v1/memories/{slept['id']}")
    assert stand(client) == {"Ann": "Blue Café", "Bob": "Blue Café"}
    assert "Blue Café" in ask(client, last)["text"]


def test_a_key_sees_the_episodes_of_its_namespace_and_scope_alone(told: Running) -> None:
    keys = ((told.key(), 3), (told.key(user_id="alice"), 3), (told.key(user_id="bob"), 0), (told.key("south"), 0))
    for key, seen in keys:
        client = told.client(key)
        assert len(listed(client)) == seen
        assert len(stand(client)) == min(seen, 2)
        assert ("Porto" in ask(client, "Where was Bob last?")["text"]) == bool(seen)


@pytest.mark.parametrize("path", ["episodes", "workspace"])
@pytest.mark.parametrize(
    "params",
    [
        *({"as_of": "yesterday"}, {"known_at": "2025"}, {"actor": ""}, {"place": "x" * 257}, {"actor": "\x00"}),
        *({"where": "x"}, {"limit": 0}, {"limit": 501}),
    ],
)
def test_bad_questions_are_refused(run: Running, path: str, params: dict[str, Any]) -> None:
    status, _, fields = problem(run.client().get(f"/v1/{path}", params=params))
    assert (status, fields) == (422, list(params))


def test_a_frame_that_says_nothing_is_refused_with_its_field(run: Running) -> None:
    client = run.client()
    item = {"text": "x", "kind": "episode", "frame": {"actors": [{"name": "Ann"}], "time": {"start": "now"}}}
    reply = client.post("/v1/memories", json={"items": [{"text": "fine"}, item]})
    assert problem(reply) == (422, "invalid_input", ["items.1.frame.time.start"])
    memory = tell(client, 1, "Ann", "left")
    reply = client.patch(f"/v1/memories/{memory['id']}", json={"frame": {"actors": [], "where": 1}})
    assert problem(reply) == (422, "invalid_input", ["frame.where", "frame.actors"])


def test_empty_and_in_any_script(run: Running) -> None:
    client = run.client()
    assert (listed(client), stand(client)) == ([], {})
    tell(client, 3, "李明, Søren", "泳いだ 🏊", "東京駅")
    assert stand(client, place="東京駅") == {"Søren": "東京駅", "李明": "東京駅"}
    assert "東京駅: 李明, Søren: 泳いだ 🏊" in ask(client, "Where was 李明 on 3 March 2026?")["text"]


def test_what_was_known_then(run: Running) -> None:
    client = run.client()
    memory = tell(client, 3, "Ann", "left", "Porto")
    before = memory["recorded_at"]
    run.service.clock.advance(hours=1)  # type: ignore[attr-defined]
    client.patch(f"/v1/memories/{memory['id']}", json={"frame": {"place": "Braga"}})
    tell(client, 4, "Ann", "slept", "Faro")
    assert stand(client) == {"Ann": "Faro"}
    assert stand(client, known_at=before) == {"Ann": "Porto"}
    assert listed(client, place="Braga") == ["Ann left"]
    assert listed(client, place="Braga", known_at=before) == []
