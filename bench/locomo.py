"""LoCoMo: are the turns that answer a question among the first ten recalled?

Every conversation is written and asked through the service that the API uses, each in a namespace of its own; a
question is one recall of 50 memories, asked at the end of the conversation. In the same run:

- baselines, what a plain store does with each turn as the text "speaker: text": the embedding alone, BM25 alone, and
  reciprocal rank fusion of the two;
- ours with one signal alone, and without each signal: the same recall with other weights.

Reported: the questions of categories 1 to 4 that have evidence (5 is adversarial), and all five.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from bench.datasets import Conversation, Question, Turn, locomo
from bench.instance import Instance, temporary_instance
from bench.metrics import (
    hit_at,
    means,
    ndcg_at,
    paired_interval,
    percentiles,
    recall_at,
    reciprocal_rank,
    session_hit_at,
)
from bench.runner import Options, say
from memory.model import Item
from retrieval.fuse import reciprocal_rank_fusion
from retrieval.pipeline import PipelineSettings

LIMIT = 50
CATEGORIES = {"1": "multi-hop", "2": "temporal", "3": "open-domain", "4": "single-hop", "5": "adversarial"}
ADVERSARIAL = "5"
OURS = PipelineSettings()
ALONE = PipelineSettings(dense=0.0, lexical=0.0, speaker=0.0, date=0.0, session=0.0, first_person=False)
BASELINES: dict[str, PipelineSettings] = {
    "plain dense": replace(ALONE, dense=1.0),
    "plain bm25": replace(ALONE, lexical=1.0),
}
PLAIN_RRF = "plain rrf"
ROWS: dict[str, PipelineSettings] = {
    "ours": OURS,
    "dense alone": replace(ALONE, dense=1.0, first_person=True),
    "bm25 alone": replace(ALONE, lexical=1.0),
    "ours - dense": replace(OURS, dense=0.0),
    "ours - lexical": replace(OURS, lexical=0.0),
    "ours - speaker": replace(OURS, speaker=0.0),
    "ours - date": replace(OURS, date=0.0),
    "ours - session": replace(OURS, session=0.0),
    "ours - first person": replace(OURS, first_person=False),
}


@dataclass(frozen=True, slots=True)
class Scored:
    """One question under one row."""

    conversation: str
    category: str
    metrics: dict[str, float]


def run(options: Options) -> dict[str, Any]:
    """Every conversation under every row."""
    scored: dict[str, list[Scored]] = {row: [] for row in (*ROWS, *BASELINES, PLAIN_RRF)}
    took: list[float] = []
    conversations = locomo(options.data)
    with temporary_instance(options.encoder) as instance:
        for told in conversations:
            say(f"{told.name}: {len(told.turns)} turns, {len(told.questions)} questions")
            instance.add(told.name, [turn.item() for turn in told.turns])
            instance.add(_plain(told.name), [_plain_item(turn) for turn in told.turns])
            for row, found in _scores(instance, told, took).items():
                scored[row] += found
    ours = [s for s in scored["ours"] if s.category != ADVERSARIAL]
    return {
        "rows": {row: _summary(found) for row, found in scored.items()},
        "intervals": {
            f"ours against {row}": {
                metric: paired_interval(
                    [s.metrics[metric] for s in ours], _answerable(scored[row], metric), options.seed
                )
                for metric in ("recall@10", "ndcg@10", "session hit@5")
            }
            for row in scored
            if row != "ours"
        },
        "recall_ms": percentiles(took),
        "turns": {told.name: len(told.turns) for told in conversations},
        "settings": asdict(OURS),
    }


def _scores(instance: Instance, told: Conversation, took: list[float]) -> dict[str, list[Scored]]:
    """Every question of one conversation under every row; `took` gets the milliseconds of ours, asked first."""
    asked = [question for question in told.questions if question.evidence]
    session_of = {turn.id: turn.session for turn in told.turns}
    rankings: dict[str, list[list[str]]] = {}
    for row, settings in (ROWS | BASELINES).items():
        recaller = instance.recaller(None if row == "ours" else settings)
        namespace = _plain(told.name) if row in BASELINES else told.name
        rankings[row] = []
        for question in asked:
            started = perf_counter()
            answer = instance.recall(recaller, namespace, question.text, question.asked_at, LIMIT)
            if row == "ours":
                took.append((perf_counter() - started) * 1000)
            rankings[row].append([str(hit.memory.item.external_id) for hit in answer.results])
    rankings[PLAIN_RRF] = [_rank_fusion(*pair) for pair in zip(*(rankings[row] for row in BASELINES), strict=True)]
    return {
        row: [
            Scored(told.name, question.category, _metrics(ranking, question, session_of))
            for question, ranking in zip(asked, found, strict=True)
        ]
        for row, found in rankings.items()
    }


def _plain(name: str) -> str:
    """The namespace of a conversation's plain texts."""
    return f"{name}.plain"


def _plain_item(turn: Turn) -> Item:
    """A turn as a store without recalld's fields gets it: no speaker, time or session but what the text says."""
    return Item(f"{turn.speaker}: {turn.text}", external_id=turn.id)


def _rank_fusion(*rankings: Sequence[str]) -> list[str]:
    ids = sorted({turn for ranking in rankings for turn in ranking})
    number = {turn: place for place, turn in enumerate(ids)}
    fused, _ = reciprocal_rank_fusion([np.array([number[turn] for turn in ranking]) for ranking in rankings])
    return [ids[place] for place in fused.tolist()][:LIMIT]


def _metrics(ranking: Sequence[str], question: Question, session_of: Mapping[str, str]) -> dict[str, float]:
    sessions = [session_of[turn] for turn in ranking]
    return {
        "recall@5": recall_at(5, ranking, question.evidence),
        "recall@10": recall_at(10, ranking, question.evidence),
        "hit@10": hit_at(10, ranking, question.evidence),
        "ndcg@10": ndcg_at(10, ranking, question.evidence),
        "mrr": reciprocal_rank(ranking, question.evidence),
        "session hit@5": session_hit_at(5, sessions, question.sessions),
    }


def _summary(scored: Sequence[Scored]) -> dict[str, Any]:
    answerable = [s for s in scored if s.category != ADVERSARIAL]
    return {
        "categories 1-4": means([s.metrics for s in answerable]),
        "all categories": means([s.metrics for s in scored]),
        "by category": {
            name: means([s.metrics for s in scored if s.category == category]) for category, name in CATEGORIES.items()
        },
        "by conversation": {
            name: means([s.metrics for s in answerable if s.conversation == name])
            for name in dict.fromkeys(s.conversation for s in answerable)
        },
    }


def _answerable(scored: Sequence[Scored], metric: str) -> list[float]:
    return [s.metrics[metric] for s in scored if s.category != ADVERSARIAL]
