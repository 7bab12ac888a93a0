"""Calibration: does `relevance` tell a question that the store answers from one that it does not?

A recall's relevance is that of its best hit. Three kinds of question that a store does not answer:

- *wrong store*: every question is asked of its own conversation (which answers it) and of another one of the same data
  set (which does not), as often the one as the other; LoCoMo and LongMemEval;
- *adversarial*: LoCoMo's category 5 asks of its own conversation for what the other speaker did;
- *abstention*: BEAM asks of a chat for a detail that was never given.

Measured: the shipped weights, and a logistic regression fitted on the wrong-store recalls of all conversations but one
and measured on that one, in turn, which says what to expect of conversations that nobody fitted on. `fit` is the
regression over all of them: where the shipped weights come from. Adversarial and abstention questions are measured
only: they are right about the subject, so a weight that gave way to them would call answers irrelevant.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.beam import ABSTENTION
from bench.datasets import BEAM_SIZES, Conversation, Question, beam, locomo, longmemeval
from bench.instance import Instance, temporary_instance
from bench.locomo import ADVERSARIAL
from bench.metrics import auroc, calibration_error, reliability
from bench.runner import Options, say
from recalld.core.errors import ConfigError
from retrieval.relevance import FEATURES, RelevanceWeights
from retrieval.weights import PipelineSettings

LIMIT = 10
ROUNDS = 20
NEWTON_STEPS = 25
RIDGE = 1e-3
OURS = PipelineSettings()
# The kinds of recall that its store does not answer, and the data sets that have them.
ANSWERED, WRONG_STORE = "answered", "wrong store"
TASKS = {WRONG_STORE: ("locomo", "longmemeval"), "adversarial": ("locomo",), ABSTENTION: ("beam",)}

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Asked:
    """One recall.

    Attributes:
        data_set: where the question is from.
        conversation: the question's own.
        kind: `ANSWERED`, or the task that says why its store does not.
        hits: `[K, 1 + F]` of each hit: 1, then its features.
    """

    data_set: str
    conversation: str
    kind: str
    hits: Doubles


def run(options: Options) -> dict[str, Any]:
    """All data sets that are here, or LoCoMo alone from `--data`."""
    asked: list[Asked] = []
    with temporary_instance(options.encoder) as instance:
        for data_set, conversations in _data_sets(options).items():
            for told in conversations:
                say(f"{told.name}: {len(told.turns)} turns")
                instance.add(told.name, [turn.item() for turn in told.turns])
            for number, told in enumerate(conversations):
                others = [*conversations[number + 1 :], *conversations[:number]]
                asked += _ask(instance, data_set, told, others)
    ours = RelevanceWeights()
    shipped = np.array([ours.bias, *(getattr(ours, name) for name in FEATURES)])
    return {
        "shipped": _by_task(asked, relevance(asked, shipped)),
        "held out": _by_task(asked, held_out(asked)),
        "fit": dict(zip(("bias", *FEATURES), fit(asked).round(2).tolist(), strict=True)),
        "relevant_from": OURS.relevant_from,
    }


def _data_sets(options: Options) -> dict[str, list[Conversation]]:
    found = {"locomo": locomo(options.data)}
    if options.data is None:
        found["longmemeval"] = longmemeval()
        try:
            found["beam"] = beam(BEAM_SIZES[0])
        except ConfigError as error:
            say(f"without abstention: {error.detail}")
    if min(len(found[name]) for name in TASKS[WRONG_STORE] if name in found) < 2 or options.limit == 1:
        raise ConfigError("calibration asks of another conversation too: it needs two")
    return {name: conversations[: options.limit] for name, conversations in found.items()}


def _ask(instance: Instance, data_set: str, told: Conversation, others: Sequence[Conversation]) -> Iterator[Asked]:
    """Each question of its own store, and each answerable one, where the task is for it, of the others in turn."""
    unanswerable = {ADVERSARIAL: "adversarial", ABSTENTION: ABSTENTION}
    number = 0
    for question in told.questions:
        kind = unanswerable.get(question.category, ANSWERED)
        if kind == ANSWERED and not question.sessions:
            continue
        yield Asked(data_set, told.name, kind, _hits(instance, told.name, question))
        if kind == ANSWERED and data_set in TASKS[WRONG_STORE]:
            other = others[number % len(others)]
            number += 1
            yield Asked(data_set, told.name, WRONG_STORE, _hits(instance, other.name, question))


def _hits(instance: Instance, namespace: str, question: Question) -> Doubles:
    """The features of a recall's hits, behind a 1 for the bias."""
    answer = instance.recall(instance.recaller(), namespace, question.text, question.asked_at, LIMIT)
    columns = [[hit.features[name] for hit in answer.results] for name in FEATURES]
    return np.column_stack([np.ones(len(answer.results)), *np.array(columns, dtype=np.float64)])


def held_out(asked: Sequence[Asked]) -> Doubles:
    """The relevance of each recall under the weights that the other conversations give."""
    found = np.zeros(len(asked))
    for own in {(recall.data_set, recall.conversation) for recall in asked}:
        mine = np.array([(recall.data_set, recall.conversation) == own for recall in asked])
        weights = fit([recall for recall, is_mine in zip(asked, mine, strict=True) if not is_mine])
        found[mine] = relevance([recall for recall, is_mine in zip(asked, mine, strict=True) if is_mine], weights)
    return found


def fit(asked: Sequence[Asked]) -> Doubles:
    """Logistic regression on the best hit of each recall of the wrong-store task.

    Which hit is the best depends on the weights, so in rounds.

    Returns:
        `[1 + F]`: bias, and the weight of each feature.
    """
    task = _of_task(asked, WRONG_STORE)
    recalls = [asked[number].hits for number in task]
    outcomes = np.array([asked[number].kind == ANSWERED for number in task], dtype=np.float64)
    weights = np.ones(recalls[0].shape[1])
    for _ in range(ROUNDS):
        best = np.stack([hits[np.argmax(hits @ weights)] for hits in recalls])
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


def _of_task(asked: Sequence[Asked], task: str, data_sets: Sequence[str] = ()) -> list[int]:
    """The places of a task's recalls: those of its kind, and the answered ones of the same data sets."""
    among = data_sets or TASKS[task]
    return [
        number for number, recall in enumerate(asked) if recall.kind in (ANSWERED, task) and recall.data_set in among
    ]


def _by_task(asked: Sequence[Asked], found: Doubles) -> dict[str, dict[str, Any]]:
    """The figures of each task, over all of its data sets and of each."""
    here = {recall.data_set for recall in asked}
    told: dict[str, dict[str, Any]] = {}
    for task, data_sets in TASKS.items():
        among = [name for name in data_sets if name in here]
        if among:
            parts = {"all": among} | {name: [name] for name in among}
            told[task] = {part: _figures(asked, found, _of_task(asked, task, names)) for part, names in parts.items()}
    return told


def _figures(asked: Sequence[Asked], found: Doubles, places: Sequence[int]) -> dict[str, Any]:
    answered = np.array([asked[number].kind == ANSWERED for number in places])
    probabilities = found[list(places)]
    told = probabilities >= OURS.relevant_from
    curve = reliability(probabilities, answered)
    return {
        "auroc": round(auroc(probabilities[answered].tolist(), probabilities[~answered].tolist()), 4),
        "ece": round(calibration_error(probabilities, answered), 4),
        "said relevant, answered": round(float(told[answered].mean()), 4),
        "said relevant, not answered": round(float(told[~answered].mean()), 4),
        "n": len(places),
        "curve": [
            {"mean": round(mean, 4), "observed": round(observed, 4), "n": count} for mean, observed, count in curve
        ],
    }
