"""Episodes: what the workspace answers beside plain recall over the same texts, at the same token budget.

Two stores hold the same story (`bench.stories`): in *plain* its events are turns, in *workspace* they are episodes with
the frames that an agent would write. Each question goes to the context of both (`memory.recall.context_of`, as
`/v1/context` does). This measures what frames are worth once they are there, not how well they can be read from text.

Scores, after EpBench (F1 over sets of answers, averaged over questions). The answer to a question is the set of things
of the kind asked for (names, places, days, or what happened). No model reads the contexts; two readings are made of
both stores' contexts alike, and a context whose recall says `relevant: false` gives no answer:

- *all of it*: each thing of that kind in the story which the context holds, but for those that the question gives. It
  credits what is there and penalises all else that was packed: what a prompt is filled with.
- *with care*: the same of those lines alone that hold everything that the question gives (names, the place, words of
  the event, and a day within the time asked for); of "latest" questions only of the lines with the latest day. It is
  what a reader makes of it who overlooks nothing and believes every word.

    precision = right / given, recall = right / all answers, F1 = their harmonic mean

Where nothing is the answer, F1 is 1 for none given and 0 otherwise. A day is in a line as `2024-05-03` or `3 May 2024`.
"""

import re
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from bench.instance import Instance, temporary_instance
from bench.metrics import percentiles
from bench.runner import Options, say
from bench.stories import Asked, Story, answers, make, written
from memory.model import Item

EVENTS = (200, 2000)
BUDGET = 1000
NOW = datetime(2029, 1, 1, tzinfo=UTC)
_DAY = re.compile(r"\b\d{4}-\d\d-\d\d\b|\b\d{1,2} [A-Z][a-z]+ \d{4}\b")


def run(options: Options) -> dict[str, Any]:
    """Each story in both stores."""
    return {"budget": BUDGET, "stories": {str(count): measure(count, options) for count in EVENTS}}


def measure(events: int, options: Options) -> dict[str, Any]:
    """F1 and tokens of both stores over all questions of one story."""
    story = make(events, options.seed)
    with temporary_instance(options.encoder) as instance:
        instance.add("plain", items(story, framed=False))
        instance.add("workspace", items(story, framed=True))
        told = {name: _ask(instance, name, story) for name in ("plain", "workspace")}
    results = {name: _summary(story.questions, each) for name, each in told.items()}
    say(f"{events} events: " + ", ".join(f"{name} {found['all']}" for name, found in results.items()))
    return {"events": events, "turns between": len(story.between), "questions": len(story.questions)} | results


def items(story: Story, *, framed: bool) -> list[Item]:
    """The story as items, in the order of time."""
    told = [
        Item(event.text, "episode" if framed else "turn", occurred_at=event.at, frame=event.frame() if framed else None)
        for event in story.events
    ]
    return sorted([*told, *story.between], key=lambda item: (item.occurred_at or NOW, item.text))


def _ask(instance: Instance, namespace: str, story: Story) -> list[dict[str, float]]:
    vocabulary = Vocabulary(story)
    found = []
    for asked in story.questions:
        started = time.perf_counter()
        answer, context = instance.context(namespace, asked.query, NOW, BUDGET)
        took = (time.perf_counter() - started) * 1000
        lines = [block.text for block in context.blocks] if answer.relevant else []
        found.append(
            {
                "f1": f1(vocabulary.read(lines, asked), asked.truth),
                "f1 with care": f1(vocabulary.read(careful(lines, asked), asked), asked.truth),
                "tokens": float(context.tokens),
                "looked up": float(any(hit.event is not None for hit in answer.results)),
                "ms": took,
            }
        )
    return found


class Vocabulary:
    """All things in a story that can be an answer."""

    def __init__(self, story: Story) -> None:
        self._known = {
            wanted: sorted({answer for event in story.events for answer in answers(event, wanted)})
            for wanted in ("actors", "place", "event")
        }

    def read(self, lines: Sequence[str], asked: Asked) -> frozenset[str]:
        """The things of the kind asked for that lines hold, without those that the question gives."""
        text = "\n".join(lines)
        if asked.wanted == "time":
            return frozenset(day.isoformat() for day in days_in(text))
        return frozenset(each for each in self._known[asked.wanted] if each in text) - set(asked.cues)


def careful(lines: Sequence[str], asked: Asked) -> list[str]:
    """The lines that hold all that a question gives; of "latest" ones, those with the latest day."""
    fitting = [line for line in lines if all(cue in line for cue in asked.cues)]
    if asked.days is not None:
        first, last = asked.days
        fitting = [line for line in fitting if any(first <= day <= last for day in days_in(line))]
    if asked.latest:
        newest = max((max(days_in(line), default=date.min) for line in fitting), default=date.min)
        fitting = [line for line in fitting if newest in days_in(line)]
    return fitting


def days_in(text: str) -> set[date]:
    """The days that a text names."""
    found = set()
    for each in _DAY.findall(text):
        day = _WRITTEN.get(each)
        found |= {day} if day is not None else set()
    return found


def f1(given: frozenset[str], truth: frozenset[str]) -> float:
    """Of two sets of answers; see the module's docstring."""
    if not truth or not given:
        return float(given == truth)
    right = len(given & truth)
    return 2 * right / (len(given) + len(truth))


def _summary(questions: Sequence[Asked], found: Sequence[dict[str, float]]) -> dict[str, Any]:
    pairs = list(zip(questions, found, strict=True))
    shapes = dict.fromkeys(asked.shape for asked in questions)
    return {
        "all": _means([each for _, each in pairs]),
        "worded as look-ups expect": _means([each for asked, each in pairs if not asked.free]),
        "worded otherwise": _means([each for asked, each in pairs if asked.free]),
        "looked up": _means([each for each in found if each["looked up"]]),
        "answered by nothing": _means([each for asked, each in pairs if not asked.truth]),
        "by shape": {shape: _means([each for asked, each in pairs if asked.shape == shape]) for shape in shapes},
        "ms": percentiles([each["ms"] for each in found]),
    }


def _means(found: Sequence[dict[str, float]]) -> dict[str, float]:
    names = ("f1", "f1 with care", "tokens", "looked up")
    means = {name: round(sum(each[name] for each in found) / max(len(found), 1), 3) for name in names}
    return {"n": len(found)} | means


_WRITTEN = {
    told: day
    for number in range(date(2024, 1, 1).toordinal(), date(2029, 1, 1).toordinal())
    for day in [date.fromordinal(number)]
    for told in (day.isoformat(), written(day))
}
