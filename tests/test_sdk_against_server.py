"""The SDK against the real server: every method works, and its models declare what the server sends.

The SDK's own tests stand on a stand-in for the server; these tie the stand-in to the truth. One script runs through
both clients.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from recalld_client import (
    AsyncRecalld,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    Recalld,
    RetrySettings,
    ServiceUnavailable,
    TooLarge,
    Unauthorized,
)
from recalld_client.models import Model

from tests.processes import HASH, Process, language_model, run_recalld

ONCE = RetrySettings(attempts_max=1)

NOT_DECLARED = {
    "Chat": {"created", "object"},
    "ChatMessage": {"refusal"},
    "Choice": {"index", "logprobs"},
    "Context": {"took_ms"},
    "Embedding": {"object"},
    "Embeddings": {"object"},
    "Health": {"version"},
    "Job": {"namespace", "scope", "priority", "due_at"},
    "Readiness": {"status"},
    "Recall": {"explain"},
    "Imported": {"namespace"},
    "Receipt": {"namespace"},
}
"""What the server sends that the SDK's models do not name; it can be read by name all the same."""
NOT_SENT = {("Usage", "prompt_tokens_details"), ("Usage", "completion_tokens")}
"""What is declared and not in every reply: embeddings have a shorter `usage`, as OpenAI's have. Chat's is whole."""


class Driver:
    """Runs the calls of either client to their ends, and remembers which methods were called and what they gave."""

    def __init__(self, client: Recalld | AsyncRecalld, loop: asyncio.AbstractEventLoop) -> None:
        self.client = client
        self.loop = loop
        self.called: set[str] = set()
        self.given: list[Any] = []

    def __call__(self, on: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        self.called.add(name)
        result = self.end(getattr(on, name)(*args, **kwargs))
        self.given.append(result)
        return result

    def end(self, result: Any) -> Any:
        if inspect.isawaitable(result):
            return self.loop.run_until_complete(_awaited(result))
        if hasattr(result, "__aiter__"):
            return self.loop.run_until_complete(_listed(result))
        return list(result) if isinstance(result, Iterator) else result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


async def _listed(result: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in result]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("sdk")
    with language_model("You live in Lisbon.") as model, Process(folder, **HASH | model) as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest, server: Process) -> Iterator[Driver]:
    loop = asyncio.new_event_loop()
    kind = Recalld if request.param == "sync" else AsyncRecalld
    driver = Driver(kind(server.url), loop)
    yield driver
    driver.end(driver.client.close())
    loop.close()


def models_in(value: Any) -> Iterator[Model]:
    """Every model in an answer, those inside others included."""
    if isinstance(value, Model):
        yield value
        for name in type(value).model_fields:
            yield from models_in(getattr(value, name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from models_in(each)


def test_every_method_works_and_gives_what_its_models_declare(drive: Driver, tmp_path: Path) -> None:
    alice = drive.client.scope(user_id=f"alice-{id(drive)}").scope(session_id="s1", agent_id="a1")
    later = datetime.now(UTC) + timedelta(days=1)
    first = drive(
        alice, "add", "I moved to Lisbon in March.", role="user", speaker="Alice", kind="turn", external_id="e1",
        occurred_at="2026-03-14T09:00:00Z", metadata={"topic": "home", "n": 1}, expires_at=later,
    )  # fmt: skip
    frame = {"subject": "Alice", "predicate": "lives in", "object": "Lisbon", "negated": False}
    drive(alice, "add", "Alice lives in Lisbon.", kind="fact", frame=frame)
    progress: list[int] = []
    texts = [f"Note {number} about the harbour." for number in range(25)]
    notes = drive(alice, "add_many", [*texts[:5], *({"text": text} for text in texts[5:])], items_max=10,
                  progress=progress.append)  # fmt: skip
    assert [note.text for note in notes] == texts
    assert progress == [10, 20, 25]
    assert drive(alice, "get", first.id) == first
    assert len(drive(alice, "list")) == 27
    assert [m.id for m in drive(alice, "list", kind="turn", metadata={"topic": "home", "n": 1}, limit=3)] == [first.id]
    assert [m.id for m in drive(alice, "list", text="moved Lisbon", until="2026-04-01T00:00:00Z")] == [first.id]
    assert drive(alice, "list", state=["forgotten", "superseded"], since=later) == []
    changed = drive(alice, "update", first.id, if_match=1, text="I moved to Porto in May.", metadata={"n": None})
    assert (changed.version, changed.metadata) == (2, {"topic": "home"})
    assert [m.version for m in drive(alice, "history", first.id)] == [2, 1]
    assert drive(alice, "sources", first.id) == drive(alice, "derived", first.id) == []
    assert drive(alice, "forget", first.id, if_match=2).state == "forgotten"
    assert drive(alice, "restore", first.id).state == "active"
    facts = drive(alice, "facts", subject="Alice", predicate="lives in", as_of=later, known_at=later, limit=5)
    assert [(fact.text, fact.frame) for fact in facts] == [("Alice lives in Lisbon.", frame)]
    deed = {"actors": [{"name": "Ann", "role": "guide"}], "action": "sang", "place": "Porto",
            "time": {"start": "2026-03-03T10:00:00Z"}}  # fmt: skip
    sang = drive(alice, "add", "Ann sang in Porto.", kind="episode", frame=deed)
    when = {"since": "2026-03-01T00:00:00Z", "until": later, "as_of": later, "known_at": later}
    assert drive(alice, "episodes", actor="ann", place="porto", limit=5, **when) == [sang]
    (ann,) = drive(alice, "workspace", actor="Ann", place="Porto", as_of=later, known_at=later, limit=5)
    assert (ann.role.value, ann.place.memory_ids, ann.last.action) == ("guide", (sang.id,), "sang")
    steps = [{"action": "play", "parameters": {"song": "{song}", "loud": "{loud}"}}]
    drive(alice, "add", "music", kind="procedure", frame={"task": "play {song} at home", "steps": steps})
    known = {"as_of": later, "known_at": later, "filter": {"text": "music"}}
    (ready,) = drive(alice, "procedures", "put a song on", parameters={"song": "Fado", "loud": 3}, limit=2, **known)
    assert (ready.ready, ready.task, ready.steps[0].parameters) == (
        True,
        "play Fado at home",
        {"song": "Fado", "loud": 3},
    )
    tried = drive(alice, "report_outcome", ready.memory.id, True, note="loud", at=later, if_match=1)
    assert (tried.version, tried.frame["outcome"]["note"]) == (2, "loud")
    forget, added = drive(alice, "changes", kind=["forget", "add"], memory_id=first.id, limit=2)
    assert (forget.kind, forget.memory_ids, added.kind, added.undone_by) == ("forget", (first.id,), "add", None)
    undo = drive(alice, "undo", added.id)
    assert (undo.kind, drive(alice, "get", first.id).state) == ("undo", "forgotten")
    assert drive(alice, "restore", first.id).state == "active"
    found = drive(alice, "recall", "who moved to Porto in May?", limit=3, kinds=["turn"], explain=True, now=later)
    assert found[0].memory.id == first.id
    assert len(found) == 3
    drive(alice, "recall", "Porto", as_of="2026-03-01T00:00:00Z", known_at=later)
    about_home = {"metadata.topic": "home", "occurred_at": {"lt": later}}
    assert [hit.memory.id for hit in drive(alice, "recall", "notes", filter=about_home)] == [first.id]
    assert drive(alice, "context", "notes", filter={"not": {"id": {"exists": True}}}).blocks == ()
    voted = drive(alice, "feedback", found.recall_id, first.id, True)
    assert (voted.useful, voted.votes.useful, voted.votes.useless) == (True, 1, 0)
    assert drive(alice, "feedback", found.recall_id, first.id, None).votes.useful == 0
    packed = drive(alice, "context", "who moved to Porto?", token_budget=160, limit=5)
    assert first.id in packed.blocks[0].memory_ids
    assert 0 < packed.tokens <= 80
    state = drive(alice, "state")
    assert (state.entries[-1].slot, state.entries[-1].text) == ("recent", texts[-1])
    assert drive(alice, "context", "who moved to Porto?", token_budget=80, state=False).blocks[0].memory_ids == (
        first.id,
    )
    answer = drive(alice, "chat", "Where do I live?", token_budget=100, max_tokens=50, temperature=0.0, seed=1)
    assert (answer.text, answer.finish_reason, answer.model) == ("You live in Lisbon.", "stop", "far-model")
    assert answer.citations
    assert answer.usage.model_dump() == {
        "prompt_tokens": 7,
        "completion_tokens": 4,
        "total_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    met, never = (
        drive(alice, "add", text, role="user")
        for text in ("I met Kyle at a sneaker expo in 2018.", "I've never met Kyle or been to a sneaker expo.")
    )
    job = drive(alice, "consolidate")
    states = [each.state for each in drive(alice, "job_events", job.id)]
    assert (states[-1], states == sorted(states, key=["queued", "running", "succeeded"].index)) == ("succeeded", True)
    assert drive(alice, "job", job.id).result["units"] >= 1
    assert [each.id for each in drive(alice, "jobs", state="succeeded", task="consolidate", limit=1)] == [job.id]
    for name in ("cancel_job", "retry_job"):
        with pytest.raises(Conflict):
            drive(alice, name, job.id)
    told = {hit.memory.id: hit.disagrees_with for hit in drive(alice, "recall", "Have I met Kyle?", limit=100)}
    [older] = told[never.id]
    assert (older.memory_id, older.newer, older.kind) == (met.id, False, "conflict")
    assert [(each.memory_id, each.newer, each.change_id) for each in told[met.id]] == [
        (never.id, True, older.change_id)
    ]
    stream = alice.chat_stream([{"role": "user", "content": "Where do I live?"}], remember=False)
    drive.called.add("chat_stream")
    assert "".join(drive.end(stream)) == "You live in Lisbon."
    assert (stream.reply.text, stream.reply.usage) == (answer.text, answer.usage)
    assert stream.reply.citations
    drive.end(stream.close())
    vectors = drive(drive.client, "embeddings", ["one", "two"]).vectors
    assert [len(vector) for vector in vectors] == [256, 256]
    assert drive(drive.client, "stats").memories["active"] >= 27
    assert drive(drive.client, "health").status == "ok"
    assert drive(drive.client, "ready")
    receipt = drive(alice, "delete", notes[0].id)
    assert notes[0].id in receipt.memory_ids
    assert receipt.removed["memories"] == len(receipt.memory_ids)
    assert (receipt.state, receipt.rescan.clean) == ("succeeded", True), receipt.rescan
    assert drive(drive.client, "erasure", receipt.id).digest == receipt.digest
    drive(alice, "export", tmp_path / "alice.ndjson")
    assert drive(alice, "erase", filter={"text": {"contains": "harbour"}}, dry_run=True).memories >= 24
    assert drive(alice, "erase", ids=[notes[1].id]).memory_ids[0] == notes[1].id
    assert drive(alice, "erase").memories > 20
    assert drive(alice, "list") == []
    done = drive(drive.client, "import_", tmp_path / "alice.ndjson", restore_erased=False)
    assert (done.added, done.erased > 20) == (0, True)
    assert drive(drive.client, "import_", tmp_path / "alice.ndjson", restore_erased=True).added == done.erased

    public = {name for name in dir(drive.client) if not name.startswith("_")}
    assert public - drive.called == {"scope", "close"}
    declared_and_sent(drive.given)


def declared_and_sent(given: list[Any]) -> None:
    """Assert that what came is what the models say, both ways."""
    undeclared: dict[str, set[str]] = {}
    for model in models_in(given):
        name = type(model).__name__
        missing = type(model).model_fields.keys() - model.model_fields_set
        assert {(name, field) for field in missing} <= NOT_SENT
        undeclared.setdefault(name, set()).update(model.model_extra or {})
    assert {name: fields for name, fields in undeclared.items() if fields} == NOT_DECLARED


def test_each_error_of_the_server_is_the_class_that_the_sdk_promises(drive: Driver) -> None:
    bob = drive.client.scope(user_id=f"bob-{id(drive)}")
    kept = drive(bob, "add", "one")
    with pytest.raises(NotFound) as missing:
        drive(bob, "get", "mem_00000000000000000000000000")
    assert (missing.value.status, missing.value.code) == (404, "not_found")
    with pytest.raises(InvalidRequest) as invalid:
        drive(bob, "add", "x", kind="nonsense")
    assert [error.field for error in invalid.value.errors] == ["items.0.kind"]
    with pytest.raises(InvalidRequest):
        drive(bob, "recall", "x", limit=101)
    with pytest.raises(InvalidRequest) as invalid:
        drive(bob, "recall", "x", filter={"and": [{"metadata.n": {"near": 1}}]})
    assert [error.field for error in invalid.value.errors] == ["filter.and.0.metadata.n.near"]
    with pytest.raises(NotFound):
        drive(bob, "feedback", "rec_00000000000000000000000000", kept.id, True)
    with pytest.raises(PreconditionFailed):
        drive(bob, "update", kept.id, if_match=7, text="two")
    drive(bob, "forget", kept.id)
    with pytest.raises(Conflict):
        drive(bob, "update", kept.id, text="two")
    drive(bob, "add", "same", idempotency_key=f"key-{id(drive)}")
    with pytest.raises(Conflict):
        drive(bob, "add", "other", idempotency_key=f"key-{id(drive)}")
    with pytest.raises(TooLarge):
        drive(bob, "chat", "x" * (17 << 20))
    with pytest.raises(InvalidRequest) as too_many:
        drive(bob, "chat", [{"role": "user", "content": "x"}] * 1001)
    assert too_many.value.errors[0].limit == 1000


def test_a_repeated_write_gives_the_first_answer_once(drive: Driver) -> None:
    carol = drive.client.scope(user_id=f"carol-{id(drive)}")
    key = f"import-{id(drive)}"
    first = drive(carol, "add_many", ["one", "two", "three"], items_max=2, idempotency_key=key)
    again = drive(carol, "add_many", ["one", "two", "three"], items_max=2, idempotency_key=key)
    assert again == first
    assert [memory.id for memory in drive(carol, "list")] == [memory.id for memory in reversed(first)]


def test_keys_and_a_missing_model_are_told_apart(tmp_path: Path) -> None:
    run_recalld(tmp_path, "keys", "create", "--namespace", "acme", **HASH)
    key = run_recalld(tmp_path, "keys", "create", "--namespace", "acme", "--read-only", **HASH).stdout.split()[0]
    with Process(tmp_path, **HASH) as server:
        with Recalld(server.url, retry=ONCE) as stranger, pytest.raises(Unauthorized):
            stranger.stats()
        with Recalld(server.url, api_key=key, retry=ONCE) as reader:
            assert reader.stats().namespace == "acme"
            with pytest.raises(Forbidden):
                reader.add("x")
            with pytest.raises(ServiceUnavailable) as off:
                reader.chat("hello")
            assert (off.value.code, off.value.retryable) == ("not_installed", False)
