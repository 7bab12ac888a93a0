"""What is looked up in the workspace, and what is left to recall."""

from datetime import UTC, datetime

import pytest

from memory.lookups import Answer, Lookups, asked
from memory.verbs import base
from memory.workspace import Workspace, fold
from tests.memory.test_workspace import actors, episode, folded

TODAY = datetime(2026, 6, 10, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def story() -> Workspace:
    return folded(
        episode(1, actors=actors("Ann Lee", "Bob"), action="painted", object="a mural", place="Blue Café",
                start="2026-05-03T10:00:00Z"),
        episode(2, actors=actors("Ann Moss"), action="bought", object="a canoe", place="Lisbon Harbour",
                start="2026-05-03T23:30:00-05:00"),
        episode(3, actors=actors("Ann Lee"), action="gave a talk", place="Porto", start="2026-06-01T10:00:00Z"),
        episode(4, actors=actors("Bob", "Zoë"), action="met", object="the mayor", place="Porto",
                start="2026-06-20T10:00:00Z"),
        episode(5, actors=actors("user"), action="planted", object="a tree", start="2026-06-09T00:00:00+09:00"),
        episode(6, actors=actors("Bob"), action="slept", place="Porto"),
        episode(7, actors=actors("Bob"), action="rowed", place="Porto", start="2026-06-05T10:00:00Z",
                end="2026-06-07T10:00:00Z"),
    )  # fmt: skip


def look_up(query: str, workspace: Workspace, now: datetime) -> Answer | None:
    question = asked(query, now)
    return None if question is None else Lookups(workspace).answer(question)


def numbers(answer: Answer | None) -> list[int] | None:
    """The numbers of the episodes that answer; None: it is no look-up."""
    return None if answer is None else [int(event.memory_ids[0][4:]) for event in answer.events]


@pytest.mark.parametrize(
    ("question", "wanted", "found"),
    [
        ("Where was Ann Lee on the 3rd of May?", "place", [1]),
        ("Where was Ann on May 3rd 2026?", "place", [1, 2]),
        ("where was ann lee?", "place", [1, 3]),
        ("Where is Ann Lee now?", "place", [3]),
        ("Who was at the Blue Café on 3 May 2026?", "actors", [1]),
        ("Who was with Ann Lee at the Blue Cafe?", "actors", [1]),
        ("Who painted a mural in May?", "actors", [1]),
        ("Which people went to Porto?", "actors", [6, 3, 7, 4]),
        ("What did Bob do last?", "event", [7]),
        ("What did Bob do first?", "event", [1]),
        ("What did Ann Moss buy?", "event", [2]),
        ("When did Ann Moss buy the canoe?", "time", [2]),
        ("When was Ann Lee last in Porto?", "time", [3]),
        ("On which days was Bob in Porto?", "time", [7, 4]),
        ("List all places where Bob was", "place", [6, 1, 7, 4]),
        ("What did I do yesterday?", "event", [5]),
        ("What happened in Porto before 3 June?", "event", [3]),
        ("What happened in Porto after 1 June 2026?", "event", [7, 4]),
        ("What did Bob do on 6 June?", "event", [7]),
        ("What did Bob do on Saturday?", "event", [7]),
        ("Where was Bob on 4 May?", "place", []),
        ("What did Ann Lee and Bob do together?", "event", [1]),
        ("Tell me where Bob was in May", "place", [1]),
    ],
)
def test_a_question_all_of_which_is_understood_is_looked_up(
    story: Workspace, question: str, wanted: str, found: list[int]
) -> None:
    answer = look_up(question, story, TODAY)
    assert numbers(answer) == found
    assert answer is not None
    assert answer.wanted == wanted


@pytest.mark.parametrize(
    "question",
    [
        "Where was Zed on the 3rd of May?",
        "Why did Ann Lee paint a mural?",
        "How often was Bob in Porto?",
        "Who was not in Porto?",
        "Who was in Porto or Lisbon Harbour?",
        "Where was Bob after Ann Lee painted a mural?",
        "What did she do last?",
        "What happened?",
        "Who was there?",
        "Was Bob in Porto?",
        "Bob Porto",
        "What is the weather like in Porto?",
        "Where did Bob's cousin work?",
        "",
        "?",
        "Where was Bob? " + "Where was Bob? " * 40,
    ],
)
def test_one_word_too_many_and_it_is_left_to_recall(story: Workspace, question: str) -> None:
    assert look_up(question, story, TODAY) is None


def test_what_begins_later_is_not_the_last(story: Workspace) -> None:
    later = datetime(2026, 7, 1, tzinfo=UTC)
    assert numbers(look_up("What did Bob do last?", story, later)) == [4]
    assert numbers(look_up("What did Bob do last?", story, datetime(2026, 1, 1, tzinfo=UTC))) == []


def test_a_day_is_that_of_the_place(story: Workspace) -> None:
    assert numbers(look_up("When was Ann Moss at Lisbon Harbour on 3 May?", story, TODAY)) == [2]
    assert numbers(look_up("When was Ann Moss at Lisbon Harbour on 4 May?", story, TODAY)) == []


def test_of_an_event_with_an_unknown_time_no_date_is_asked() -> None:
    story = folded(episode(1, actors=actors("Bob"), action="slept", place="Porto"))
    assert numbers(look_up("Where was Bob last?", story, TODAY)) == [1]
    assert numbers(look_up("When did Bob sleep?", story, TODAY)) == []
    assert numbers(look_up("Where was Bob in March?", story, TODAY)) == []


def test_whoever_asks_is_an_actor_only_where_the_workspace_has_one() -> None:
    story = folded(episode(1, actors=actors("Bob"), action="slept", place="Porto"))
    assert look_up("Where was I last?", story, TODAY) is None
    assert look_up("Where was Bob?", fold([]), TODAY) is None


def test_names_in_any_script_are_found() -> None:
    story = folded(
        episode(1, actors=actors("李明"), action="visited", place="東京駅", start="2026-05-03T10:00:00+09:00"),
        episode(2, actors=actors("Søren Ångström"), action="sang", place="Żory", start="2026-05-04T10:00:00Z"),
    )
    assert numbers(look_up("Where was 李明 on 3 May 2026?", story, TODAY)) == [1]
    assert numbers(look_up("where was søren ångström last?", story, TODAY)) == [2]


def test_forms_of_a_verb_are_one_word() -> None:
    assert [base(term) for term in ("bought", "went", "taught", "mural")] == ["buy", "go", "teach", "mural"]
