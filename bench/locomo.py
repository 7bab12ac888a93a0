"""LoCoMo: are the turns that answer a question among the first ten recalled?

Every conversation is written and asked through the service that the API uses, each in a namespace of its own; a
question is one recall of 50 memories, asked at the end of the conversation. Baselines and ablations are the same
recall with other weights, in the same run: `dense` and `bm25` alone, the reciprocal rank fusion of the two (what
most hybrids do), and ours without each signal. Reported: the questions of categories 1 to 4 that have evidence (5
is adversarial), and all five.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from bench.datasets import Conversation, Question, locomo
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
from retrieval.fuse import reciprocal_rank_fusion
from retrieval.pipeline import PipelineSettings

LIMIT = 50
CATEGORIES = {"1": "multi-hop", "2": "temporal", "3": "open-domain", "4": "single-hop", "5": "adversarial"}
ADVERSARIAL = "5"
OURS = PipelineSettings()
ALONE = PipelineSettings(dense=0.0, lexical=0.0, speaker=0.0, date=0.0, session=0.0, first_person=False)
ROWS: dict[str, PipelineSettings] = {
    "ours": OURS,
    "dense": replace(ALONE, dense=1.0),
    "bm25": replace(ALONE, lexical=1.0),
    "dense, first person": replace(ALONE, dense=1.0, first_person=True),
    "ours - dense": replace(OURS, dense=0.0),
    "ours - lexical": replace(OURS, lexical=0.0),
    "ours - speaker": replace(OURS, speaker=0.0),
    "ours - date": replace(OURS, date=0.0),
    "ours - session": replace(OURS, session=0.0),
    "ours - first person": replace(OURS, first_person=False),
}
RRF = "rrf of dense and bm25"


@dataclass(frozen=True, slots=True)
class Scored:
    """One question under one row."""

    conversation: str
    category: str
    metrics: dict[str, float]


def run(options: Options) -> dict[str, Any]:
    """Every conversation under every row."""
    scored: dict[str, list[Scored]] = {row: [] for row in (*ROWS, RRF)}
    took: list[float] = []
    conversations = locomo(options.data)
    with temporary_instance(options.encoder) as instance:
        for told in conversations:
            say(f"{told.name}: {len(told.turns)} turns, {len(told.questions)} questions")
            instance.add(told.name, [turn.item() for turn in told.turns])
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
    for row, settings in ROWS.items():
        recaller = instance.recaller(None if row == "ours" else settings)
        rankings[row] = []
        for question in asked:
            started = perf_counter()
            answer = instance.recall(recaller, told.name, question.text, question.asked_at, LIMIT)
            if row == "ours":
                took.append((perf_counter() - started) * 1000)
            rankings[row].append([str(hit.memory.item.external_id) for hit in answer.results])
    rankings[RRF] = [_rank_fusion(*pair) for pair in zip(rankings["dense"], rankings["bm25"], strict=True)]
    return {
        row: [
            Scored(told.name, question.category, _metrics(ranking, question, session_of))
            for question, ranking in zip(asked, found, strict=True)
        ]
        for row, found in rankings.items()
    }


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
