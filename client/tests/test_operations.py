"""Every operation, from the arguments to the value that comes back, through both clients."""

from datetime import UTC, datetime, timedelta, timezone

import httpx2
import pytest

from recalld_client import InvalidValue, NotFound, PreconditionFailed

MORNING = datetime(2026, 3, 14, 9, tzinfo=UTC)


def test_add_sends_every_field_and_gives_the_memory(client, fake):
    memory = client.scope(user_id="alice").add(
        "I moved to Lisbon.",
        kind="fact",
        role="user",
        speaker="Alice",
        occurred_at=MORNING,
        external_id="x1",
        metadata={"topic": "home", "at": MORNING, "deep": [1, None, True]},
        expires_at="2027-01-01T00:00:00Z",
        frame={"subject": "Alice", "predicate": "lives in", "object": "Lisbon", "negated": False},
    )
    assert fake.bodies == [
        {
            "items": [
                {
                    "text": "I moved to Lisbon.",
                    "kind": "fact",
                    "role": "user",
                    "speaker": "Alice",
                    "occurred_at": "2026-03-14T09:00:00+00:00",
                    "external_id": "x1",
                    "metadata": {"topic": "home", "at": "2026-03-14T09:00:00+00:00", "deep": [1, None, True]},
                    "expires_at": "2027-01-01T00:00:00Z",
                    "frame": {"subject": "Alice", "predicate": "lives in", "object": "Lisbon", "negated": False},
                    "scope": {"user_id": "alice"},
                }
            ]
        }
    ]
    assert (memory.id, memory.version, memory.state, memory.kind) == ("mem_000", 1, "active", "fact")
    assert memory.occurred_at == MORNING
    assert memory.scope.user_id == "alice"
    assert memory.scope.session_id is None
    assert memory.metadata["deep"] == [1, None, True]


def test_what_is_not_given_is_not_sent(client, fake):
    client.add("plain")
    assert fake.bodies == [{"items": [{"text": "plain"}]}]


def test_get_gives_the_memory_and_an_unknown_id_is_not_found(client):
    added = client.add("here")
    assert client.get(added.id) == added
    with pytest.raises(NotFound, match=r"no memory has this id \[404 not_found\]"):
        client.get("mem_999")


def test_an_id_is_one_segment_of_the_path(client, fake):
    with pytest.raises(NotFound):
        client.get("a/../b?c")
    assert fake.requests[-1].url.raw_path == b"/v1/memories/a%2F..%2Fb%3Fc"


@pytest.mark.parametrize("memory_id", ["", ".", ".."])
def test_an_id_that_would_name_another_route_is_refused(client, fake, memory_id):
    with pytest.raises(InvalidValue, match=r"^memory_id: "):
        client.delete(memory_id)
    assert fake.requests == []


def test_list_walks_all_pages_newest_first(client, fake):
    added = client.add_many([f"note {n}" for n in range(250)])
    fake.requests.clear()
    assert [memory.id for memory in client.list()] == [memory.id for memory in reversed(added)]
    assert [dict(each.url.params) for each in fake.requests] == [
        {"limit": "100"},
        {"limit": "100", "cursor": "100"},
        {"limit": "100", "cursor": "200"},
    ]


@pytest.mark.parametrize(("limit", "sizes"), [(1, ["1"]), (100, ["100"]), (130, ["100", "30"])])
def test_list_asks_for_no_more_than_its_limit(client, fake, limit, sizes):
    client.add_many([f"note {n}" for n in range(250)])
    fake.requests.clear()
    assert [memory.text for memory in client.list(limit=limit)] == [f"note {249 - n}" for n in range(limit)]
    assert [each.url.params["limit"] for each in fake.requests] == sizes


def test_list_sends_its_filters(client, fake):
    client.scope(agent_id="a1").list(
        kind="fact",
        state=["active", "forgotten"],
        since=MORNING,
        until="2026-04-01T00:00:00Z",
        metadata={"topic": "home & garden", "count": 3, "done": True, "left": None},
        text="Lisbon",
    )
    assert list(fake.requests[0].url.params.multi_items()) == [
        ("agent_id", "a1"),
        ("kind", "fact"),
        ("state", "active"),
        ("state", "forgotten"),
        ("since", "2026-03-14T09:00:00+00:00"),
        ("until", "2026-04-01T00:00:00Z"),
        ("text", "Lisbon"),
        ("metadata.topic", "home & garden"),
        ("metadata.count", "3"),
        ("metadata.done", "true"),
        ("metadata.left", "null"),
        ("limit", "100"),
    ]


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_a_limit_that_is_no_count_is_refused_before_anything_is_sent(client, fake, limit):
    with pytest.raises(InvalidValue, match=r"^limit: must be a whole number of at least 1"):
        client.list(limit=limit)
    assert fake.requests == []


def test_update_sends_a_merge_patch_in_which_none_removes(client, fake):
    added = client.add("old", speaker="Ann")
    changed = client.update(
        added.id, text="new", speaker=None, occurred_at=MORNING.astimezone(timezone(timedelta(hours=1))), if_match=1
    )
    request = fake.requests[-1]
    assert (request.method, request.headers["if-match"]) == ("PATCH", '"1"')
    assert request.headers["content-type"] == "application/merge-patch+json"
    assert fake.bodies[-1] == {"text": "new", "speaker": None, "occurred_at": "2026-03-14T10:00:00+01:00"}
    assert (changed.id, changed.version, changed.text, changed.speaker) == (added.id, 2, "new", None)
    with pytest.raises(PreconditionFailed):
        client.update(added.id, text="newer", if_match=1)


def test_update_refuses_what_cannot_be_changed_and_nothing_at_all(client, fake):
    with pytest.raises(InvalidValue, match=r"^kind: cannot be changed; these can: text, metadata, occurred_at"):
        client.update("mem_000", kind="fact")
    with pytest.raises(InvalidValue, match=r"^changes: give at least one"):
        client.update("mem_000", if_match=1)
    assert fake.requests == []


def test_a_version_can_be_named_wherever_one_is_changed(client, fake):
    added = client.add("a")
    client.forget(added.id, if_match=1)
    client.restore(added.id, if_match=2)
    client.delete(added.id, if_match=3)
    assert [each.headers.get("if-match") for each in fake.requests] == [None, '"1"', '"2"', '"3"']


def test_forget_takes_it_out_of_the_list_and_restore_puts_it_back(client):
    added = client.add("secret")
    assert client.forget(added.id).state == "forgotten"
    assert client.list() == []
    assert client.restore(added.id).state == "active"
    assert [memory.version for memory in client.list()] == [3]


def test_delete_gives_the_receipt(client):
    added = client.add("gone soon")
    client.update(added.id, text="gone now")
    receipt = client.delete(added.id)
    assert (receipt.id, receipt.state, receipt.memory_ids) == ("era_1", "succeeded", (added.id,))
    assert receipt.removed == {"memories": 1, "versions": 2}
    assert (receipt.erased_at, receipt.rescan) == (MORNING, None)
    with pytest.raises(NotFound):
        client.get(added.id)


def test_history_gives_the_versions_newest_first(client):
    added = client.add("one")
    client.update(added.id, text="two")
    client.update(added.id, text="three")
    assert [(memory.version, memory.text) for memory in client.history(added.id)] == [
        (3, "three"),
        (2, "two"),
        (1, "one"),
    ]
    assert [memory.version for memory in client.history(added.id, limit=1)] == [3]


def test_sources_and_derived_follow_the_links(client, fake):
    alice = client.scope(user_id="alice")
    turns = alice.add_many(["I moved to Lisbon.", "I like it there."])
    fact = alice.add("Alice lives in Lisbon.", kind="fact")
    fake.versions[fact.id][-1] |= {
        "sources": [memory.id for memory in turns],
        "deriver": {"name": "rules", "version": "3"},
    }
    assert alice.sources(fact.id) == turns
    (derived,) = alice.derived(turns[0].id)
    assert (derived.id, derived.sources, derived.deriver.name) == (fact.id, ("mem_000", "mem_001"), "rules")
    assert fake.requests[-1].url.params["user_id"] == "alice"


def test_recall_sends_its_question_and_is_a_sequence_of_hits(client, fake):
    alice = client.scope(user_id="alice")
    alice.add_many(["she lives in Lisbon", "she likes figs"])
    client.scope(user_id="bob").add("she lives in Porto")
    recall = alice.recall(
        "where she lives",
        limit=5,
        kinds=["turn"],
        as_of=MORNING,
        known_at=MORNING,
        now=MORNING,
        explain=True,
    )
    assert fake.bodies[-1] == {
        "query": "where she lives",
        "scope": {"user_id": "alice"},
        "limit": 5,
        "kinds": ["turn"],
        "as_of": "2026-03-14T09:00:00+00:00",
        "known_at": "2026-03-14T09:00:00+00:00",
        "now": "2026-03-14T09:00:00+00:00",
        "explain": True,
    }
    assert [hit.memory.text for hit in recall] == ["she lives in Lisbon", "she likes figs"]
    assert recall[0].relevance == pytest.approx(2 / 3)
    assert (len(recall), recall.relevant, recall.pending, recall.took_ms) == (2, True, 0, 1.5)


def test_a_filter_is_sent_as_json_with_its_times(client, fake):
    wanted = {"metadata.topic": "home", "or": [{"speaker": None}, {"occurred_at": {"gte": MORNING, "in": (MORNING,)}}]}
    sent = {
        "metadata.topic": "home",
        "or": [
            {"speaker": None},
            {"occurred_at": {"gte": "2026-03-14T09:00:00+00:00", "in": ["2026-03-14T09:00:00+00:00"]}},
        ],
    }
    client.recall("where?", filter=wanted)
    client.context("where?", filter=wanted)
    assert [body["filter"] for body in fake.bodies] == [sent, sent]
    with pytest.raises(InvalidValue, match=r"^filter\.metadata\.n\.gt: JSON has no NaN or infinity$"):
        client.recall("where?", filter={"metadata.n": {"gt": float("nan")}})


def test_a_vote_is_a_write_and_none_withdraws_it(client, fake):
    memory = client.add("she lives in Lisbon")
    recall = client.recall("where she lives")
    voted = client.feedback(recall.recall_id, memory.id, True)
    assert fake.bodies[-1] == {"recall_id": "rec_1", "memory_id": memory.id, "useful": True}
    assert "idempotency-key" in fake.requests[-1].headers
    assert (voted.useful, voted.votes.useful, voted.votes.useless) == (True, 1, 0)
    withdrawn = client.scope(user_id="alice").feedback(recall.recall_id, memory.id, None, idempotency_key="mine")
    assert fake.bodies[-1]["useful"] is None
    assert fake.requests[-1].headers["idempotency-key"] == "mine"
    assert (withdrawn.useful, withdrawn.votes.useful) == (None, 0)


def test_a_recall_that_finds_nothing_says_so(client):
    recall = client.recall("anything?")
    assert (list(recall), recall.relevant) == ([], False)


@pytest.mark.parametrize("kinds", ["fact", [], 7])
def test_kinds_that_would_mean_something_else_are_refused(client, fake, kinds):
    with pytest.raises(InvalidValue, match=r"^kinds: must be a sequence of texts, one or more$"):
        client.recall("what?", kinds=kinds)
    with pytest.raises(InvalidValue, match=r"^kind: must be a sequence of texts, one or more$"):
        client.list(kind=[])
    assert fake.requests == []


def test_context_gives_text_and_blocks(client, fake):
    client.add_many(["she lives in Lisbon", "he lives in Porto"])
    context = client.context("where she lives", token_budget=600, limit=1)
    assert fake.bodies[-1] == {"query": "where she lives", "limit": 1, "token_budget": 600}
    assert (context.text, context.tokens, context.tokenizer) == ("she lives in Lisbon", 4, "words")
    assert [(block.text, block.memory_ids, block.tokens) for block in context.blocks] == [
        ("she lives in Lisbon", ("mem_000",), 4)
    ]
    assert (context.recall_id, context.relevant) == ("rec_1", True)


def test_a_state_is_that_of_the_bound_session_or_of_the_one_that_is_given(client, fake):
    alice = client.scope(user_id="alice", session_id="s?1")
    added = alice.add("she lives in Lisbon")
    state = alice.state()
    assert (fake.requests[-1].url.raw_path, fake.bodies[-1]) == (b"/v1/sessions/s%3F1/state?user_id=alice", None)
    assert (state.text, state.tokens, state.memory_ids) == ("recent: she lives in Lisbon\n", 5, (added.id,))
    assert [(entry.slot, entry.text) for entry in state.entries] == [("recent", "she lives in Lisbon")]
    empty = client.state("other")
    assert (empty.text, empty.entries, empty.updated_at) == ("", (), None)
    with pytest.raises(InvalidValue, match=r"^session_id: is needed: bind one with scope, or give it$"):
        client.scope(user_id="alice").state()
    with pytest.raises(InvalidValue, match=r"^state\.session_id: is bound to another value already$"):
        alice.state("s2")


def test_a_context_can_leave_the_state_out(client, fake):
    client.context("what?", state=False)
    assert fake.bodies[-1]["state"] is False


def test_chat_takes_a_text_and_gives_the_answer_with_its_citations(client, fake):
    alice = client.scope(user_id="alice", session_id="s1")
    added = alice.add("You live in Lisbon.")
    reply = alice.chat(
        "Where do I live?", model="m", remember=False, token_budget=200, max_tokens=9, temperature=0.0, seed=7
    )
    assert fake.bodies[-1] == {
        "messages": [{"role": "user", "content": "Where do I live?"}],
        "model": "m",
        "max_tokens": 9,
        "temperature": 0.0,
        "seed": 7,
        "recalld": {
            "scope": {"user_id": "alice", "session_id": "s1"},
            "recall": True,
            "remember": False,
            "token_budget": 200,
        },
    }
    assert (reply.text, reply.finish_reason, reply.recall_id) == ("You live in Lisbon.", "stop", "rec_1")
    assert [(each.memory_id, each.text) for each in reply.citations] == [(added.id, "You live in Lisbon.")]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (5, 4, 9)


def test_chat_takes_messages_and_without_a_scope_has_no_memory(client, fake):
    client.add("You live in Lisbon.")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where do I live?"}]
    reply = client.chat(messages)
    assert fake.bodies[-1] == {"messages": messages, "recalld": {"recall": True, "remember": True}}
    assert (reply.text, reply.citations, reply.recall_id) == ("I do not know.", (), None)


def test_embeddings_come_in_the_order_of_the_texts(client, fake):
    embeddings = client.embeddings(["one", "three"], model="letters")
    assert fake.bodies[-1] == {"input": ["one", "three"], "model": "letters"}
    assert embeddings.vectors == [(3.0, 0.0), (5.0, 1.0)]
    assert client.embeddings("a").vectors == [(1.0, 0.0)]


def test_stats_health_and_ready(client, fake):
    client.add("one")
    assert client.stats().memories == {"active": 1}
    health = client.health()
    assert (health.status, health.version) == ("ok", "0.1.0")
    readiness = client.ready()
    assert readiness
    assert (readiness.status, readiness.checks) == ("ready", {"index": "ok"})


@pytest.mark.parametrize(
    ("body", "checks"),
    [(b'{"status": "not ready", "checks": {"index": "torn"}}', {"index": "torn"}), (b"<html>", {}), (b"[]", {})],
)
def test_a_server_that_is_not_ready_is_an_answer_and_no_error(client, fake, body, checks):
    fake.script.append(httpx2.Response(503, content=body))
    readiness = client.ready()
    assert not readiness
    assert readiness.checks == checks
    assert len(fake.requests) == 1


def test_every_write_has_a_key_of_its_own_and_reads_have_none(client, fake):
    memory = client.add("a")
    client.update(memory.id, text="b")
    client.forget(memory.id)
    client.restore(memory.id)
    client.delete(memory.id)
    keys = [each.headers["idempotency-key"] for each in fake.requests]
    assert len(set(keys)) == 5
    fake.requests.clear()
    client.list()
    client.recall("a")
    client.chat("a")
    assert [each.headers.get("idempotency-key") for each in fake.requests] == [None, None, None]


def test_a_caller_can_give_the_key(client, fake):
    first = client.add("a", idempotency_key="mine-1")
    assert client.add("a", idempotency_key="mine-1") == first
    assert [each.headers["idempotency-key"] for each in fake.requests] == ["mine-1", "mine-1"]
    with pytest.raises(InvalidValue, match=r"^idempotency_key: must be printable ASCII"):
        client.add("a", idempotency_key="two\nlines")
