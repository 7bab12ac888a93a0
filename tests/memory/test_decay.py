"""What fades: salience is bounded and monotone, a rank moves within bounds, and what is dropped can be brought back."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.decay import NEVER_USED, DecaySettings, rank_nudge, salience, use_share
from memory.model import Change, ChangeSelection, Deriver, Item, Memory, Selection, Uses, Votes
from memory.recall import Question, Recall
from recalld.bootstrap import Service
from recalld.core.errors import Conflict
from recalld.core.scope import EVERYTHING, Scope
from retrieval.feedback import nudge
from tests.conftest import NOW, WHO, SetClock, Stores, make_memory

EVERY = ("active", "superseded", "forgotten")
ages = st.floats(0, 4000)
counts = st.integers(0, 10_000)
half_lives = st.floats(0.5, 2000).map(lambda days: timedelta(days=days))


def ago(days: float) -> timedelta:
    return timedelta(days=days)


uses = st.builds(lambda shown, age: Uses(shown, NOW - ago(age)), counts, ages)
votes = st.builds(Votes, counts, counts)


@given(age=ages, used=uses, voted=votes, half_life=half_lives)
def test_salience_is_bounded(age: float, used: Uses, voted: Votes, half_life: timedelta) -> None:
    assert 0 <= salience(NOW - ago(age), used, voted, NOW, half_life) <= 1
    assert 0 <= use_share(used, NOW, half_life) < 1


@given(age=ages, used=uses, voted=votes, half_life=half_lives, more=st.integers(1, 99), sooner=st.floats(0, 4000))
def test_salience_never_falls_with_votes_for_it_uses_or_a_later_time(
    age: float, used: Uses, voted: Votes, half_life: timedelta, more: int, sooner: float
) -> None:
    def worth(since: float = age, by: Uses = used, votes: Votes = voted, later: float = 0.0) -> float:
        return salience(NOW - ago(since), by, votes, NOW + ago(later), half_life)

    given_ = worth()
    assert worth(by=Uses(used.shown + more, used.last_at)) >= given_ - 1e-12
    assert worth(by=Uses(used.shown, min(NOW, used.last_at + ago(sooner)))) >= given_ - 1e-12
    assert worth(since=max(0.0, age - sooner)) >= given_ - 1e-12
    assert worth(votes=Votes(voted.useful + more, voted.useless)) >= given_ - 1e-12
    assert worth(votes=Votes(voted.useful, voted.useless + more)) <= given_ + 1e-12
    assert worth(later=sooner) <= given_ + 1e-12


@given(used=uses, voted=votes, half_life=half_lives, most=st.floats(0, 0.25))
def test_a_rank_is_moved_by_use_within_its_bound_and_by_nothing_not_at_all(
    used: Uses, voted: Votes, half_life: timedelta, most: float
) -> None:
    by_votes = nudge(voted.useful, voted.useless)
    assert by_votes <= rank_nudge(used, voted, NOW, half_life, most) <= by_votes + most
    assert rank_nudge(NEVER_USED, Votes(), NOW, half_life, most) == 0.0


def test_half_of_the_recency_is_gone_after_the_half_life_of_its_kind() -> None:
    settings = DecaySettings(half_life_days={"fact": 10.0}, other_days=40.0)
    for kind, days in (("fact", 10.0), ("summary", 40.0)):
        half_life = settings.half_life(kind)
        fresh, old = (salience(NOW - ago(age), NEVER_USED, Votes(), NOW, half_life) for age in (0, days))
        assert fresh == pytest.approx((1 + 0.5) / 3)
        assert old == pytest.approx((0.5 + 0.5) / 3)


def test_both_stores_tell_uses_and_what_nothing_rests_on(stores: Stores) -> None:
    source = make_memory(1)
    facts = Deriver("facts", "1")
    rested, loose, gone = (
        make_memory(n, kind="fact", deriver=facts, sources=(source.id,), state=state)
        for n, state in ((2, "active"), (3, "superseded"), (4, "forgotten"))
    )
    profile = make_memory(5, kind="profile", deriver=Deriver("profile", "1"), sources=(rested.id,))
    other = make_memory(6, namespace="other", kind="fact", deriver=facts)
    with stores.write() as store:
        rows = [memory.row for memory in store.insert("default", [source, rested, loose, gone, profile])]
        [strange] = store.insert("other", [other])
        for number, ids in enumerate(([source.id, loose.id], [loose.id], [other.id])):
            store.record_recall("default", f"rec_{number:026d}", NOW + ago(number), EVERYTHING, ids)
    with stores.write() as store:
        assert (store.derived_count("default"), store.derived_count("nobody's")) == (3, 0)
        assert [(each.id, each.row, each.kind, each.since) for each in store.loose("default")] == [
            (loose.id, rows[2], "fact", loose.recorded_at)
        ]
        assert store.uses("default", [*rows, strange.row]) == {
            rows[0]: Uses(1, NOW),
            rows[2]: Uses(2, NOW + ago(1)),
        }
        assert store.uses("default", []) == {}


# Dropping, and bringing back


def say(service: Service, *texts: str, session: str = "s") -> None:
    with service.write_store() as store:
        scope = Scope("ann", None, session)
        items = [Item(text, role="user", scope=scope, occurred_at=service.clock.now()) for text in texts]
        service.memories.add(store, WHO, items)


def without_profiles(service: Service) -> None:
    """Nothing rests on the facts."""
    service.consolidator._pictures = ()
    service.changes._pictures = ()


def consolidate(service: Service, scope: Scope = EVERYTHING) -> dict[str, object]:
    """A consolidation as a job, to its end; returns its result."""
    with service.write_work() as work:
        asked = {} if scope == EVERYTHING else {"scope": scope.given()}
        job_id = work.jobs.put("default", "consolidate", asked)
    runner = service.job_runner()
    for _ in range(10):
        runner.advance()
    with service.read_work() as work:
        job = next(each for each in work.jobs.select("default", 50) if each.id == job_id)
    assert job.state == "succeeded"
    return dict(job.result)


def told(service: Service, *states: str) -> list[str]:
    """The texts of derived facts, oldest first."""
    wanted = Selection(kinds=("fact",), states=states or ("active",))  # type: ignore[arg-type]
    with service.read_store() as store:
        return [each.item.text for each in store.select("default", wanted, service.clock.now(), 99)][::-1]


def drops(service: Service) -> list[Change]:
    with service.read_store() as store:
        return store.changes("default", 99, ChangeSelection(actions=("decay",)))


LOVES = ("I love sushi.", "I love tea.", "I love jazz.")


@pytest.fixture
def crowded(make_service: Callable[..., Service], clock: SetClock) -> Service:
    """Three facts where two may be kept, and no profile that would rest on them."""
    service = make_service(derived_max=2)
    without_profiles(service)
    for text in LOVES:
        say(service, text, session=text[:9])
        clock.advance(days=1)
        consolidate(service)
    return service


def test_what_is_least_salient_is_dropped_with_a_reason_and_sources_stay(crowded: Service) -> None:
    assert told(crowded) == ["user loves tea", "user loves jazz"]
    assert told(crowded, "forgotten") == ["user loves sushi"]
    [drop] = drops(crowded)
    assert (drop.action, drop.reason) == (
        "decay",
        "the least salient of what was derived, beyond the most that is kept",
    )
    with crowded.read_store() as store:
        [memory] = store.get("default", drop.memory_ids)
        turns = store.select("default", Selection(kinds=("turn",)), NOW, 9)
    assert memory.item.text == "user loves sushi"
    assert [turn.item.text for turn in turns] == list(LOVES[::-1])
    assert consolidate(crowded).get("dropped", 0) == 0


def test_what_is_used_or_found_useful_outlives_what_is_newer(
    make_service: Callable[..., Service], clock: SetClock
) -> None:
    service = make_service(derived_max=2)
    without_profiles(service)
    say(service, *LOVES[:2])
    consolidate(service)
    with service.write_store() as store:
        sushi = next(f for f in store.select("default", Selection(kinds=("fact",)), NOW, 9) if "sushi" in f.item.text)
        store.record_recall("default", "rec_x", clock.moment, EVERYTHING, [sushi.id])
        store.vote("default", "rec_x", sushi.id, True, clock.moment)
    clock.advance(days=1)
    say(service, LOVES[2], session="t")
    consolidate(service)
    assert told(service) == ["user loves sushi", "user loves jazz"]


def test_what_was_dropped_is_not_derived_again_and_an_undo_brings_it_back_for_good(crowded: Service) -> None:
    say(crowded, "I love sushi, as you know.", session="again")
    consolidate(crowded)
    assert "user loves sushi" not in told(crowded)
    first = drops(crowded)[-1]
    with crowded.write_store() as store:
        undo = crowded.changes.undo(store, WHO, first.id)
    assert "user loves sushi" in told(crowded)
    consolidate(crowded)
    assert "user loves sushi" in told(crowded)
    assert len(told(crowded)) == 2, "another one went in its place"
    with crowded.write_store() as store:
        with pytest.raises(Conflict):
            crowded.changes.undo(store, WHO, first.id)
        crowded.changes.undo(store, WHO, undo.id)
    assert "user loves sushi" not in told(crowded)


def test_what_was_dropped_and_erased_by_retention_is_not_derived_again(crowded: Service, clock: SetClock) -> None:
    clock.advance(days=40)
    with crowded.write_work() as work:
        work.jobs.put("default", "retention", {})
    runner = crowded.job_runner()
    for _ in range(5):
        runner.advance()
    assert told(crowded, *EVERY) == ["user loves tea", "user loves jazz"]
    with crowded.write_store() as store:
        turns = store.select("default", Selection(kinds=("turn",)), clock.moment, 9)
        crowded.knowledge.learn(store, "default", turns)
        crowded.knowledge.learn(store, "default", turns)
    assert told(crowded) == ["user loves tea", "user loves jazz"]
    assert len(drops(crowded)) == 1, "it was decided once"


def test_a_slot_keeps_its_order_without_the_value_that_was_dropped(
    make_service: Callable[..., Service], clock: SetClock
) -> None:
    service = make_service(derived_max=2)
    without_profiles(service)
    for number, text in enumerate(("I live in Porto.", "I live in Lisbon.", "I live in Rome.")):
        clock.advance(days=30)
        say(service, text, session=f"s{number}")
        consolidate(service)
    assert told(service, "forgotten") == ["user lives in Porto"]
    consolidate(service)
    assert told(service) == ["user lives in Rome"]
    assert told(service, "superseded") == ["user lives in Lisbon"]
    with service.write_store() as store:
        service.changes.undo(store, WHO, drops(service)[0].id)
    assert told(service, "superseded") == ["user lives in Porto", "user lives in Lisbon"]


def test_a_part_of_the_namespace_drops_nothing_and_a_profile_is_never_dropped(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(derived_max=0)
    say(service, *LOVES)
    assert consolidate(service, Scope("ann")).get("dropped", 0) == 0
    assert consolidate(service).get("dropped", 0) == 0, "the profile rests on them"
    assert len(told(service)) == 3


def test_a_summary_that_was_dropped_stays_so(make_service: Callable[..., Service]) -> None:
    service = make_service(derived_max=0)
    say(service, *(f"The harbour of town number {n} has a lighthouse and {n} boats." for n in range(9)))
    consolidate(service)
    consolidate(service)

    def summaries(*states: str) -> list[Memory]:
        wanted = Selection(kinds=("summary",), states=states)  # type: ignore[arg-type]
        with service.read_store() as store:
            return store.select("default", wanted, NOW, 9)

    assert (len(summaries("active")), len(summaries("forgotten"))) == (0, 1)
    with service.write_store() as store:
        store.erase("default", [summaries("forgotten")[0].id])
    planned = service.consolidator.plan("default", None, EVERYTHING, [Scope("ann", None, "s")])
    with service.write_store() as store:
        service.consolidator.write(store, "default", planned)
    assert summaries(*EVERY) == []


# In a ranking


def ask(service: Service, query: str) -> Recall:
    with service.read_store() as store:
        return service.recaller.recall(store, WHO, Question(query, limit=10))


def test_without_uses_and_votes_a_ranking_is_exactly_what_it_was(make_service: Callable[..., Service]) -> None:
    plain, fading = make_service(), make_service(recall_use_max=0.25)
    say(
        plain, *(f"The {word} boat of {name} lies in the harbour." for word in ["old", "new", "red"] for name in "ABCD")
    )
    plain.indexer.apply_all()
    for query in ("Where is the red boat?", "harbour", "What does B own?"):
        one, other = (
            [(hit.memory.id, hit.score, hit.signals) for hit in ask(s, query).results] for s in (plain, fading)
        )
        assert one == other
        assert len(one) == 10


def test_use_moves_a_rank_within_its_bound_and_only_where_it_is_set(make_service: Callable[..., Service]) -> None:
    plain, fading = make_service(), make_service(recall_use_max=0.25)
    say(plain, *(f"The {word} boat lies in the harbour." for word in ("old", "new", "red", "blue")))
    plain.indexer.apply_all()
    before = {hit.memory.id: hit.score for hit in ask(plain, "boat in the harbour").results}
    last = list(before)[-1]
    with plain.write_store() as store:
        for number in range(50):
            store.record_recall("default", f"rec_{number}", NOW, EVERYTHING, [last])
    after = {hit.memory.id: hit.score for hit in ask(plain, "boat in the harbour").results}
    moved = {hit.memory.id: hit.score for hit in ask(fading, "boat in the harbour").results}
    assert after == before
    weight = fading.recaller._pipeline.settings.people.feedback
    assert 0.2 * weight < moved[last] - before[last] <= 0.25 * weight
