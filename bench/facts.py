"""Facts: how many turns give one, how fast, and of 200 that a person read how many are right, useful and dated right.

Labels are in `bench/labels/facts.json`: of each fact where it is from and what its reader found, and not its text,
which may not be shipped. A fact is named by its turn and a digest of its triple, so a label counts as long as the
grammar still reads that fact; how many it does not any more is reported, and so is how many facts of a fresh sample of
200 have a label.

    wrong    it says something that its turn does not
    useful   it tells something about the speaker that is worth keeping, and can be understood by itself
    date     of a fact whose clause holds a time expression: whether it is resolved right, and belongs to this fact
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.datasets import Conversation, Turn, beam, locomo, longmemeval
from bench.runner import Options
from memory.derive.facts import read
from memory.facts import Statement
from memory.model import Memory
from recalld.core.errors import ConfigError

LABELS = Path(__file__).parent / "labels" / "facts.json"
SAMPLED = {"locomo": 80, "beam-100K": 80, "longmemeval": 40}
UNKNOWN = datetime(2024, 1, 1, tzinfo=UTC)
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Found:
    """One fact, and where it is from."""

    data: str
    conversation: str
    turn: Turn
    statement: Statement

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What its label is found by."""
        return (self.data, self.conversation, self.turn.id, digest(self.statement))


def digest(statement: Statement) -> str:
    """Of what a statement says; tells nothing of it."""
    return hashlib.blake2b(json.dumps(statement.triple.key).encode(), digest_size=6).hexdigest()


LOADERS: Mapping[str, Callable[[], list[Conversation]]] = {
    "locomo": locomo,
    "beam-100K": partial(beam, "100K"),
    "longmemeval": longmemeval,
}


def memories(conversations: Sequence[Conversation]) -> list[tuple[str, Turn, Memory]]:
    """What users and people said, as memories."""
    said = [(told.name, turn) for told in conversations for turn in told.turns if turn.role in (None, "user")]
    return [
        (name, turn, Memory(f"mem_{place}", "bench", turn.item(), UNKNOWN, UNKNOWN, row=place))
        for place, (name, turn) in enumerate(said)
    ]


def everything(data: str) -> tuple[list[Found], dict[str, float]]:
    """Every fact of a data set, and how many a turn and how fast.

    Raises:
        ConfigError: it is not here.
    """
    told = memories(LOADERS[data]())
    seconds = []
    for _ in range(ROUNDS):
        started = perf_counter()
        read_all = [(name, turn, read(memory)) for name, turn, memory in told]
        seconds.append(perf_counter() - started)
    found = [Found(data, name, turn, each) for name, turn, statements in read_all for each in statements]
    with_one = sum(bool(statements) for *_, statements in read_all)
    rate = len(told) / sorted(seconds)[ROUNDS // 2]
    figures = {
        "turns": len(told),
        "facts": len(found),
        "facts a turn": round(len(found) / len(told), 3),
        "turns with a fact": round(with_one / len(told), 3),
        "turns a second": round(rate),
    }
    return found, figures


def sample(found: Sequence[Found], data: str, seed: int) -> list[Found]:
    """Those to read."""
    return random.Random(seed).sample(list(found), min(SAMPLED[data], len(found)))


def run(options: Options) -> dict[str, Any]:
    """Every data set that is here."""
    labels = {tuple(each["fact"]): each for each in json.loads(LABELS.read_text(encoding="utf-8"))}
    rates: dict[str, Any] = {}
    every: dict[tuple[str, ...], Found] = {}
    drawn: list[Found] = []
    for data in LOADERS:
        with suppress(ConfigError):
            found, rates[data] = everything(data)
            every |= {each.name: each for each in found}
            drawn += sample(found, data, options.seed)
    if not rates:
        raise ConfigError("facts: none of the data sets is here")
    judged = [label for name, label in labels.items() if name in every]
    return {
        "rates": rates,
        "all": _judged(judged),
        "by data": {data: _judged([each for each in judged if each["fact"][0] == data]) for data in rates},
        "labels": len(labels),
        "labelled facts that are read still": len(judged),
        "of a fresh sample, labelled": sum(each.name in labels for each in drawn),
    }


def _judged(labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    dated = [each["date"] for each in labels if each.get("date")]
    return {
        "n": len(labels),
        "not wrong": _share(not each["wrong"] for each in labels),
        "useful": _share(each["useful"] and not each["wrong"] for each in labels),
        "dated": len(dated),
        "date resolved": _share(each["resolved"] for each in dated),
        "date of the right fact": _share(each["attached"] for each in dated),
    }


def _share(values: Iterator[bool] | Any) -> float | None:
    counted = [bool(value) for value in values]
    return round(sum(counted) / len(counted), 3) if counted else None
