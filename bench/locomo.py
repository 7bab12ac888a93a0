"""LoCoMo: are the turns that answer a question among the first ten recalled?

Every conversation is written and asked through the service that the API uses, each in a namespace of its own; a
question is one recall of 50 memories, asked at the end of the conversation. In the same run:

- baselines, what a plain store does with each turn as the text "speaker: text": the embedding alone, BM25 alone, and
  reciprocal rank fusion of the two;
- ours with the first release's weights, and without each signal: the same recall with other weights.

Reported: the questions of categories 1 to 4 that have evidence (5 is adversarial), and all five.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.ablation import OURS, PLAIN, ask, baselines, rows
from bench.datasets import Conversation, Question, Turn, locomo
from bench.instance import Instance, temporary_instance
from bench.metrics import hit_at, ndcg_at, percentiles, recall_at, reciprocal_rank, session_hit_at
from bench.runner import Options, say
from bench.scores import Scored, by, intervals, mean
from memory.model import Item
from retrieval.weights import PipelineSettings

LIMIT = 50
CATEGORIES = {"1": "multi-hop", "2": "temporal", "3": "open-domain", "4": "single-hop", "5": "adversarial"}
ADVERSARIAL = "5"
COMPARED = ("recall@10", "ndcg@10", "session hit@5")


def run(options: Options) -> dict[str, Any]:
    """Every conversation under every row."""
    settings = PipelineSettings()
    compared = rows(settings, options.ablations) | baselines(settings)
    took: list[float] = []
    conversations = locomo(options.data)[: options.limit]
    scored = measure(conversations, compared, options.encoder, took)
    return {
        "rows": {row: summary(found) for row, found in scored.items()},
        "intervals": intervals({row: _answerable(found) for row, found in scored.items()}, COMPARED, options.seed),
        "recall_ms": percentiles(took),
        "turns": {told.name: len(told.turns) for told in conversations},
        "settings": asdict(settings),
    }


def measure(
    conversations: Sequence[Conversation], compared: Mapping[str, PipelineSettings], encoder: str, took: list[float]
) -> dict[str, list[Scored]]:
    """Every question of these conversations under these rows; `took` gets the milliseconds of ours."""
    scored: dict[str, list[Scored]] = {}
    with temporary_instance(encoder) as instance:
        for told in conversations:
            say(f"{told.name}: {len(told.turns)} turns, {len(told.questions)} questions")
            instance.add(told.name, [turn.item() for turn in told.turns])
            if not compared.keys().isdisjoint(PLAIN):
                instance.add(_plain(told.name), [_plain_item(turn) for turn in told.turns])
            for row, found in _scores(instance, told, compared, took).items():
                scored.setdefault(row, []).extend(found)
    return scored


def _scores(
    instance: Instance, told: Conversation, compared: Mapping[str, PipelineSettings], took: list[float]
) -> dict[str, list[Scored]]:
    """Every question of one conversation under every row; `took` gets the milliseconds of ours."""
    asked = [question for question in told.questions if question.evidence]
    session_of = {turn.id: turn.session for turn in told.turns}
    answers = ask(instance, compared, {OURS: told.name} | dict.fromkeys(PLAIN, _plain(told.name)), asked, LIMIT)
    took += [answer.took_ms for answer in answers[OURS]]
    return {
        row: [
            Scored(told.name, question.category, _metrics(answer.ranking, question, session_of))
            for question, answer in zip(asked, found, strict=True)
        ]
        for row, found in answers.items()
    }


def _plain(name: str) -> str:
    """The namespace of a conversation's plain texts."""
    return f"{name}.plain"


def _plain_item(turn: Turn) -> Item:
    """A turn as a store without recalld's fields gets it: no speaker, time or session but what the text says."""
    return Item(f"{turn.speaker}: {turn.text}", external_id=turn.id)


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


def summary(scored: Sequence[Scored]) -> dict[str, Any]:
    answerable = _answerable(scored)
    return {
        "categories 1-4": mean(answerable),
        "all categories": mean(scored),
        "by category": {
            name: mean([one for one in scored if one.category == category]) for category, name in CATEGORIES.items()
        },
        "by conversation": by(answerable, lambda one: one.group),
    }


def _answerable(scored: Sequence[Scored]) -> list[Scored]:
    return [one for one in scored if one.category != ADVERSARIAL]
