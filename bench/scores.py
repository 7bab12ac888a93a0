"""Scored questions, and what is reported of them: means by part, and ours against each other row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.ablation import OURS
from bench.metrics import means, paired_interval


@dataclass(frozen=True, slots=True)
class Scored:
    """One question under one row; `group` is its conversation, chat or corpus."""

    group: str
    category: str
    metrics: Mapping[str, float]


def mean(scored: Sequence[Scored]) -> dict[str, float]:
    """The mean of each metric, and how many questions."""
    return means([one.metrics for one in scored])


def by(scored: Sequence[Scored], part: Callable[[Scored], str]) -> dict[str, dict[str, float]]:
    """The means of each part, parts in order of appearance."""
    return {
        name: mean([one for one in scored if part(one) == name]) for name in dict.fromkeys(part(one) for one in scored)
    }


def intervals(rows: Mapping[str, Sequence[Scored]], metrics: Sequence[str], seed: int) -> dict[str, Any]:
    """The mean difference of ours and each other row over the same questions, with its 95 % interval."""
    return {
        f"{OURS} against {row}": {
            metric: paired_interval(
                [one.metrics[metric] for one in rows[OURS]], [one.metrics[metric] for one in scored], seed
            )
            for metric in metrics
        }
        for row, scored in rows.items()
        if row != OURS
    }
