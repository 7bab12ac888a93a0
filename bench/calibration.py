"""Calibration: does `relevance` tell a store that answers a question from one that does not?

Every question is asked of its own conversation (which answers it) and of another one of the same data set (which
does not), as often the one as the other. A recall's relevance is that of its best hit. Measured: the shipped
weights, and a logistic regression fitted on all conversations but one and measured on that one, in turn, which says
what to expect of conversations that nobody fitted on. `fit` is the regression over all of them: where the shipped
weights come from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets import Conversation, locomo, longmemeval
from bench.instance import Instance, temporary_instance
from bench.locomo import ADVERSARIAL
from bench.metrics import auroc, calibration_error
from bench.runner import Options, say
from retrieval.pipeline import PipelineSettings

LIMIT = 10
ROUNDS = 20
NEWTON_STEPS = 25
RIDGE = 1e-3
OURS = PipelineSettings()
# With these the relevance of a hit is the logistic function of its cosine, or of its share of BM25, alone.
COSINE = replace(OURS, relevance_bias=0.0, relevance_cosine=1.0, relevance_lexical=0.0)
SHARE = replace(OURS, relevance_bias=0.0, relevance_cosine=0.0, relevance_lexical=1.0)

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asked:
    """One recall.

    Attributes:
        data_set: where the question is from.
        conversation: the question's own.
        answered: whether it was asked there.
        hits: `[K, 3]` of each hit: 1, its cosine, its share of the best possible BM25.
    """

    data_set: str
    conversation: str
    answered: bool
    hits: Doubles


def run(options: Options) -> dict[str, Any]:
    """Both data sets, or LoCoMo alone from `--data`."""
    data_sets = {"locomo": locomo(options.data)} | ({"longmemeval": longmemeval()} if options.data is None else {})
    asked: list[Asked] = []
    with temporary_instance(options.encoder) as instance:
        for data_set, conversations in data_sets.items():
            for told in conversations:
                say(f"{told.name}: {len(told.turns)} turns")
                instance.add(told.name, [turn.item() for turn in told.turns])
            for number, told in enumerate(conversations):
                others = [*conversations[number + 1 :], *conversations[:number]]
                asked += [Asked(data_set, *one) for one in _ask(instance, told, others)]
    shipped = np.array([OURS.relevance_bias, OURS.relevance_cosine, OURS.relevance_lexical])
    held_out = np.zeros(len(asked))
    for name in {recall.conversation for recall in asked}:
        mine = np.array([recall.conversation == name for recall in asked])
        weights = fit([recall for recall in asked if recall.conversation != name])
        held_out[mine] = relevance([recall for recall in asked if recall.conversation == name], weights)
    return {
        "shipped": _by_data_set(asked, relevance(asked, shipped)),
        "held out": _by_data_set(asked, held_out),
        "fit": dict(zip(("bias", "cosine", "lexical"), fit(asked).round(2).tolist(), strict=True)),
        "relevant_from": OURS.relevant_from,
    }


def _ask(instance: Instance, told: Conversation, others: Sequence[Conversation]) -> Iterator[tuple[str, bool, Doubles]]:
    """Each answerable question of `told`: of itself, and of each of the others in turn."""
    recallers = (instance.recaller(COSINE), instance.recaller(SHARE))
    questions = [q for q in told.questions if q.sessions and q.category != ADVERSARIAL]
    for number, question in enumerate(questions):
        for store in (told, others[number % len(others)]):
            found = [
                [
                    hit.relevance
                    for hit in instance.recall(recaller, store.name, question.text, question.asked_at, LIMIT).results
                ]
                for recaller in recallers
            ]
            raw = np.array(found, dtype=np.float64).T
            hits = np.column_stack([np.ones(len(raw)), np.log(raw / (1 - raw))])
            yield told.name, store is told, hits


def fit(asked: Sequence[Asked]) -> Doubles:
    """Logistic regression on the best hit of each recall; which hit is best depends on the weights, so in rounds.

    Returns:
        `[3]`: bias, weight of the cosine, weight of the share.
    """
    outcomes = np.array([recall.answered for recall in asked], dtype=np.float64)
    weights = np.array([0.0, 1.0, 1.0])
    for _ in range(ROUNDS):
        best = np.stack([recall.hits[np.argmax(recall.hits @ weights)] for recall in asked])
        weights = _logistic(best, outcomes)
    return weights


def relevance(asked: Sequence[Asked], weights: Doubles) -> Doubles:
    """The relevance of each recall under these weights."""
    best: Doubles = np.array([(recall.hits @ weights).max() for recall in asked])
    return 1 / (1 + np.exp(-best))


def _logistic(features: Doubles, outcomes: Doubles) -> Doubles:
    """Newton's method, with a ridge that only keeps it from diverging."""
    weights = np.zeros(features.shape[1])
    for _ in range(NEWTON_STEPS):
        expected = 1 / (1 + np.exp(-features @ weights))
        gradient = features.T @ (outcomes - expected) - RIDGE * weights
        curvature = (features * (expected * (1 - expected))[:, None]).T @ features + RIDGE * np.eye(len(weights))
        weights = weights + np.linalg.solve(curvature, gradient)
    return weights


def _by_data_set(asked: Sequence[Asked], found: Doubles) -> dict[str, Any]:
    parts = {"all": _figures(asked, found)}
    for name in dict.fromkeys(recall.data_set for recall in asked):
        mine = [number for number, recall in enumerate(asked) if recall.data_set == name]
        parts[name] = _figures([asked[number] for number in mine], found[mine])
    return parts


def _figures(asked: Sequence[Asked], found: Doubles) -> dict[str, Any]:
    answered = np.array([recall.answered for recall in asked])
    told = found >= OURS.relevant_from
    return {
        "auroc": round(auroc(found[answered].tolist(), found[~answered].tolist()), 4),
        "ece": round(calibration_error(found, answered), 4),
        "said relevant, answered": round(float(told[answered].mean()), 4),
        "said relevant, wrong store": round(float(told[~answered].mean()), 4),
        "n": len(asked),
    }
