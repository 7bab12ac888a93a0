"""The stories and their scores: seeded, answered by the frames alone, and scored as the docstring says."""

from datetime import date

import pytest

from bench import episodes
from bench.episodes import Vocabulary, careful, days_in, f1, items, measure
from bench.runner import Options
from bench.stories import SHAPES, Asked, answers, make
from memory.ingest import check
from memory.workspace import event_of, fold
from recalld.core.config import Limits
from tests.conftest import NOW, make_memory


def asked(**told: object) -> Asked:
    given = {"query": "?", "shape": "", "wanted": "actors", "free": False, "latest": False, "cues": ("Blue Café",)}
    return Asked(**({"days": None, "truth": frozenset()} | given | told))  # type: ignore[arg-type]


def test_a_story_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert make(40, 1) == make(40, 1)
    assert make(40, 1).events != make(40, 2).events


def test_frames_say_exactly_what_happened() -> None:
    story = make(60, 1)
    told = items(story, framed=True)
    check(told, Limits.model_validate({}))
    memories = [make_memory(n, item.text, kind=item.kind, frame=item.frame) for n, item in enumerate(told)]
    workspace = fold(event for memory in memories if (event := event_of(memory)) is not None)
    found = [(e.start.date(), e.place, {a.name for a in e.actors}, f"{e.action} {e.object}") for e in workspace.events]
    for event in story.events:
        assert (event.day, event.place, set(event.actors), event.content) in found
        assert all(name in event.text for name in (event.place, *event.actors, event.content))


def test_questions_have_all_answers_and_nothing_else() -> None:
    story = make(60, 1)
    assert {each.shape for each in story.questions} == set(SHAPES)
    assert any(not each.truth for each in story.questions)
    for each in story.questions:
        found = [e for e in story.events if {*each.cues} <= {*e.actors, e.place, e.content}]
        if each.days is not None:
            found = [e for e in found if each.days[0] <= e.day <= each.days[1]]
        if each.latest:
            found = [e for e in found if e.day == max(other.day for other in found)]
        assert each.truth == {answer for e in found for answer in answers(e, each.wanted)} - {*each.cues}
        assert all(cue.split()[-1] in each.query for cue in each.cues)


@pytest.mark.parametrize(
    ("given", "truth", "score"),
    [
        ("ab", "ab", 1.0),
        ("ab", "a", 2 / 3),
        ("a", "ab", 2 / 3),
        ("c", "ab", 0.0),
        ("", "a", 0.0),
        ("", "", 1.0),
        ("a", "", 0.0),
    ],
)
def test_f1_of_sets(given: str, truth: str, score: float) -> None:
    assert f1(frozenset(given), frozenset(truth)) == pytest.approx(score)


LINES = (
    "[0001] 2024-05-03: Ann Ito was at the Blue Café.",
    "[0002] 2024-05-04: On 5 May 2024 Bruno Ito came to the Blue Café.",
    "[0003] 2024-05-04: Clara Ito was at the Old Mill.",
)


def test_a_careful_reading_takes_only_the_lines_that_hold_what_is_given() -> None:
    assert careful(LINES, asked()) == list(LINES[:2])
    assert careful(LINES, asked(days=(date(2024, 5, 4), date(2024, 5, 9)))) == [LINES[1]]
    assert careful(LINES, asked(latest=True)) == [LINES[1]]
    assert careful(LINES, asked(cues=("Red Café",))) == []


def test_what_a_context_holds_of_a_kind_is_read() -> None:
    story = make(60, 1)
    event = story.events[0]
    vocabulary = Vocabulary(story)
    assert vocabulary.read([event.text], asked(cues=())) >= set(event.actors)
    assert vocabulary.read([event.text], asked(cues=event.actors, wanted="place")) >= {event.place}
    assert vocabulary.read([event.text], asked(cues=(event.actors[0],))) >= {*event.actors[1:]}
    assert vocabulary.read(LINES, asked(wanted="time")) == {"2024-05-03", "2024-05-04", "2024-05-05"}
    assert days_in("on 31 June 2024") == set()


def test_the_workspace_answers_with_fewer_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episodes, "make", lambda events, seed: make(events, seed, a_shape=3))
    told = measure(60, Options(encoder="hash"))
    assert told["questions"] == 3 * len(SHAPES)
    plain, workspace = (told[name]["worded as look-ups expect"] for name in ("plain", "workspace"))
    assert workspace["f1"] > plain["f1"]
    assert workspace["tokens"] < plain["tokens"] / 2
    assert (plain["looked up"], told["workspace"]["all"]["n"]) == (0.0, told["questions"])
    assert NOW.year < episodes.NOW.year
