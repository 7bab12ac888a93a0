"""No request of one tenant or user ever shows or changes what belongs to another: a property over every route.

Three principals hold memories that match the same questions, filters and external ids, each with a secret that no
request ever names. Hypothesis sends requests with every parameter that the OpenAPI document lists, filled from a pool
that also holds the ids, scopes, cursors and keys of the others. A new route without a strategy fails the test.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.transfer import LineWriter, Moved
from recalld.bootstrap import Parts
from recalld.llm.scripted import ScriptedModel
from tests.api.conftest import EXPORTED, SAMPLES, Json, Operation, Running, operations, running_in
from tests.conftest import NOW, make_memory

WORDS = ("lighthouse", "piano", "Lisbon", "where is the lighthouse?", "a", "?")
TIMES = ("2026-03-14T09:00:00Z", "2100-01-01T00:00:00+02:00", "2000-01-01T00:00:00Z")
EXTERNAL_IDS = ("note-0", "note-1")
SESSIONS = ("s0", "s1")


@dataclass
class Owner:
    """Who holds memories: a key, the scope that it is bound to, and what nobody else may see."""

    name: str
    namespace: str
    user: str
    secret: str
    key: str = ""
    ids: list[str] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    recalls: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    erasures: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


@dataclass
class World:
    """A running service with the memories of all owners, and every request that there is."""

    run: Running
    owners: tuple[Owner, ...]
    clients: dict[str, TestClient]
    operations: list[Operation]
    parameters: dict[str, list[Json]]

    def others(self, who: Owner) -> list[Owner]:
        return [owner for owner in self.owners if owner != who]

    def rows_of(self, owners: list[Owner]) -> list[tuple[Any, ...]]:
        """Everything that is kept of them."""
        rows = self.run.dump("memories", "versions", "feedback", "idempotency_keys", "jobs")
        marks = [mark for owner in owners for mark in (owner.secret, *owner.recalls, *owner.jobs)]
        return [row for row in rows if any(mark in str(row) for mark in marks)]


@contextlib.contextmanager
def inhabited(folder: Path) -> Iterator[World]:
    """A new world."""
    owners = (
        Owner("ann", "north", "ann", "quokka-4417"),
        Owner("bob", "north", "bob", "narwhal-9260"),
        Owner("south", "south", "ann", "axolotl-3381"),
    )

    def echo(messages: Any) -> str:
        return "\n".join(message.content for message in messages)

    with running_in(folder, Parts(llm=ScriptedModel(echo))) as run:
        for owner in owners:
            owner.key = run.key(owner.namespace, user_id=owner.user if owner.namespace == "north" else None)
            fill(run.client(owner.key), owner)
        run.service.indexer.apply_all()
        parameters = {
            operation["operationId"]: operation.get("parameters", [])
            for path in run.app.openapi()["paths"].values()
            for operation in path.values()
        }
        clients = {owner.name: run.client(owner.key) for owner in owners}
        yield World(run, owners, clients, operations(run.app), parameters)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One that the property wears out."""
    with inhabited(tmp_path_factory.mktemp("isolation")) as world:
        yield world


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    """One as it was made."""
    with inhabited(tmp_path) as world:
        yield world


def fill(client: TestClient, owner: Owner) -> None:
    """Memories with a history, some forgotten, some added under an idempotency key, and cursors into their lists."""
    items = [
        {
            "text": f"The lighthouse in Lisbon, number {n}: where is the piano? {owner.secret}",
            "speaker": f"Zoë {owner.secret}",
            "external_id": f"note-{n}",
            "metadata": {"project": "shared", "secret": owner.secret},
            "scope": {"user_id": owner.user, "agent_id": f"agent {owner.secret}", "session_id": f"s{n % 2}"},
            "occurred_at": TIMES[0],
        }
        for n in range(6)
    ]
    reply = client.post("/v1/memories", json={"items": items}, headers={"Idempotency-Key": "shared"})
    owner.ids = [item["id"] for item in reply.json()["items"]]
    client.patch(f"/v1/memories/{owner.ids[0]}", json={"text": f"corrected: lighthouse {owner.secret}"})
    client.post(f"/v1/memories/{owner.ids[1]}/forget")
    for path in ("/v1/memories?limit=1", f"/v1/memories/{owner.ids[0]}/history?limit=1"):
        owner.cursors.append(client.get(path).json()["next_cursor"])
    for _ in range(2):
        owner.recalls.append(client.post("/v1/recall", json={"query": "lighthouse"}).json()["recall_id"])
    owner.changes = [change["id"] for change in client.get("/v1/changes").json()["items"]]
    owner.cursors.append(client.get("/v1/changes?limit=1").json()["next_cursor"])
    vote = {"recall_id": owner.recalls[0], "memory_id": owner.ids[2], "useful": True}
    client.post("/v1/feedback", json=vote)
    owner.erasures.append(client.post("/v1/erasures", json={"ids": ["mem_x"]}).json()["id"])
    for session in SESSIONS:
        asked = client.post("/v1/consolidations", json={"scope": {"session_id": session}})
        owner.jobs.append(asked.json()["id"])
        client.post(f"/v1/jobs/{owner.jobs[-1]}/cancel")
    owner.cursors.append(client.get("/v1/jobs?limit=1").json()["next_cursor"])


def anything(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


SCOPE = some(user_id=anything("ann", "bob", "x"), agent_id=anything("x"), session_id=anything(*SESSIONS))
KINDS = st.lists(anything("turn", "document", "summary"), max_size=2)
ACTIONS = st.lists(anything("add", "forget", "undo", "supersede"), max_size=2)
CONDITION = anything(
    *({"user_id": user} for user in ("ann", "bob")),
    *({name: {"exists": True}} for name in ("id", "speaker", "metadata.secret")),
    {"metadata.project": "shared"},
    {"text": {"contains": "number"}},
    {"state": {"in": ["active", "forgotten"]}},
    {"recorded_at": {"gte": TIMES[2]}},
)
WIDE = st.recursive(
    CONDITION,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"or": parts}) | inner.map(lambda part: {"not": part})
    ),
    max_leaves=4,
)
"""Filters that hold for as much as they can."""
QUESTION = {
    "scope": SCOPE,
    "kinds": KINDS,
    "as_of": anything(*TIMES),
    "known_at": anything(*TIMES),
    "now": anything(*TIMES),
    "limit": anything(1, 5, 100),
    "explain": st.booleans(),
    "filter": WIDE,
}
ITEM = st.builds(
    lambda text, more: {"text": text} | more,
    anything(*WORDS),
    some(scope=SCOPE, external_id=anything(*EXTERNAL_IDS), metadata=anything({"project": "shared"})),
)
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "add_memories": st.fixed_dictionaries({"items": st.lists(ITEM, min_size=1, max_size=3)}),
    "update_memory": some(text=anything(*WORDS), metadata=anything({"project": "mine"}, None), speaker=anything("x")),
    "recall": st.builds(lambda query, more: {"query": query} | more, anything(*WORDS), some(**QUESTION)),
    "context": st.builds(
        lambda query, more: {"query": query} | more,
        anything(*WORDS),
        some(**QUESTION, token_budget=anything(10, 100, 5000), state=st.booleans()),
    ),
    "create_chat_completion": st.builds(
        lambda word, more: {"messages": [{"role": "user", "content": word}]} | more,
        anything(*WORDS),
        some(
            user=anything("ann", "bob"),
            stream=st.booleans(),
            recalld=some(scope=SCOPE, remember=st.booleans(), token_budget=anything(10, 5000)),
        ),
    ),
    "create_embeddings": st.fixed_dictionaries({"input": anything(*WORDS)}),
    "consolidate": some(scope=SCOPE),
    "find_procedures": st.builds(
        lambda task, more: {"task": task} | more,
        anything(*WORDS),
        some(
            parameters=some(place=anything("Lisbon"), x=anything(1)),
            **{name: QUESTION[name] for name in ("scope", "as_of", "known_at", "limit", "filter")},
        ),
    ),
}
PARAMETERS: dict[str, st.SearchStrategy[Any]] = {
    "user_id": anything("ann", "bob", "x"),
    "agent_id": anything("x", "agent"),
    "session_id": anything(*SESSIONS),
    "kind": KINDS,
    "state": st.lists(anything("active", "forgotten", "superseded"), max_size=3),
    "subject": anything("user", "x"),
    "predicate": anything("lives in", "x"),
    "actor": anything("Zoë", "x"),
    "place": anything("Lisbon", "x"),
    "as_of": anything(*TIMES),
    "known_at": anything(*TIMES),
    "memory_id": anything("mem_x", "mem_y"),
    "since": anything(*TIMES),
    "until": anything(*TIMES),
    "text": anything(*WORDS),
    "limit": anything(1, 2, 500),
    "idempotency-key": anything("shared", "other"),
    "if-match": anything("*", '"1"', '"2"'),
    "if-none-match": anything("*", '"1"', '"2"'),
    "vectors": anything("true", "false"),
    "restore_erased": anything("true", "false"),
    "task": st.lists(anything("consolidate", "x"), max_size=2),
    "last-event-id": anything("0", "1", "99", "x"),
}
JOB_STATES = st.lists(anything("queued", "failed", "cancelled"), max_size=3)
FILTERS = some(**{"metadata.project": anything("shared", "mine"), "metadata.secret": anything("x", "null")})


@st.composite
def calls(draw: st.DrawFn, world: World, operation: Operation) -> tuple[Owner, Json]:
    """Somebody's request, with any of its parameters; half of the paths name a memory of its own."""
    who = draw(anything(*world.owners))
    ids = anything("mem_x", *(memory_id for owner in world.owners for memory_id in owner.ids))
    cursors = anything(*(cursor for owner in world.owners for cursor in owner.cursors))
    request: Json = {"params": draw(FILTERS) if operation.id == "list_memories" else {}, "headers": {}}
    for parameter in world.parameters[operation.id]:
        name = parameter["name"]
        if name == "job_id":
            others = [job_id for owner in world.others(who) for job_id in owner.jobs]
            # What has ended stays so, and the events of what has not would have no end.
            request[name] = draw(anything("job_x", *others) | anything(who.jobs[operation.id == "retry_job"]))
        elif name == "erasure_id":
            request[name] = draw(anything("era_x", *(each for owner in world.owners for each in owner.erasures)))
        elif name == "change_id":
            changes = anything("chg_x", *(change for owner in world.owners for change in owner.changes))
            request[name] = draw(changes | anything(*who.changes))
        elif name == "session_id" and parameter["in"] == "path":
            request[name] = draw(PARAMETERS[name])
        elif parameter["in"] == "path":
            request[name] = draw(ids | anything(*who.ids))
        elif name == "state" and operation.id == "list_jobs":
            request["params"][name] = draw(JOB_STATES)
        elif draw(st.booleans()):
            actions = name == "kind" and operation.id == "list_changes"
            strategy = cursors if name == "cursor" else ACTIONS if actions else PARAMETERS[name.lower()]
            request["params" if parameter["in"] == "query" else "headers"][name] = draw(strategy)
    if operation.id == "erase_memory" and request["memory_id"] in who.ids:
        request["memory_id"] = "mem_x"
    if operation.id == "give_feedback":
        recalls = anything("rec_x", *(recall_id for owner in world.owners for recall_id in owner.recalls))
        request["json"] = {
            "recall_id": draw(recalls | anything(*who.recalls)),
            "memory_id": draw(ids | anything(*who.ids)),
            "useful": draw(anything(True, False, None)),
        }
    elif operation.id == "erase_memories":
        others = [memory_id for owner in world.others(who) for memory_id in owner.ids]
        # What is the caller's own is only counted, so that it is there for the other tests.
        counted = some(scope=SCOPE.filter(bool), filter=WIDE, all=st.just(True), ids=st.just(who.ids))
        asked = counted.filter(lambda body: len(body) == 1).map(lambda body: body | {"dry_run": True})
        request["json"] = draw(asked | st.just({"ids": others}))
    elif operation.id == "import_memories":
        request["content"] = draw(anything(*(taken(owner) for owner in world.others(who)), EXPORTED))
    elif SAMPLES[operation.id] is not None:
        request["json"] = draw(BODIES[operation.id])
    return who, request


def taken(owner: Owner) -> bytes:
    """A file with a memory that has the id of this owner's."""
    writer = LineWriter()
    memory = replace(make_memory(1), id=owner.ids[0])
    return b"".join([writer.header("north", NOW, None), writer.memory(Moved(memory)), writer.end()])


def shown(reply: httpx2.Response) -> str:
    """All that a reply tells, as text without escapes."""
    return f"{reply.headers} {reply.text} " + reply.text.encode().decode("unicode_escape", errors="replace")


@pytest.mark.parametrize("name", SAMPLES)
def test_no_request_of_one_shows_or_changes_what_is_anothers(world: World, name: str) -> None:
    operation = next(operation for operation in world.operations if operation.id == name)
    statuses: Counter[int] = Counter()

    @settings(max_examples=40, suppress_health_check=list(HealthCheck))
    @given(calls(world, operation))
    def holds(call: tuple[Owner, Json]) -> None:
        who, request = call
        before = world.rows_of(world.others(who))
        reply = operation.call(world.clients[who.name], **request)
        statuses[reply.status_code] += 1
        told = shown(reply)
        for other in world.others(who):
            assert [
                secret
                for secret in (other.secret, *other.ids, *other.recalls, *other.jobs, *other.changes)
                if secret in told
            ] == []
        assert world.rows_of(world.others(who)) == before

    holds()
    assert max(statuses) < 500
    assert name == "erase_memory" or min(statuses) < 300


def test_each_owner_is_shown_its_own_by_every_route_that_shows_memories(fresh: World) -> None:
    """What makes the property above worth something: the same requests do show the secret to its owner."""
    for owner in fresh.owners:
        client = fresh.clients[owner.name]
        path = f"/v1/memories/{owner.ids[2]}"
        ask = {"messages": [{"role": "user", "content": "lighthouse"}], "user": owner.user}
        replies = [
            client.get("/v1/memories?text=lighthouse&metadata.project=shared&session_id=s0"),
            client.get(path),
            client.get(f"{path}/history"),
            client.post("/v1/recall", json={"query": "lighthouse"}),
            client.post("/v1/context", json={"query": "lighthouse"}),
            client.post("/v1/recall", json={"query": "lighthouse", "filter": {"not": {"speaker": None}}}),
            client.post("/v1/chat/completions", json=ask | {"recalld": {"remember": False}}),
        ]
        assert [owner.secret in shown(reply) for reply in replies] == [True] * 7
        assert len(fresh.rows_of([owner])) == 12
        listed = client.get("/v1/jobs").json()["items"]
        assert [job["id"] for job in listed] == owner.jobs[::-1]


def test_the_same_external_id_is_another_memory_for_each_owner(fresh: World) -> None:
    assert len({memory_id for owner in fresh.owners for memory_id in owner.ids}) == 18
    for owner in fresh.owners:
        mine = fresh.clients[owner.name].get(f"/v1/memories/{owner.ids[3]}").json()
        assert (mine["external_id"], mine["version"], mine["metadata"]["secret"]) == ("note-3", 1, owner.secret)


def test_of_a_memory_of_another_no_more_is_told_than_of_none(fresh: World) -> None:
    ann, *others = fresh.owners
    for operation in fresh.operations:
        if "_id}" in operation.path:
            none = operation.call(fresh.clients[ann.name])
            for other in others:
                reply = operation.call(fresh.clients[ann.name], other.ids[0], other.jobs[0])
                assert (reply.status_code, reply.content) == (none.status_code, none.content)


def test_counts_of_one_namespace_say_nothing_of_the_other(fresh: World) -> None:
    before = fresh.clients["south"].get("/v1/stats").json()
    fresh.clients["ann"].post("/v1/memories", json={"items": [{"text": "one more"}] * 20})
    after = fresh.clients["south"].get("/v1/stats").json()
    own = ("namespace", "memories", "versions", "text_bytes", "pending", "vectors")
    assert {name: after[name] for name in own} == {name: before[name] for name in own}
