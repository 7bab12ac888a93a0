"""What holds of every recall, whatever is stored: order, numbers, what is gone, what is fresh.

Through the whole service with the reference encoder and SQLite. What one example shows is in `test_recall.py`; here
examples are drawn, or two stores that should answer alike are compared by value.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from memory.model import Item, Memory, Selection
from memory.recall import Question, Recall
from memory.store.column_cache import ColumnCache
from memory.store.sql import Kept
from recalld.bootstrap import Parts, Service
from recalld.core.access import Principal
from recalld.core.scope import Scope
from retrieval.filters import parse
from tests.conftest import NOW, WHO, SerialIds, SetClock, TurnedEncoder, hide

KIB_64 = 64 * 1024
FEW = hypothesis_settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = count()
MakeService = Callable[..., Service]

WORDS = (
    *("dog", "park", "Porto", "rent", "piano", "7", "80", "tea", "May", "canoe"),
    *("yesterday", "Did you go?", "[a note]"),
)
SPEAKERS = ("Ann", "Bob", None)
spoken = st.builds(
    lambda words, speaker, role, minute: Item(
        " ".join(words),
        speaker=speaker,
        role=role,
        occurred_at=None if minute is None else NOW - timedelta(hours=9 * minute),
    ),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=6),
    st.sampled_from(SPEAKERS),
    st.sampled_from(["user", "assistant", None]),
    st.one_of(st.none(), st.integers(0, 9)),
)
sessions = st.lists(st.lists(spoken, min_size=1, max_size=5), min_size=1, max_size=4)
QUERIES = ("Where did Ann go with the dog?", "rent", "when did we play the piano yesterday?", "canoe 80 tea in May")


def add(service: Service, items: Sequence[Item], who: Principal = WHO) -> list[Memory]:
    with service.write_store() as store:
        return service.memories.add(store, who, items)


def change(service: Service, call: str, *given: Any, who: Principal = WHO) -> Any:
    if call == "erase":
        return hide(service, who, *given)
    with service.write_store() as store:
        return getattr(service.memories, call)(store, who, *given)


def ask(service: Service, query: str, who: Principal = WHO, limit: int = 100, **fields: Any) -> Recall:
    with service.read_store() as store:
        return service.recaller.recall(store, who, Question(query, limit=limit, **fields))


def texts(recall: Recall) -> list[str]:
    return [hit.memory.item.text for hit in recall.results]


def rows(recall: Recall) -> list[int]:
    return [hit.memory.row for hit in recall.results]


def figures(recall: Recall) -> list[tuple[str, float, float, dict[str, float], Any]]:
    return [(hit.memory.id, hit.score, hit.relevance, hit.signals, hit.passage) for hit in recall.results]


def somebody() -> Principal:
    """A namespace that no other example has."""
    return Principal(f"own-{next(NUMBERS)}")


def numbered(told: Sequence[Sequence[Item]]) -> list[list[Item]]:
    """Sessions with their scope; each turn is told apart by its id outside and, in its session, by its moment."""
    return [
        [
            replace(item, external_id=f"{number}.{place}", scope=Scope("ann", session_id=f"s{number}"))
            for place, item in enumerate(turns)
        ]
        for number, turns in enumerate(told)
    ]


def ranked(recall: Recall) -> dict[str, tuple[float, float]]:
    return {str(hit.memory.item.external_id): (hit.score, hit.relevance) for hit in recall.results}


def same_ranking(one: Recall, other: Recall) -> None:
    """The same memories with the same figures, in an order that only ties may change."""
    assert ranked(one).keys() == ranked(other).keys()
    for name, found in ranked(one).items():
        assert found == pytest.approx(ranked(other)[name], abs=1e-4), name
    scores = [hit.score for hit in other.results]
    assert scores == sorted(scores, reverse=True)


# --- what a ranking does not depend on


@FEW
@given(data=st.data(), told=sessions, query=st.sampled_from(QUERIES))
def test_the_order_in_which_sessions_arrived_changes_no_figure(
    service: Service, data: st.DataObject, told: list[list[Item]], query: str
) -> None:
    """Near-duplicates aside, of which the first one counts as new: which of equals is first is by arrival."""
    unlike = [
        [replace(item, text=f"{item.text} {number}.{place}") for place, item in enumerate(turns)]
        for number, turns in enumerate(told)
    ]
    written = numbered(unlike)
    one, other = somebody(), somebody()
    for turns in written:
        add(service, turns, one)
    for turns in data.draw(st.permutations(written)):
        add(service, turns, other)
    same_ranking(ask(service, query, one), ask(service, query, other))


@FEW
@given(
    told=sessions,
    query=st.sampled_from(QUERIES),
    batches=st.lists(st.integers(1, 4), max_size=4),
    elsewhere=st.lists(spoken, max_size=5),
)
def test_neither_batches_of_the_outbox_nor_other_namespaces_change_a_figure(
    service: Service, told: list[list[Item]], query: str, batches: list[int], elsewhere: list[Item]
) -> None:
    who = somebody()
    for turns in numbered(told):
        add(service, turns, who)
    fresh = figures(ask(service, query, who))
    if elsewhere:
        add(service, elsewhere, somebody())
    for limit in batches:
        service.indexer.apply(limit)
        assert figures(ask(service, query, who)) == fresh
    service.indexer.apply_all()
    assert figures(ask(service, query, who)) == fresh


@pytest.mark.parametrize("applied", range(8))
def test_memories_that_say_the_same_score_the_same_wherever_their_vectors_are(service: Service, applied: int) -> None:
    """Standard scores would make a difference of a rounding error as large as any."""
    add(service, [Item("Ann's dog likes the park and the sea, but not the rain.")] * 8)
    if applied:
        service.indexer.apply(applied)
    found = ask(service, "Which dog likes the sea, Ann?")
    assert rows(found) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {(hit.score, hit.signals["dense"], hit.signals["late"]) for hit in found.results} == {(0.0, 0.0, 0.0)}


# --- how many


FILTERS: tuple[dict[str, Any], ...] = (
    {"speaker": "Ann"},
    {"metadata.n": {"lt": 5}},
    {"not": {"text": {"contains": "dog"}}},
)


@FEW
@given(told=st.lists(spoken, min_size=1, max_size=40), limit=st.sampled_from([1, 3, 100]), one=st.sampled_from(FILTERS))
def test_k_memories_are_given_where_k_exist_and_none_that_a_filter_excludes(
    service: Service, told: list[Item], limit: int, one: dict[str, Any]
) -> None:
    who = somebody()
    add(service, [replace(item, metadata={"n": number}) for number, item in enumerate(told)], who)
    for wanted in (None, parse(one)):
        with service.read_store() as store:
            allowed = {memory.row for memory in store.select(who.namespace, Selection(filter=wanted), NOW, 100)}
        found = rows(ask(service, "dog 7", who, limit, filter=wanted))
        assert len(set(found)) == len(found) == min(limit, len(allowed))
        assert set(found) <= allowed


def test_k_memories_are_given_where_the_pool_holds_one_documents_passages_only(make_service: MakeService) -> None:
    """The best rows are all passages of one document; the memories behind it are given all the same."""
    service = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=TurnedEncoder()))
    long = "\n\n".join(f"The dog went to park number {n}. " + "The dog ran there. " * 40 for n in range(70))
    add(service, [Item(long, kind="document"), *(Item(f"tea {n}") for n in range(30))])
    assert len(set(rows(ask(service, "the dog ran in the park", limit=20)))) == 20
    service.indexer.apply_all()
    found = ask(service, "the dog ran in the park", limit=20)
    assert (len(set(rows(found))), rows(found)[0]) == (20, 1)
    scores = [hit.score for hit in found.results]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("noise", ["The stapler is out of ink.", "ok", "?", "🎉", "東京", "a " * 2000])
def test_something_irrelevant_takes_nothing_relevant_out_of_a_small_store(service: Service, noise: str) -> None:
    add(service, [Item("Ann's dog is called Rex.", speaker="Ann"), Item("I moved to Porto in May.", speaker="Bob")])
    for _ in range(3):
        add(service, [Item(noise, speaker="Bob"), Item(noise)])
        assert texts(ask(service, "what is the dog called?", limit=1)) == ["Ann's dog is called Rex."]
        assert texts(ask(service, "who moved to Porto?", limit=1)) == ["I moved to Porto in May."]


# --- any store, any query


@FEW
@given(query=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60))
@example("東京")
@example("أين أعيش؟")
@example("मैं कहाँ रहता हूँ?")
@example("🎉👍🏽")
@example("x" * KIB_64)
@example("last week Ann's dog 7 " * 2978)
def test_any_query_of_a_store_of_none_one_or_two(service: Service, query: str) -> None:
    two = Principal("two")
    with service.read_store() as store:
        if not store.counts("two").memories:
            add(service, [Item("dog", speaker="Ann"), Item("🎉 東京")], two)
            add(service, [Item("one")], Principal("one"))
    none = ask(service, query, Principal("none"))
    assert (none.results, none.relevant, none.pending) == ([], False, 0)
    assert texts(ask(service, query, Principal("one"))) == ["one"]
    found = ask(service, query, two)
    assert sorted(texts(found)) == ["dog", "🎉 東京"]
    assert all(0 <= hit.relevance <= 1 and hit.score == hit.score for hit in found.results)


@pytest.mark.slow
def test_ten_thousand_memories_that_say_the_same_are_given_in_order(service: Service) -> None:
    for _ in range(10):
        add(service, [Item("The dog likes the park.", speaker="Ann")] * 1000)
    service.indexer.apply_all()
    found = ask(service, "Ann's dog", limit=100)
    assert rows(found) == list(range(1, 101))
    assert len({(hit.score, hit.relevance) for hit in found.results}) == 1


# --- what is gone


STEPS = ("forget", "restore", "edit", "erase", "apply", "later", "ask")


@FEW
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), min_size=3, max_size=14))
def test_what_is_gone_never_appears_however_far_behind_the_outbox_is(
    service: Service, clock: SetClock, steps: list[tuple[str, int]]
) -> None:
    """Against a plain table of what should be there."""
    who = somebody()
    hours = [None, None, None, 1, 2, 3, None, None]
    start = clock.moment
    written = add(
        service,
        [
            Item(f"dog {n}", expires_at=hour and start + timedelta(hours=hour), scope=Scope("ann", session_id="s"))
            for n, hour in enumerate(hours)
        ],
        who,
    )
    said = {memory.id: memory.item for memory in written}
    hidden: set[str] = set()

    def expected() -> list[str]:
        lasting = (name for name, item in said.items() if not item.expires_at or item.expires_at > clock.moment)
        return sorted(said[name].text for name in lasting if name not in hidden)

    for step, number in steps:
        chosen = written[number].id
        there = chosen in said and not (said[chosen].expires_at and said[chosen].expires_at <= clock.moment)
        if step == "later":
            clock.advance(hours=1)
        elif step == "apply":
            service.indexer.apply(number + 1)
        elif there and step == "erase":
            change(service, "erase", chosen, who=who)
            del said[chosen]
        elif there and step in ("forget", "restore"):
            change(service, "set_state", chosen, "forgotten" if step == "forget" else "active", who=who)
            (hidden.add if step == "forget" else hidden.discard)(chosen)
        elif there and step == "edit" and chosen not in hidden:
            said[chosen] = replace(said[chosen], text=f"{said[chosen].text} again")
            change(service, "update", chosen, {"text": said[chosen].text}, None, who=who)
        assert sorted(texts(ask(service, "dog again", who))) == expected()


# --- times


def dated(service: Service) -> None:
    add(
        service,
        [
            Item(f"We met at {place}.", speaker="Ann", occurred_at=NOW - timedelta(days=day))
            for place, day in (("noon", 1), ("the park", 8), ("the sea", 40), ("Porto", 400))
        ],
    )


@pytest.mark.parametrize("query", ["where did we meet?", "Porto", "who was at the sea with Ann?"])
def test_now_changes_nothing_of_a_query_without_a_date(service: Service, query: str) -> None:
    dated(service)
    plain = figures(ask(service, query))
    for days in (-5000, -40, 1, 9000):
        assert figures(ask(service, query, now=NOW + timedelta(days=days))) == plain


def test_now_is_the_time_from_which_a_date_is_read_and_hides_nothing(service: Service) -> None:
    dated(service)
    for days, first in ((0, 1), (7, None), (-7, 2), (-39, 3), (-399, 4)):
        found = ask(service, "where did we meet yesterday?", now=NOW + timedelta(days=days))
        assert sorted(rows(found)) == [1, 2, 3, 4]
        assert [hit.memory.row for hit in found.results if hit.signals["date"] == 1.0] == ([first] if first else [])
        assert first in (None, rows(found)[0])


@pytest.mark.parametrize(("days", "held"), [(0, [1, 2, 3, 4]), (2, [2, 3, 4]), (20, [3, 4]), (100, [4]), (500, [])])
def test_as_of_says_what_is_searched_and_now_stays_the_clocks(service: Service, days: int, held: list[int]) -> None:
    dated(service)
    as_of = NOW - timedelta(days=days)
    found = ask(service, "where did we meet yesterday?", as_of=as_of)
    assert sorted(rows(found)) == held
    if found.results:
        assert [hit.memory.row for hit in found.results if hit.signals["date"] == 1.0] == [1] * (1 in held)


# --- documents


PLACES = ("Porto", "Lisbon", "Faro", "Braga")


def document(places: Sequence[str]) -> str:
    filler = "The report goes on about the weather of that year and other matters of no weight. " * 12
    return "A title\n\n" + "\n\n".join(
        f"The lighthouse of {place} is on rock {n}. {filler}" for n, place in enumerate(places)
    )


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_the_passage_that_answers_is_cited_by_its_characters(service: Service, place: str, applied: bool) -> None:
    text = document(PLACES)
    add(service, [Item(text, kind="document"), Item("Nothing about that.", kind="document")])
    if applied:
        service.indexer.apply_all()
    first = ask(service, f"lighthouse of {place}").results[0]
    assert first.memory.item.text == text
    assert first.passage is not None
    start, end = first.passage
    assert 0 <= start < end <= len(text)
    assert f"The lighthouse of {place} is on rock" in text[start:end]
    assert sum(f"lighthouse of {other}" in text[start:end] for other in PLACES) < len(PLACES)


@pytest.mark.parametrize("applied_before", [False, True])
@pytest.mark.parametrize("applied_after", [0, 1, 100])
def test_passages_of_an_older_version_never_appear(service: Service, applied_before: bool, applied_after: int) -> None:
    """The new text is shorter: a key that no passage has any more is not read as another one's."""
    old = add(service, [Item(document(PLACES), kind="document"), Item("Other.", kind="document")])[0]
    if applied_before:
        service.indexer.apply_all()
    new = document(("Evora", "Tavira"))
    change(service, "update", old.id, {"text": new}, None)
    if applied_after:
        service.indexer.apply(applied_after)
    for place in PLACES:
        for hit in ask(service, f"lighthouse of {place}").results:
            start, end = hit.passage or (0, len(hit.memory.item.text))
            assert "Other." in hit.memory.item.text or hit.memory.item.text == new
            assert place not in hit.memory.item.text[start:end]
            assert end <= len(hit.memory.item.text)
            assert (hit.features["lexical"] > 0) is ("lighthouse" in hit.memory.item.text[start:end])
    first = ask(service, "lighthouse of Tavira").results[0]
    assert first.passage is not None
    assert "Tavira" in new[first.passage[0] : first.passage[1]]
    with service.read_store() as store:
        known = service.recaller.recall(store, WHO, Question("lighthouse", known_at=NOW - timedelta(seconds=1)))
    assert known.results == []


# --- votes


@FEW
@given(
    told=st.lists(spoken, min_size=2, max_size=8), votes=st.lists(st.booleans(), min_size=1, max_size=6), data=st.data()
)
def test_votes_nudge_within_bounds_and_withdrawn_leave_no_trace(
    service: Service, told: list[Item], votes: list[bool], data: st.DataObject
) -> None:
    who = somebody()
    kept = add(service, told, who)
    chosen = data.draw(st.sampled_from(kept))
    plain = ask(service, "Ann's dog 7", who)
    before = {hit.memory.id: hit for hit in plain.results}
    given_in = [f"rec_{who.namespace}_{number}" for number in range(len(votes))]

    def vote(recall_id: str, useful: bool | None) -> None:
        with service.write_store() as store:
            service.memories.vote(store, who, recall_id, chosen.id, useful)

    for recall_id, useful in zip(given_in, votes, strict=True):
        service.recall_log.add(who.namespace, recall_id, NOW, Scope(), (chosen.id,))
        service.recall_log.flush()
        vote(recall_id, useful)
    after = {hit.memory.id: hit for hit in ask(service, "Ann's dog 7", who).results}
    for name, hit in after.items():
        moved = hit.signals["feedback"] - before[name].signals["feedback"]
        expected = (2 * sum(votes) - len(votes)) / (len(votes) + 2) if name == chosen.id else 0.0
        assert moved == pytest.approx(expected, abs=1e-4)
        assert hit.relevance == before[name].relevance
        assert {**hit.signals, "feedback": 0.0} == {**before[name].signals, "feedback": 0.0}
    for recall_id in given_in:
        vote(recall_id, None)
    assert figures(ask(service, "Ann's dog 7", who)) == figures(plain)


def test_no_number_of_votes_lifts_what_is_far_from_the_query(service: Service) -> None:
    near, far = add(
        service, [Item("Rex the dog likes the park."), Item("Rent."), *(Item(f"tea {n}") for n in range(20))]
    )[:2]
    with service.write_store() as store:
        for number in range(200):
            store.record_recall(WHO.namespace, f"rec_{number}", NOW, Scope(), [far.id])
            service.memories.vote(store, WHO, f"rec_{number}", far.id, True)
    found = ask(service, "does Rex the dog like the park?")
    assert rows(found)[0] == near.row
    assert {hit.memory.id: hit.signals["feedback"] for hit in found.results}[far.id] == pytest.approx(
        200 / 202, abs=1e-4
    )


@pytest.fixture
def processes(make_service: MakeService) -> list[Service]:
    """Two services on one folder stand for two processes, each with a cache that takes in every row."""
    made = [make_service() for _ in range(2)]
    for service in made:
        service.kept = Kept(ColumnCache(direct_rows_max=0))
    return made


@FEW
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), min_size=3, max_size=14))
def test_what_one_process_did_the_other_sees_at_once(processes: list[Service], steps: list[tuple[str, int]]) -> None:
    one, other = processes
    who = somebody()
    written = add(one, [Item(f"dog {n}", scope=Scope("ann", session_id="s")) for n in range(8)], who)
    said = {memory.id: memory.item.text for memory in written}
    hidden: set[str] = set()
    for step, number in steps:
        chosen = written[number].id
        if step == "apply":
            other.indexer.apply(number + 1)
        elif step == "erase" and chosen in said:
            change(other, "erase", chosen, who=who)
            del said[chosen]
        elif step in ("forget", "restore") and chosen in said:
            change(one, "set_state", chosen, "forgotten" if step == "forget" else "active", who=who)
            (hidden.add if step == "forget" else hidden.discard)(chosen)
        elif step in ("edit", "later"):
            fresh = add(other, [Item(f"dog and {step}", scope=Scope("bob"))], who)[0]
            said[fresh.id] = fresh.item.text
        expected = sorted(text for name, text in said.items() if name not in hidden)
        assert sorted(texts(ask(one, "dog", who))) == sorted(texts(ask(other, "dog", who))) == expected


# --- at the same time


def test_recalls_and_writes_at_the_same_time_raise_nothing_and_see_their_own_writes(service: Service) -> None:
    failed: list[BaseException] = []
    seen: list[list[str]] = []

    def work(number: int) -> None:
        who = Principal(f"own-{number % 2}")
        try:
            for step in range(6):
                mine = add(service, [Item(f"dog {number}.{step}", speaker="Ann"), Item("tea")], who)
                found = ask(service, f"Ann's dog {number}.{step}", who)
                seen.append([hit.memory.item.text for hit in found.results if hit.memory.id == mine[0].id])
                change(service, "erase", mine[1].id, who=who)
                assert mine[1].id not in {hit.memory.id for hit in ask(service, "tea", who).results}
                service.indexer.apply(3)
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(seen) == sorted([f"dog {number}.{step}"] for number in range(4) for step in range(6))
