"""Long stories of events with exact frames, and questions whose answers follow from the frames alone.

After EpBench (Huet et al., "Episodic Memories Generation and Evaluation Benchmark for Large Language Models", ICLR
2025): events of (time, place, actors, content) from small universes, so that names, places and days repeat; questions
by which of the four are given and which is asked for, with "all" and "latest", and some that nothing answers. Seeded:
the same seed gives the same story.

What makes it hard on purpose: first names are shared by several people, several events share a place or a day, a third
of the texts say the day in words only, a sixth mention somebody or some place that was not there, and turns between the
events speak of the same names without telling an event. A third of the questions is worded in other ways than the
look-ups of `memory.lookups` were written for.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from memory.ingest import date_words
from memory.lookups import Wanted
from memory.model import Item

_FIRST = "Ann Bruno Clara David Elena Felix Grace Hugo Ines Jonas Kira Leo Mara Nils Olga Paul Rosa Simon Tara Victor"
_LAST = "Almeida Brandt Costa Dahl Evans Fischer Garcia Hansen Ito Jensen Kowalski Larsen Moreau Novak Okafor"
PLACES = (
    "Harbour Hall", "Blue Café", "City Library", "Old Mill", "Rose Garden", "Central Station", "Opera House",
    "North Pier", "Museum of Glass", "Green Park", "Castle Hill", "Fish Market", "Sun Terrace", "Grand Hotel",
    "West Bridge", "Botanic Garden", "Clock Tower", "River Theatre", "Stone Chapel", "Lighthouse Point",
    "Union Square", "Silver Lake", "Maple School", "Iron Bridge", "Town Archive", "East Stadium", "Quiet Bay",
    "Pine Lodge", "Royal Gallery", "Ferry Terminal",
)  # fmt: skip
DEEDS = {
    ("paint", "painted"): ("a mural", "a portrait", "the old fence"),
    ("give", "gave"): ("a lecture on bees", "a speech", "a violin lesson"),
    ("sell", "sold"): ("a canoe", "a rare stamp", "twelve lamps"),
    ("repair", "repaired"): ("a bicycle", "the broken organ", "a radio"),
    ("teach", "taught"): ("a pottery class", "a chess class", "a dance class"),
    ("find", "found"): ("a lost ring", "an old map", "a stray cat"),
    ("win", "won"): ("a chess match", "a raffle", "a debate"),
    ("sing", "sang"): ("three ballads", "an aria", "a lullaby"),
    ("plant", "planted"): ("an oak", "some tulips", "a lemon tree"),
    ("write", "wrote"): ("a petition", "a sonnet", "a travel guide"),
    ("photograph", "photographed"): ("a heron", "a wedding", "the skyline"),
    ("bake", "baked"): ("a rye loaf", "a plum cake", "forty rolls"),
    ("break", "broke"): ("a vase", "a window", "a record"),
    ("auction", "auctioned"): ("a tapestry", "a sculpture", "a piano"),
}
TOLD = (
    "{when}{who} {did} at the {place}.",
    "At the {place}, {who} {did}{day}.",
    "{when}everybody at the {place} watched as {who} {did}.",
    "Nobody had expected it, but {who} {did} over at the {place}{day}.",
    "{when}it was {who} who {did}, and the {place} was full.",
)
ASIDE = (
    " {other} had meant to come and stayed at home.",
    " {other} heard of it much later.",
    " They would rather have met at the {elsewhere}.",
)
BETWEEN = (
    "{other} says that the {elsewhere} is worth a visit.",
    "Do you know whether {other} has the keys to the {elsewhere}?",
    "I keep confusing {other} with somebody from work.",
    "The {elsewhere} is closed for repairs again.",
)
BEGIN = date(2024, 1, 1)


@dataclass(frozen=True, slots=True)
class StoryEvent:
    """One event: its frame as values, and how it is told."""

    number: int
    day: date
    place: str
    actors: tuple[str, ...]
    verb: tuple[str, str]
    object: str
    text: str

    @property
    def content(self) -> str:
        """What happened, as an answer."""
        return f"{self.verb[1]} {self.object}"

    @property
    def at(self) -> datetime:
        """The day's noon, when it is told, UTC."""
        return datetime(self.day.year, self.day.month, self.day.day, 12, tzinfo=UTC)

    def frame(self) -> dict[str, Any]:
        """As a memory's `frame`."""
        start = datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)
        return {
            "actors": [{"name": name} for name in self.actors],
            "action": self.verb[1],
            "object": self.object,
            "place": self.place,
            "time": {"start": start.isoformat(), "end": (start + timedelta(days=1)).isoformat()},
        }


@dataclass(frozen=True, slots=True)
class Asked:
    """A question.

    Attributes:
        shape: what is given and what is asked for.
        free: whether it is worded in another way than look-ups expect.
        cues: what is given: names of actors and places, and contents.
        days: what is given of the time, `[first, last]`.
        truth: the answers; none: nothing answers it.
    """

    query: str
    shape: str
    wanted: Wanted
    free: bool
    latest: bool
    cues: tuple[str, ...]
    days: tuple[date, date] | None
    truth: frozenset[str]


@dataclass(frozen=True, slots=True)
class Story:
    """Events in the order of time, turns that tell none, and questions."""

    events: tuple[StoryEvent, ...]
    between: tuple[Item, ...]
    questions: tuple[Asked, ...]


def make(events: int, seed: int, a_shape: int = 12) -> Story:
    """A story of so many events, and `a_shape` questions of each shape."""
    draw = random.Random(f"{seed}/{events}")
    few = 1 + events // 40
    people = draw.sample([f"{first} {last}" for first in _FIRST.split() for last in _LAST.split()], min(12 + few, 200))
    places = draw.sample(PLACES, min(12 + few, len(PLACES)))
    days = sorted(draw.choices(range(30 + 3 * events // 5), k=events))
    told = tuple(_event(draw, number, BEGIN + timedelta(days=day), people, places) for number, day in enumerate(days))
    between = tuple(
        Item(
            draw.choice(BETWEEN).format(other=draw.choice(people), elsewhere=draw.choice(places)),
            occurred_at=draw.choice(told).at,
        )
        for _ in range(events // 4)
    )
    return Story(told, between, tuple(_questions(draw, told, a_shape)))


def _event(draw: random.Random, number: int, day: date, people: list[str], places: list[str]) -> StoryEvent:
    actors = tuple(draw.sample(people, draw.choice((1, 1, 2, 3))))
    place, verb = draw.choice(places), draw.choice(list(DEEDS))
    thing = draw.choice(DEEDS[verb])
    named = draw.random() < 2 / 3
    words = written(day)
    text = draw.choice(TOLD).format(
        when=f"On {words} " if named else "That day ",
        day=f" on {words}" if named else " that day",
        who=" and ".join(actors),
        did=f"{verb[1]} {thing}",
        place=place,
    )
    if draw.random() < 1 / 6:
        other = draw.choice([name for name in people if name not in actors])
        text += draw.choice(ASIDE).format(other=other, elsewhere=draw.choice([p for p in places if p != place]))
    return StoryEvent(number, day, place, actors, verb, thing, text)


def _questions(draw: random.Random, events: Sequence[StoryEvent], a_shape: int) -> list[Asked]:
    # The last quarter of each shape asks for a mixture of two events that mostly never happened.
    return [
        _asked(draw, events, shape, free=number % 3 == 2, mixed=number >= a_shape - a_shape // 4)
        for shape in SHAPES
        for number in range(a_shape)
    ]


def _asked(draw: random.Random, events: Sequence[StoryEvent], shape: str, *, free: bool, mixed: bool) -> Asked:
    wanted, latest, given, wordings = SHAPES[shape]
    event = draw.choice(events)
    other = draw.choice(events) if mixed else event
    who = draw.choice(event.actors)
    names = {"actor": who, "place": other.place, "content": other.content}
    cues = tuple(value for name, value in names.items() if name in given)
    days = _days(other.day, given)
    found = [
        each
        for each in events
        if {*cues} <= {*each.actors, each.place, each.content} and (days is None or days[0] <= each.day <= days[1])
    ]
    if latest and found:
        found = [each for each in found if each.day == found[-1].day]
    query = draw.choice(wordings[free]).format(
        actor=who,
        place=other.place,
        base=f"{other.verb[0]} {other.object}",
        past=other.content,
        day=written(other.day),
        month=f"{other.day:%B %Y}",
    )
    truth = frozenset(answer for each in found for answer in answers(each, wanted)) - set(cues)
    return Asked(query, shape, wanted, free, latest, cues, days, truth)


def _days(day: date, given: Sequence[str]) -> tuple[date, date] | None:
    if "month" in given:
        first = day.replace(day=1)
        return first, (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return (day, day) if "day" in given else None


def written(day: date) -> str:
    """A day as people write it: `14 March 2026`."""
    return date_words(datetime(day.year, day.month, day.day, tzinfo=UTC))


def answers(event: StoryEvent, wanted: Wanted) -> tuple[str, ...]:
    """What an event answers to a question for actors, a place, a time or an event."""
    told: dict[Wanted, tuple[str, ...]] = {
        "actors": event.actors,
        "place": (event.place,),
        "time": (event.day.isoformat(),),
        "event": (event.content,),
    }
    return told[wanted]


Wordings = tuple[tuple[str, ...], tuple[str, ...]]
SHAPES: dict[str, tuple[Wanted, bool, tuple[str, ...], Wordings]] = {
    "place | actor, day": ("place", False, ("actor", "day"), (
        ("Where was {actor} on {day}?", "At which place was {actor} on {day}?"),
        ("I am trying to remember the spot that {actor} turned up at on {day}.", "{actor}'s whereabouts on {day}?"))),
    "actors | place, day": ("actors", False, ("place", "day"), (
        ("Who was at the {place} on {day}?", "Which people were at the {place} on {day}?"),
        ("Whose faces could one see at the {place} on {day}?", "Guest list of the {place}, {day}"))),
    "event | actor, day": ("event", False, ("actor", "day"), (
        ("What did {actor} do on {day}?", "What happened to {actor} on {day}?"),
        ("How did {actor} spend {day}?", "Could you describe the deeds of {actor} on {day}?"))),
    "event | place, day": ("event", False, ("place", "day"), (
        ("What happened at the {place} on {day}?", "Which events took place at the {place} on {day}?"),
        ("How did the day go at the {place} on {day}?", "Anything noteworthy at the {place} on {day}?"))),
    "time | actor, place": ("time", False, ("actor", "place"), (
        ("When was {actor} at the {place}?", "On which days was {actor} at the {place}?"),
        ("Could you date {actor}'s appearances at the {place}?", "How long ago was {actor} at the {place}?"))),
    "time | actor, content": ("time", False, ("actor", "content"), (
        ("When did {actor} {base}?", "On what day did {actor} {base}?"),
        ("Remind me of the date when {actor} {past}, please", "How long is it since {actor} {past}?"))),
    "actors | content": ("actors", False, ("content",), (
        ("Who {past}?", "Which people {past}?"),
        ("Whose idea was it to {base}?", "I need a list of those that {past}."))),
    "place | actor, content": ("place", False, ("actor", "content"), (
        ("Where did {actor} {base}?", "In which places did {actor} {base}?"),
        ("What was the venue when {actor} {past}?", "The setting in which {actor} {past}?"))),
    "place | actor": ("place", False, ("actor",), (
        ("Where was {actor}?", "List all places where {actor} has been."),
        ("What are {actor}'s haunts?", "Every venue that {actor} turned up at?"))),
    "actors | place, month": ("actors", False, ("place", "month"), (
        ("Who was at the {place} in {month}?", "List everybody who was at the {place} in {month}."),
        ("Whom might one have met at the {place} in {month}?", "Visitors of the {place} during {month}?"))),
    "event | actor, latest": ("event", True, ("actor",), (
        ("What did {actor} do last?", "What is the latest event with {actor}?"),
        ("What has {actor} been up to most recently?", "What is new with {actor}?"))),
    "place | actor, latest": ("place", True, ("actor",), (
        ("Where was {actor} last seen?", "Where is {actor} now?"),
        ("What was {actor}'s final stop so far?", "Where did we lose sight of {actor}?"))),
    "actors | place, latest": ("actors", True, ("place",), (
        ("Who was last at the {place}?", "Who was at the {place} most recently?"),
        ("Name the final visitors of the {place}.", "Who locked up at the {place}?"))),
    "time | actor, place, latest": ("time", True, ("actor", "place"), (
        ("When was {actor} last at the {place}?", "When was {actor} at the {place} most recently?"),
        ("How long has {actor} been gone from the {place}?", "Date of {actor}'s final visit to the {place}?"))),
}  # fmt: skip
"""What is asked for, whether only the latest counts, what is given, and wordings: as look-ups expect, and others."""
