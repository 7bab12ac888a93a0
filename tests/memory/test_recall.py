"""Recall over a whole service: its own writes are seen, what is gone is not, and only what is in scope counts."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.ingest import content_digest
from memory.model import Item, Memory, Selection
from memory.recall import Hit, Question, Recall
from recalld.bootstrap import Parts, Service
from recalld.core.access import Principal
from recalld.core.db import Database
from recalld.core.errors import Forbidden, InvalidInput
from recalld.core.scope import Scope
from retrieval.encode_hash import HashEncoder
from retrieval.filters import parse
from retrieval.passages import row_of
from retrieval.ports import Floats
from tests.conftest import NOW, WHO, SerialIds, SetClock, TurnedEncoder, hide

ANN = Scope("ann", session_id="s")
KIB_64 = 64 * 1024


def add(service: Service, *items: Item | str, who: Principal = WHO) -> list[Memory]:
    with service.write_store() as store:
        written = [Item(item) if isinstance(item, str) else item for item in items]
        return service.memories.add(store, who, written)


def change(service: Service, call: str, *given: Any) -> Any:
    if call == "erase":
        return hide(service, WHO, *given)
    with service.write_store() as store:
        return getattr(service.memories, call)(store, WHO, *given)


def ask(service: Service, query: str, who: Principal = WHO, **fields: Any) -> Recall:
    with service.read_store() as store:
        return service.recaller.recall(store, who, Question(query, **fields))


def texts(recall: Recall) -> list[str]:
    return [hit.memory.item.text for hit in recall.results]


def figures(hits: Iterable[Hit]) -> list[tuple[str, float, float, dict[str, float]]]:
    return [(hit.memory.item.text, hit.score, hit.relevance, hit.signals) for hit in hits]


@contextmanager
def connected(database: Database) -> Any:
    with database.write() as connection:
        yield connection


# --- what is written is seen


def test_a_recall_sees_what_was_just_written(service: Service) -> None:
    add(service, "The dog likes the park.", "Rent is due in May.", "I moved to Lisbon.")
    found = ask(service, "dogs in parks", limit=1)
    assert texts(found) == ["The dog likes the park."]
    assert found.pending == 0
    assert found.results[0].signals["dense"] > 0
    assert dict(service.vectors.states("default")) == {}


def test_the_answer_is_the_same_before_and_after_the_outbox_is_applied(service: Service) -> None:
    add(service, *(Item(f"dog number {n % 3} in park {n}", scope=ANN, speaker="Ann") for n in range(30)))
    before = ask(service, "Ann's dog 2", limit=30)
    service.indexer.apply_all()
    after = ask(service, "Ann's dog 2", limit=30)
    assert figures(after.results) == figures(before.results)


@pytest.mark.parametrize("batches", [[1], [3, 1], [100]])
def test_how_the_outbox_was_batched_changes_nothing(
    service: Service, batches: Sequence[int], make_service: Callable[..., Service]
) -> None:
    """Half is applied in batches, half is pending; equal texts tie in the order in which they were written, and all
    but the first are behind what is new."""
    same = [Item("a dog in the park")] * 5
    add(service, *same, *(Item(f"cat {n}") for n in range(5)))
    whole = ask(service, "dog", limit=10)
    for limit in batches:
        service.indexer.apply(limit)
    part = ask(service, "dog", limit=10)
    assert figures(part.results) == figures(whole.results)
    rows = [hit.memory.row for hit in part.results]
    assert (rows[0], rows[-4:]) == (1, [2, 3, 4, 5])


def test_pending_counts_the_rows_beyond_those_that_a_recall_encodes(make_service: Callable[..., Service]) -> None:
    class Counting(HashEncoder):
        encoded: list[str] = []

        def encode(self, texts: Sequence[str]) -> Floats:
            self.encoded += texts
            return super().encode(texts)

    encoder = Counting()
    service = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=encoder), pending_encode_max=3)
    add(service, *(f"dog {n}" for n in range(10)))
    add(service, Item("dog elsewhere"), who=Principal("other"))
    found = ask(service, "dog", limit=10)
    assert (found.pending, len(found.results)) == (7, 10)
    assert sorted(encoder.encoded) == ["dog", "dog 7", "dog 8", "dog 9"]
    assert ask(service, "dog", scope=Scope("nobody")).pending == 0
    service.indexer.apply(4)
    assert ask(service, "dog").pending == 3
    service.indexer.apply_all()
    assert ask(service, "dog").pending == 0


def test_with_none_to_encode_full_text_finds_the_row_all_the_same(make_service: Callable[..., Service]) -> None:
    service = make_service(pending_encode_max=0)
    add(service, "a dog", "a cat")
    found = ask(service, "cat")
    assert (texts(found)[0], found.pending) == ("a cat", 2)


def test_an_edit_is_seen_at_once(service: Service) -> None:
    kept = add(service, "I live in Porto.", "Rent is due.")[0]
    service.indexer.apply_all()
    change(service, "update", kept.id, {"text": "The dog is called Rex."}, None)
    found = ask(service, "what is the dog called", limit=1)
    assert texts(found) == ["The dog is called Rex."]
    assert found.results[0].memory.version == 2
    assert ask(service, "Porto", limit=1).relevant is False


# --- what is gone is not


@pytest.mark.parametrize("applied_first", [False, True])
def test_what_is_forgotten_expired_or_erased_never_appears(
    service: Service, clock: SetClock, applied_first: bool
) -> None:
    """Also while the index still holds it and the outbox is behind."""
    kept = add(service, "dog 0", "dog 1", "dog 2", Item("dog 3", expires_at=NOW + timedelta(hours=1)), "dog 4")
    if applied_first:
        service.indexer.apply_all()
    change(service, "set_state", kept[0].id, "forgotten")
    change(service, "erase", kept[1].id)
    clock.advance(hours=1)
    for _ in range(2):
        assert sorted(texts(ask(service, "dog", limit=100))) == ["dog 2", "dog 4"]
        service.indexer.apply_all()
    change(service, "set_state", kept[0].id, "active")
    assert sorted(texts(ask(service, "dog", limit=100))) == ["dog 0", "dog 2", "dog 4"]


# --- what was known and what held, at a time


def test_as_of_and_known_at_tell_what_held_and_what_was_known(service: Service, clock: SetClock) -> None:
    home = add(service, Item("I live in Porto.", occurred_at=NOW - timedelta(days=10)))[0]
    clock.advance(days=1)
    change(service, "update", home.id, {"text": "I live in Lisbon."}, None)
    clock.advance(days=1)
    add(service, Item("I live in Faro.", occurred_at=NOW + timedelta(days=1)))

    def known(**when: Any) -> list[str]:
        return sorted(texts(ask(service, "where do I live", **when)))

    assert known() == ["I live in Faro.", "I live in Lisbon."]
    assert known(as_of=NOW) == ["I live in Lisbon."]
    assert known(as_of=NOW - timedelta(days=11)) == []
    assert known(known_at=NOW + timedelta(days=1)) == ["I live in Lisbon."]
    assert known(known_at=NOW + timedelta(hours=23)) == ["I live in Porto."]
    assert known(known_at=NOW - timedelta(seconds=1)) == []
    old = ask(service, "where do I live", known_at=NOW).results[0].memory
    assert (old.version, old.id, old.row) == (1, home.id, home.row)


def test_now_is_the_time_from_which_last_week_is_read(service: Service) -> None:
    add(
        service,
        Item("We met.", occurred_at=NOW - timedelta(days=40)),
        Item("We met.", occurred_at=NOW - timedelta(days=1)),
    )
    for now, row in ((None, 2), (NOW - timedelta(days=39), 1)):
        assert ask(service, "whom did I meet yesterday?", limit=1, now=now).results[0].memory.row == row


# --- how many, and whose


def test_k_are_given_when_k_exist_however_small_the_tenant(service: Service) -> None:
    add(service, *(f"dog {n}" for n in range(400)), who=Principal("big"))
    add(service, *(Item(f"cat {n}", scope=Scope("ann")) for n in range(12)), *(Item(f"dog {n}") for n in range(200)))
    service.indexer.apply_all()
    assert len(ask(service, "dog", limit=10, scope=Scope("ann")).results) == 10
    assert len(ask(service, "dog", limit=100, scope=Scope("ann")).results) == 12
    assert len(ask(service, "dog", limit=100).results) == 100
    assert len(ask(service, "dog", limit=5, kinds=("document",)).results) == 0


def test_an_empty_store_and_a_single_memory_are_answered_honestly(make_service: Callable[..., Service]) -> None:
    service = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=TurnedEncoder()))
    nothing = ask(service, "where do I live?")
    assert (nothing.results, nothing.relevant, nothing.pending) == ([], False, 0)
    assert nothing.recall_id.startswith("rec_")
    add(service, "I live in Porto.")
    one = ask(service, "zebra crossing")
    assert (texts(one), one.relevant) == (["I live in Porto."], False)
    assert ask(service, "I live in Porto.").relevant is True


def test_other_namespaces_and_users_change_no_figure(service: Service) -> None:
    add(service, *(Item(f"dog {n} in the park", scope=ANN, speaker="Ann") for n in range(6)))
    before = ask(service, "Ann's dog in park 3", scope=Scope("ann"))
    add(service, *(Item(f"Ann's dog dog park {n}", scope=ANN) for n in range(20)), who=Principal("other"))
    add(service, *(Item(f"Ann's park dog {n}", scope=Scope("bob"), speaker="Ann Park") for n in range(20)))
    after = ask(service, "Ann's dog in park 3", scope=Scope("ann"))
    assert figures(after.results) == figures(before.results)
    service.indexer.apply_all()
    assert figures(ask(service, "Ann's dog in park 3", scope=Scope("ann")).results) == figures(before.results)


def test_a_bound_key_recalls_within_its_scope(service: Service) -> None:
    add(service, Item("Ann's dog", scope=Scope("ann")), Item("Bob's dog", scope=Scope("bob")), Item("a dog"))
    bound = Principal("default", Scope("ann"))
    assert texts(ask(service, "dog", who=bound)) == ["Ann's dog"]
    assert texts(ask(service, "dog", who=bound, scope=Scope("ann", session_id="x"))) == []
    with pytest.raises(Forbidden):
        ask(service, "dog", who=bound, scope=Scope("bob"))


def test_kinds_are_filtered_before_the_search(service: Service) -> None:
    add(service, *(Item("dog", kind="turn") for _ in range(30)), Item("about a cat", kind="document"))
    assert texts(ask(service, "dog", limit=3, kinds=("document",))) == ["about a cat"]


FILTERED: list[dict[str, Any]] = [
    {"metadata.n": {"lt": 12}},
    {"metadata.n": {"in": [3, 50, 51]}},
    {"metadata.tags": {"contains": "even"}},
    {"or": [{"metadata.n": 1}, {"speaker": {"ne": None}}]},
    {"not": {"metadata.tags": {"exists": True}}},
    {"text": {"contains": "7"}, "metadata.n": {"gte": 20}},
    {"user_id": "bob"},
    {"metadata.n": 400},
]


@pytest.mark.parametrize("number", range(len(FILTERED)))
def test_a_filter_gives_k_when_k_exist_and_never_a_row_that_it_excludes(service: Service, number: int) -> None:
    """Against SQL; among many better matches that it excludes, and whatever the index has of them."""
    wanted = parse(FILTERED[number])
    add(service, *("dog dog dog" for _ in range(150)), who=Principal("other"))
    tags = ({"tags": ["even", 2]}, {})
    add(
        service,
        *(
            Item(
                f"{'cat' if n < 20 else 'dog'} {n}",
                scope=Scope("ann") if n % 4 else Scope("bob"),
                speaker="Ann" if n % 10 == 0 else None,
                metadata={"n": n} | tags[n % 2],
            )
            for n in range(150)
        ),
    )
    service.indexer.apply(100)
    for scope in (Scope(), Scope("ann")):
        with service.read_store() as store:
            allowed = store.select("default", Selection(scope=scope, filter=wanted), NOW, 1000)
        rows = {memory.row for memory in allowed}
        for limit in (1, 10, 100):
            found = [hit.memory.row for hit in ask(service, "dog", limit=limit, scope=scope, filter=wanted).results]
            assert len(found) == len(set(found)) == min(limit, len(rows))
            assert set(found) <= rows


def test_votes_lift_and_sink_a_memory_and_withdrawn_they_do_nothing(service: Service) -> None:
    one, _, three = add(service, "a dog", "a dog", "a dog")
    plain = ask(service, "dog")
    assert [hit.memory.row for hit in plain.results] == [1, 2, 3]

    def vote(memory: Memory, useful: bool | None) -> None:
        service.recall_log.add("default", f"rec_{memory.id}", NOW, Scope(), (memory.id,))
        service.recall_log.flush()
        with service.write_store() as store:
            service.memories.vote(store, WHO, f"rec_{memory.id}", memory.id, useful)

    vote(three, True)
    vote(one, False)
    voted = ask(service, "dog", explain=True)
    assert [hit.memory.row for hit in voted.results] == [3, 2, 1]
    assert [hit.signals["feedback"] for hit in voted.results] == pytest.approx([1 / 3, 0, -1 / 3], abs=1e-4)
    assert voted.explain["weights"]["feedback"] == 0.5
    with service.write_store() as store:
        for memory in (three, one):
            service.memories.vote(store, WHO, f"rec_{memory.id}", memory.id, None)
        assert store.feedback("default") == {}
    assert figures(ask(service, "dog").results) == figures(plain.results)


# --- any query


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Я переехала в Лиссабон", "Лиссабон"),
        ("私は東京に住んでいます", "東京"),
        ("أعيش في بورتو", "بورتو"),
        ("मैं पोर्टो में रहती हूँ", "पोर्टो"),
        ("so happy 🎉👍🏽", "🎉"),
        ("ฉันอยู่ที่ปอร์โต", "ปอร์โต"),
        ("C++ and C#", "c"),
    ],
)
def test_every_script_and_emoji_is_found(service: Service, text: str, query: str) -> None:
    add(service, "I live in Porto.", text, "The dog likes the park.")
    found = ask(service, query, limit=1)
    assert texts(found) == [text]
    assert found.results[0].signals["lexical"] > 0


@pytest.mark.parametrize(
    "query", ["?", " ", "the", "\ufffd", '"', "AND", "dog*", "' OR 1=1 --", "x" * 500, "\u0301", "NEAR("]
)
def test_any_query_is_answered(service: Service, query: str) -> None:
    add(service, "I live in Porto.", "The dog likes the park.")
    assert len(ask(service, query).results) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(query=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=50))
def test_any_text_is_a_query(service: Service, query: str) -> None:
    with service.read_store() as store:
        if not store.counts("default").memories:
            add(service, "I live in Porto.", "The dog likes the park.")
    assert len(ask(service, query).results) == 2


@pytest.mark.parametrize("piece", ["dog ", "x", "東京", "last week we met ", "I ", "👍"])
def test_a_query_of_64_kib_is_answered_in_time(service: Service, piece: str) -> None:
    add(service, *(Item("The dog likes the park.", occurred_at=NOW) for _ in range(20)))
    query = piece * (KIB_64 // len(piece.encode()))
    started = time.perf_counter()
    assert len(ask(service, query).results) == 10
    assert time.perf_counter() - started < 8.0


def test_what_is_no_question_is_refused_by_field_and_limit(service: Service) -> None:
    for query in ("", "x" * (KIB_64 + 1)):
        with pytest.raises(InvalidInput) as refused:
            ask(service, query)
        assert [(error.field, error.limit) for error in refused.value.fields] == [("query", KIB_64)]
    for query in ("a\0", "\ud800"):
        with pytest.raises(InvalidInput, match=r"^query: must"):
            ask(service, query)
    for limit in (0, -1, 101):
        with pytest.raises(InvalidInput) as refused:
            ask(service, "dog", limit=limit)
        assert [(error.field, error.limit) for error in refused.value.fields] == [("limit", 100)]


def test_explain_tells_terms_weights_and_how_many_were_searched(service: Service) -> None:
    add(service, "dog", "cat", Item("dog", scope=Scope("ann")))
    told = ask(service, "the dogs", explain=True, scope=Scope("ann")).explain
    assert (told["terms"], told["searched"]) == (["dog"], 1)
    assert set(told["weights"]) == set(ask(service, "dog").results[0].signals)
    assert ask(service, "dog").explain == {}


# --- the turn after a written one is encoded again


def turn(text: str, minute: int) -> Item:
    return Item(text, scope=ANN, occurred_at=NOW + timedelta(minutes=minute))


def encoded(service: Service) -> dict[int, bytes]:
    return {row_of(each): state.digest for each, state in service.vectors.states("default").items()}


def test_a_turn_is_encoded_again_when_what_was_asked_before_it_changes(service: Service) -> None:
    def digests(*encoded_texts: str) -> list[bytes]:
        return [content_digest(text) for text in encoded_texts]

    answer = add(service, turn("Yes, last summer.", 2))[0]
    service.indexer.apply_all()
    assert encoded(service) == {1: content_digest("Yes, last summer.")}
    asked = add(service, turn("Did you go to Porto?", 1))[0]
    service.indexer.apply_all()
    assert list(encoded(service).values()) == digests("Did you go to Porto? Yes, last summer.", "Did you go to Porto?")
    change(service, "update", asked.id, {"text": "Did you go to Faro?"}, None)
    service.indexer.apply_all()
    assert encoded(service)[answer.row] == content_digest("Did you go to Faro? Yes, last summer.")
    change(service, "set_state", asked.id, "forgotten")
    service.indexer.apply_all()
    assert encoded(service) == {1: content_digest("Yes, last summer.")}
    change(service, "set_state", asked.id, "active")
    change(service, "update", asked.id, {"occurred_at": NOW + timedelta(hours=1)}, None)
    service.indexer.apply_all()
    assert encoded(service)[answer.row] == content_digest("Yes, last summer.")
    change(service, "update", asked.id, {"occurred_at": NOW}, None)
    service.indexer.apply_all()
    assert encoded(service)[answer.row] == content_digest("Did you go to Faro? Yes, last summer.")
    change(service, "erase", asked.id)
    service.indexer.apply_all()
    assert encoded(service) == {1: content_digest("Yes, last summer.")}


def test_a_recall_sees_what_was_asked_before_an_answer_that_is_pending(service: Service) -> None:
    add(service, turn("Did you go to Porto?", 1), turn("Yes, last summer.", 2), turn("It rained a lot.", 3))
    before = ask(service, "went to Porto", limit=3).results
    service.indexer.apply_all()
    assert figures(ask(service, "went to Porto", limit=3).results) == figures(before)
    assert [hit.memory.row for hit in before][:2] == [1, 2]
    assert replace(before[0].memory, row=0) != before[1].memory
