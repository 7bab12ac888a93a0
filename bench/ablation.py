"""The rows that a benchmark of recall compares: ours, ours without each signal, the first release, plain baselines.

A row is `PipelineSettings` and the namespace that it asks, so every row is the same recall through the service with
other weights. Weights are set by name wherever the settings hold them, in nested dataclasses too: a signal that is
added to `retrieval.weights.SIGNALS` gets its row without a change here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from time import perf_counter
from typing import Any, TypeVar

import numpy as np

from bench.datasets import Question
from bench.instance import Instance
from retrieval.fuse import reciprocal_rank_fusion
from retrieval.weights import SIGNALS, PipelineSettings

Settings = TypeVar("Settings")

OURS = "ours"
PREVIOUS = "previous recipe"
PLAIN_DENSE, PLAIN_BM25, PLAIN_RRF = "plain dense", "plain bm25", "plain rrf"
PLAIN = (PLAIN_DENSE, PLAIN_BM25)
FIRST_RELEASE = {"dense": 1.0, "lexical": 0.4, "speaker": 3.0, "date": 2.0, "session": 0.5, "first_person": True}
BEST_OF = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One recall: external ids best first, the relevance of the best of the first `BEST_OF`, milliseconds."""

    ranking: tuple[str, ...]
    relevance: float
    took_ms: float


def weighted(settings: Settings, weights: Mapping[str, float]) -> Settings:
    """The settings with these fields set, at every depth."""
    held: Any = settings
    changes = {}
    for field in fields(held):
        value = getattr(held, field.name)
        if field.name in weights:
            changes[field.name] = type(value)(weights[field.name])
        elif is_dataclass(value):
            changes[field.name] = weighted(value, weights)
    changed: Settings = replace(held, **changes)
    return changed


def alone(settings: PipelineSettings, weights: Mapping[str, float]) -> PipelineSettings:
    """The settings with these weights and no other signal."""
    return weighted(settings, dict.fromkeys(_signals(settings), 0.0) | dict(weights))


def rows(settings: PipelineSettings, ablations: bool = True) -> dict[str, PipelineSettings]:
    """Ours, the first release's weights, and with `ablations` ours without each signal in turn."""
    found = {OURS: settings, PREVIOUS: alone(settings, FIRST_RELEASE)}
    if ablations:
        for name in _signals(settings):
            found[f"{OURS} - {name.replace('_', ' ')}"] = weighted(settings, {name: 0.0})
    return found


def baselines(settings: PipelineSettings) -> dict[str, PipelineSettings]:
    """What a plain store does: the embedding alone, and BM25 alone."""
    return {PLAIN_DENSE: alone(settings, {"dense": 1.0}), PLAIN_BM25: alone(settings, {"lexical": 1.0})}


def _signals(settings: Any) -> list[str]:
    """Every signal and switch that the settings hold, in order, each once."""
    found: dict[str, None] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name in SIGNALS or isinstance(value, bool):
            found[field.name] = None
        elif is_dataclass(value):
            found |= dict.fromkeys(_signals(value))
    return list(found)


def ask(
    instance: Instance,
    compared: Mapping[str, PipelineSettings],
    namespaces: Mapping[str, str],
    questions: Sequence[Question],
    limit: int,
) -> dict[str, list[Answer]]:
    """The questions under each row, ours first, and the fusion of the plain rows where both are there.

    Args:
        namespaces: of each row; a row that is not named asks that of ours.
    """
    found: dict[str, list[Answer]] = {}
    for row, settings in compared.items():
        recaller = instance.recaller(None if row == OURS else settings)
        found[row] = []
        for question in questions:
            started = perf_counter()
            namespace = namespaces.get(row, namespaces[OURS])
            answer = instance.recall(recaller, namespace, question.text, question.asked_at, limit)
            took_ms = (perf_counter() - started) * 1000
            ranking = tuple(str(hit.memory.item.external_id) for hit in answer.results)
            best = max((hit.relevance for hit in answer.results[:BEST_OF]), default=0.0)
            found[row].append(Answer(ranking, best, took_ms))
    if found.keys() >= set(PLAIN):
        both = zip(*(found[row] for row in PLAIN), strict=True)
        found[PLAIN_RRF] = [_fused((one.ranking, other.ranking), limit) for one, other in both]
    return found


def _fused(rankings: Iterable[Sequence[str]], limit: int) -> Answer:
    """Reciprocal rank fusion, ties in the order of ids; no relevance and no time of its own."""
    several = list(rankings)
    ids = sorted({one for ranking in several for one in ranking})
    number = {one: place for place, one in enumerate(ids)}
    fused, _ = reciprocal_rank_fusion([np.array([number[one] for one in ranking]) for ranking in several])
    return Answer(tuple(ids[place] for place in fused.tolist())[:limit], 0.0, 0.0)
