"""How procedures and rationales turned out: what counts, and what it does to their rank."""

from dataclasses import replace
from typing import Any

import pytest

from memory.model import Item, Kind, Memory, Votes
from memory.outcomes import subject_of, tally, worth
from memory.recall import Question
from recalld.bootstrap import Service
from tests.conftest import WHO, SetClock, make_memory

STEPS, SWIPE = [{"action": "tap"}], [{"action": "swipe"}]


def procedure(outcome: Any = None, task: str = "book a table", steps: Any = STEPS) -> dict[str, Any]:
    return {"task": task, "steps": steps} | ({} if outcome is None else {"outcome": outcome})


def history(*frames: dict[str, Any]) -> list[Memory]:
    """Versions, newest first, of frames oldest first."""
    return [make_memory(1, kind="procedure", frame=frame, version=n) for n, frame in enumerate(frames, 1)][::-1]


GOOD, BAD = {"success": True, "at": "2026-03-01T00:00:00Z"}, {"success": False}
AGAIN = BAD | {"at": "2026-03-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("frames", "votes"),
    [
        ([procedure()], Votes(0, 0)),
        ([procedure(GOOD)], Votes(1, 0)),
        ([procedure(), procedure(BAD), procedure(AGAIN), procedure(GOOD)], Votes(1, 2)),
        ([procedure(BAD), procedure(BAD)], Votes(0, 1)),
        ([procedure("went well"), procedure(BAD), procedure("no idea")], Votes(0, 1)),
        ([procedure(BAD), procedure(AGAIN, steps=SWIPE)], Votes(0, 1)),
        ([procedure(BAD), procedure(BAD, steps=SWIPE)], Votes(0, 0)),
        ([procedure(BAD), procedure(steps=SWIPE), procedure(GOOD, steps=SWIPE)], Votes(1, 0)),
    ],
)  # fmt: skip
def test_reports_count_since_the_steps_were_last_changed(frames: list[dict[str, Any]], votes: Votes) -> None:
    assert tally(history(*frames)) == votes


def test_what_a_tally_is_worth_is_bounded_and_grows() -> None:
    told = [worth(Votes(*each)) for each in ((0, 99), (0, 2), (0, 1), (0, 0), (1, 1), (1, 0), (9, 0))]
    assert told == sorted(told)
    assert -1 < told[0] < told[1] < told[2] < told[3] == told[4] == 0 < told[5] < told[6] < 1


@pytest.mark.parametrize(
    ("kind", "frame", "subject"),
    [
        ("procedure", procedure(), "book a table"),
        ("rationale", {"question": "2 + 2?", "reasoning": "count"}, "2 + 2?"),
        ("procedure", None, None),
        ("procedure", {"task": 7}, None),
        ("fact", {"task": "x"}, None),
    ],
)
def test_what_a_memory_is_for(kind: Kind, frame: dict[str, Any] | None, subject: str | None) -> None:
    assert subject_of(Item("x", kind, frame=frame)) == subject


def add(service: Service, text: str, kind: Kind, **frame: Any) -> Memory:
    with service.write_store() as store:
        (kept,) = service.memories.add(store, WHO, [Item(text, kind, frame=frame)])
    return kept


def recalled(service: Service, query: str, kind: Kind, **question: Any) -> list[str]:
    with service.read_store() as store:
        answer = service.recaller.recall(store, WHO, Question(query, kinds=(kind,), **question))
    return [hit.memory.id for hit in answer.results]


def test_a_procedure_is_found_by_its_task_whatever_its_text_says(service: Service) -> None:
    table = add(service, "tap, tap, swipe", "procedure", **procedure(task="book a table at a restaurant"))
    taxi = add(service, "a table of stops", "procedure", **procedure(task="call a taxi to the airport"))
    assert recalled(service, "book a restaurant table", "procedure") == [table.id, taxi.id]
    assert recalled(service, "get a taxi", "procedure") == [taxi.id, table.id]


def test_a_rationale_is_found_by_its_question_the_successful_one_first(service: Service) -> None:
    asked = {"question": "What is 15 percent of 240?"}
    failed = add(service, "divide", "rationale", **asked, reasoning="240 / 15", outcome=BAD)
    good = add(service, "multiply", "rationale", **asked, reasoning="240 * 0.15", outcome=GOOD)
    other = add(service, "rail", "rationale", question="When does the train arrive?", reasoning="add", outcome=GOOD)
    assert recalled(service, "How much is 20 percent of 300?", "rationale") == [good.id, failed.id, other.id]
    assert recalled(service, "when does the train arrive", "rationale")[0] == other.id


def test_each_failure_sinks_a_procedure_and_a_correction_starts_anew(service: Service, clock: SetClock) -> None:
    one = add(service, "first", "procedure", **procedure())
    other = add(service, "second", "procedure", **procedure())
    before = clock.advance(hours=1)

    def report(memory: Memory, **frame: Any) -> None:
        clock.advance(hours=1)
        with service.write_store() as store:
            service.memories.update(store, WHO, memory.id, {"frame": frame}, None)

    report(one, outcome={"success": True})
    assert recalled(service, "book a table", "procedure") == [one.id, other.id]
    for at in ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"):
        report(one, outcome={"success": False, "at": at})
    assert recalled(service, "book a table", "procedure") == [other.id, one.id]
    assert recalled(service, "book a table", "procedure", known_at=before + (clock.moment - before) / 3) == [
        one.id,
        other.id,
    ]
    report(one, steps=SWIPE, outcome=None)
    report(one, outcome={"success": True})
    assert recalled(service, "book a table", "procedure") == [one.id, other.id]


def test_what_is_similar_comes_before_what_turned_out_well(service: Service) -> None:
    mine = add(service, "a", "procedure", **procedure(BAD, task="water the plants in the greenhouse"))
    for number in range(5):
        add(service, "b", "procedure", **procedure(GOOD, task=f"pay the bill number {number}"))
    assert recalled(service, "water the greenhouse plants", "procedure")[0] == mine.id


def test_how_it_turned_out_is_a_signal_that_is_told(service: Service) -> None:
    add(service, "a", "procedure", **procedure(GOOD))
    with service.read_store() as store:
        answer = service.recaller.recall(store, WHO, Question("book a table", kinds=("procedure",), explain=True))
    assert answer.results[0].signals["outcome"] == round(1 / 3, 4)
    assert answer.explain["weights"]["dense"] == 1.0
    assert replace(answer.results[0].memory, row=0).version == 1
