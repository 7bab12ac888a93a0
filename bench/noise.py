"""Noise: how many turns are flagged, how many of those say something after all, and how much evidence is among them.

`bench/labels/noise.json` names every turn of LoCoMo, LongMemEval and BEAM that was flagged when it was read by a
person, with what was found: `empty`, whether it says nothing that anybody could ask for. A turn that is flagged and has
no label is counted beside. *Evidence* are the turns that the questions of a data set rest on.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bench.datasets import Conversation, beam, locomo, longmemeval
from bench.runner import Options
from memory.noise import is_noise
from recalld.core.errors import ConfigError

LABELS = Path(__file__).parent / "labels" / "noise.json"
LOADERS: Mapping[str, Callable[[], list[Conversation]]] = {
    "locomo": locomo,
    "longmemeval": longmemeval,
    "beam-100K": partial(beam, "100K"),
    "beam-500K": partial(beam, "500K"),
}


def run(options: Options) -> dict[str, Any]:
    """Each data set that is here, then what the labels say of all."""
    data: dict[str, Any] = {}
    flagged: list[tuple[str, str, str]] = []
    for name, load in LOADERS.items():
        with suppress(ConfigError):
            data[name], its_flagged = measured(name, load())
            flagged += its_flagged
    return {"data": data, "labels": judged(flagged, json.loads(LABELS.read_text(encoding="utf-8")))}


def measured(name: str, told: list[Conversation]) -> tuple[dict[str, Any], list[tuple[str, str, str]]]:
    """The figures of one data set, and its flagged turns as (data set, conversation, turn)."""
    turns = [(each.name, turn) for each in told for turn in each.turns]
    flagged = {(chat, turn.id) for chat, turn in turns if is_noise(turn.text)}
    evidence = {(each.name, one) for each in told for question in each.questions for one in question.evidence}
    figures = {
        "turns": len(turns),
        "flagged": len(flagged),
        "share flagged": len(flagged) / len(turns),
        "evidence": len(evidence),
        "share of evidence flagged": len(evidence & flagged) / len(evidence) if evidence else None,
    }
    return figures, [(name, *each) for each in sorted(flagged)]


def judged(flagged: list[tuple[str, str, str]], labels: list[dict[str, Any]]) -> dict[str, Any]:
    """How often the flag is right, over the flagged turns that were read."""
    known = {tuple(label["turn"]): bool(label["empty"]) for label in labels}
    read = [known[each] for each in flagged if each in known]
    return {"flagged": len(flagged), "read": len(read), "precision": sum(read) / len(read) if read else None}
