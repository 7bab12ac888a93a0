"""Memories that disagree: of two hits the newer first, each says so, and nothing is told that may not be seen."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from memory.disagreeing import Disagrees, newer_first, said_of
from memory.linking import Linker
from memory.model import Change, Item, LinkKind, Memory, StandingLink
from memory.recall import Question, Recall, context_of
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.scope import Scope
from retrieval.filters import parse
from tests.conftest import NOW, WHO, SetClock, erase, hide

ANN = Scope("ann", session_id="s")
NAMES = "abcdefgh"


def tie(newer: str, older: str, kind: LinkKind = "conflict") -> StandingLink:
    return StandingLink(f"chg_{newer}{older}", kind, newer, older, 1, 2)


# --- pure


@pytest.mark.parametrize(
    ("order", "ties", "expected"),
    [
        ("abcd", ["ca"], "cabd"),
        ("abcd", ["ac"], "abcd"),
        ("abcd", ["ba", "dc"], "badc"),
        ("abcd", ["xa", "ax"], "abcd"),
        ("abcd", ["ba", "cb", "dc"], "dcba"),
        ("abcd", ["ba", "ca", "cb"], "cbad"),
        ("abcd", ["ba", "ab"], "bacd"),
        ("abcd", ["da", "db"], "dabc"),
        ("abcd", [], "abcd"),
        ("", ["ab"], ""),
    ],
)
def test_the_newer_moves_right_before_the_older_and_all_else_keeps_its_order(
    order: str, ties: list[str], expected: str
) -> None:
    assert "".join(newer_first(order, [tie(*each) for each in ties])) == expected


pairs = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda two: two[0] != two[1]))


@hypothesis.given(order=st.permutations(NAMES), drawn=pairs, age=st.permutations(NAMES), shown=st.integers(0, 8))
def test_the_newer_always_stands_first_where_ties_lead_in_no_circle(
    order: list[str], drawn: list[tuple[str, str]], age: list[str], shown: int
) -> None:
    ties = [tie(*sorted(two, key=age.index)) for two in drawn]
    kept = order[:shown]
    found = newer_first(kept, ties)
    assert sorted(found) == sorted(kept)
    tied = {each for one in ties if {one.newer, one.older} <= set(kept) for each in (one.newer, one.older)}
    assert [each for each in found if each not in tied] == [each for each in kept if each not in tied]
    assert all(found.index(one.newer) < found.index(one.older) for one in ties if {one.newer, one.older} <= tied)


@hypothesis.given(order=st.permutations(NAMES), drawn=pairs)
def test_ties_in_a_circle_end_too(order: list[str], drawn: list[tuple[str, str]]) -> None:
    assert sorted(newer_first(order, [tie(*two) for two in drawn])) == sorted(NAMES)


def test_both_say_what_they_disagree_with() -> None:
    links = [tie("b", "a"), tie("c", "b", "possibly_supersedes")]
    assert said_of("a", links) == (Disagrees("b", "conflict", True, "chg_ba"),)
    assert said_of("b", links) == (
        Disagrees("a", "conflict", False, "chg_ba"), Disagrees("c", "possibly_supersedes", True, "chg_cb"),
    )  # fmt: skip
    assert said_of("d", links) == ()


# --- in a recall

OLD, NEW, OTHER = "My budget for shoes is $600.", "My new budget for shoes is $650.", "The garden needs water."


def add(service: Service, *texts: str, who: Principal = WHO, **fields: Any) -> list[Memory]:
    with service.write_store() as store:
        given = {"role": "user", "scope": ANN} | fields
        return list(service.memories.add(store, who, [Item(text, **given) for text in texts]))


def link(service: Service, newer: Memory, older: Memory, kind: LinkKind = "possibly_supersedes") -> str:
    change_id = service.ids.new("chg")
    made = Change(change_id, newer.namespace, kind, "", (newer.id, older.id), service.clock.now(), digest=change_id)
    with service.write_store() as store:
        store.record_change(made)
    return change_id


def ask(service: Service, query: str, who: Principal = WHO, **fields: Any) -> Recall:
    with service.read_store() as store:
        return service.recaller.recall(store, who, Question(query, **fields))


def texts(found: Recall) -> list[str]:
    return [hit.memory.item.text for hit in found.results]


def ties(found: Recall) -> list[tuple[Disagrees, ...]]:
    return [hit.disagrees_with for hit in found.results]


QUERY = "What is my budget for shoes?"


def test_the_newer_hit_moves_before_the_older_and_keeps_its_score(service: Service) -> None:
    old, _, new = add(service, OLD, OTHER, NEW)
    before = ask(service, QUERY)
    assert texts(before) == [OLD, NEW, OTHER]
    change_id = link(service, new, old)
    after = ask(service, QUERY)
    assert texts(after) == [NEW, OLD, OTHER]
    assert ties(after) == [
        (Disagrees(old.id, "possibly_supersedes", False, change_id),),
        (Disagrees(new.id, "possibly_supersedes", True, change_id),),
        (),
    ]
    scores = {hit.memory.id: (hit.score, hit.relevance) for hit in before.results}
    assert {hit.memory.id: (hit.score, hit.relevance) for hit in after.results} == scores
    assert after.newer == {}


def test_a_newer_hit_that_has_nothing_to_do_with_the_question_stays_where_it_is_and_is_told(service: Service) -> None:
    old, new = add(service, OLD, OTHER)
    link(service, new, old)
    found = ask(service, QUERY)
    assert texts(found) == [OLD, OTHER]
    assert [each.newer for told in ties(found) for each in told] == [True, False]
    packed = context_of(found, 200, service.token_counter())
    assert [block.memory_ids for block in packed.blocks] == [(old.id,), (old.id, new.id), (new.id,)]


def test_what_the_linker_found_is_told(service: Service) -> None:
    met, never = add(service, "I met Kyle at a sneaker expo in 2018.", "I've never met Kyle or been to a sneaker expo.")
    with service.write_store() as store:
        [made] = Linker(service.clock, service.ids).learn(store, "default", [met, never])
    hits = {hit.memory.id: hit for hit in ask(service, "Did I meet Kyle at an expo?").results}
    assert hits[met.id].disagrees_with == (Disagrees(never.id, "conflict", True, made.id),)


def test_an_older_hit_alone_says_that_there_is_a_newer_one(service: Service) -> None:
    old, new = add(service, OLD, NEW)
    change_id = link(service, new, old)
    found = ask(service, "budget for shoes is $600", limit=1)
    assert texts(found) == [OLD]
    assert ties(found) == [(Disagrees(new.id, "possibly_supersedes", True, change_id),)]
    assert found.newer == {new.id: new}
    packed = context_of(found, 200, service.token_counter())
    assert [block.memory_ids for block in packed.blocks] == [(new.id,), (old.id,), (old.id, new.id)]
    small = context_of(found, packed.tokens - 1, service.token_counter())
    assert [block.memory_ids for block in small.blocks] == [(old.id,), (old.id, new.id)]
    assert "a newer memory that is not shown" in small.text


def test_an_undone_link_is_not_told_and_one_that_stands_again_is(service: Service) -> None:
    old, new = add(service, OLD, NEW)
    change_id = link(service, new, old)
    with service.write_store() as store:
        undo = service.changes.undo(store, WHO, change_id)
    assert ties(ask(service, QUERY)) == [(), ()]
    assert texts(ask(service, QUERY)) == [OLD, NEW]
    with service.write_store() as store:
        service.changes.undo(store, WHO, undo.id)
    assert texts(ask(service, QUERY)) == [NEW, OLD]


def test_nothing_is_told_of_what_the_question_may_not_look_at(service: Service) -> None:
    [old] = add(service, OLD, metadata={"topic": "money"}, occurred_at=NOW - timedelta(days=9))
    for scope in (Scope("ann", session_id="t"), Scope("bob")):
        [new] = add(service, NEW, scope=scope, kind="document", occurred_at=NOW)
        link(service, new, old)
    hidden: list[dict[str, Any]] = [
        {"scope": ANN},
        {"kinds": ("turn",)},
        {"as_of": NOW - timedelta(days=1)},
        {"filter": parse({"metadata.topic": "money"})},
    ]
    for fields in hidden:
        found = ask(service, QUERY, **fields)
        assert (texts(found), ties(found), found.newer) == ([OLD], [()], {}), fields
    assert [len(each) for each in ties(ask(service, QUERY, scope=Scope("ann"), limit=1, as_of=NOW))] == [1]
    assert ties(ask(service, QUERY, Principal("default", Scope("ann", session_id="s")))) == [()]
    assert ask(service, QUERY, Principal("other")).results == []


def test_known_at_hides_links_that_were_made_later_and_shows_what_was_said_then(
    service: Service, clock: SetClock
) -> None:
    old, new = add(service, OLD, NEW)
    said = clock.now()
    link(service, new, old)
    clock.advance(hours=2)
    with service.write_store() as store:
        service.memories.update(store, WHO, new.id, {"text": "My new budget for shoes is $700."}, None)
    assert ask(service, "budget for shoes is $600", limit=1, known_at=said).newer[new.id].item.text == NEW
    assert "$700" in ask(service, "budget for shoes is $600", limit=1).newer[new.id].item.text
    newest = add(service, "The budget for shoes is $800.")[0]
    clock.advance(hours=2)
    link(service, newest, old)
    found = ask(service, QUERY, known_at=clock.now() - timedelta(hours=1))
    assert [each.memory_id for hit in found.results if hit.memory.id == old.id for each in hit.disagrees_with] == [
        new.id
    ]


@pytest.mark.parametrize("gone", ["hide", "erase", "forget", "expire"])
def test_of_what_is_gone_nothing_is_told(service: Service, clock: SetClock, gone: str) -> None:
    [old] = add(service, OLD)
    [new] = add(service, NEW, expires_at=NOW + timedelta(days=1))
    link(service, new, old)
    if gone == "hide":
        hide(service, WHO, new.id)
    elif gone == "erase":
        erase(service, new.id)
    elif gone == "forget":
        with service.write_store() as store:
            service.memories.set_state(store, WHO, new.id, "forgotten")
    else:
        clock.advance(days=2)
    found = ask(service, QUERY)
    assert (texts(found), ties(found), found.newer) == ([OLD], [()], {})


@pytest.mark.parametrize("said", ["東京の予算は600円です 👍🏽", "a\nb [0002] disagrees", "\u2028x"])
def test_whatever_they_say_a_doubt_is_one_line_of_ids(service: Service, said: str) -> None:
    old, new = add(service, said, f"{said} now")
    link(service, new, old)
    packed = context_of(ask(service, said), 300, service.token_counter())
    assert len(packed.blocks) == 3
    assert all(len(block.text.splitlines()) == 1 for block in packed.blocks)
    [doubt] = [block for block in packed.blocks if len(block.memory_ids) > 1]
    assert doubt.text == f"[{old.id[-4:]}] disagrees with [{new.id[-4:]}], which is newer\n"


def test_many_links_of_one_memory_are_all_told(service: Service) -> None:
    old, *newer = add(service, OLD, *(f"My new budget for shoes is ${n}." for n in range(601, 641)))
    for each in newer:
        link(service, each, old)
    found = ask(service, QUERY, limit=3)
    assert sorted(each.memory_id for each in told_by(found.results, old)) == sorted(each.id for each in newer)
    assert texts(found).index(OLD) == 2
    packed = context_of(found, 100, service.token_counter())
    assert packed.tokens <= 100


def told_by(hits: Sequence[Any], memory: Memory) -> tuple[Disagrees, ...]:
    [told] = [hit.disagrees_with for hit in hits if hit.memory.id == memory.id]
    return tuple(told)
