"""LongMemEval: is the session that answers a question among the first five recalled, and the turn, where the data
names it?

Through the service that the API uses, like `bench.locomo`. The haystacks of the full `longmemeval_s` are not
shipped: give the file. A question without an answer session (an abstention) is left out and counted.
"""

from collections.abc import Sequence
from typing import Any

from bench.ablation import OURS, ask, baselines, rows
from bench.datasets import Question, longmemeval
from bench.instance import temporary_instance
from bench.metrics import means, percentiles, recall_at, reciprocal_rank
from bench.runner import Options, say
from retrieval.weights import PipelineSettings

LIMIT = 50


def run(options: Options) -> dict[str, Any]:
    """Every haystack under every row; the plain baselines see the same texts and nothing else."""
    scored: dict[str, list[dict[str, float]]] = {}
    took: list[float] = []
    settings = PipelineSettings()
    compared = rows(settings, options.ablations) | baselines(settings)
    haystacks = longmemeval(options.data)[: options.limit]
    with temporary_instance(options.encoder) as instance:
        for told in haystacks:
            say(f"{told.name}: {len(told.turns)} turns, {len(told.questions)} questions")
            instance.add(told.name, [turn.item() for turn in told.turns])
            session_of = {turn.id: turn.session for turn in told.turns}
            asked = [question for question in told.questions if question.sessions]
            answers = ask(instance, compared, {OURS: told.name}, asked, LIMIT)
            took += [answer.took_ms for answer in answers[OURS]]
            for row, found in answers.items():
                scored.setdefault(row, []).extend(
                    _metrics(question, answer.ranking, [session_of[turn] for turn in answer.ranking])
                    for question, answer in zip(asked, found, strict=True)
                )
    questions = sum(len(told.questions) for told in haystacks)
    return {
        "rows": {row: means(found) for row, found in scored.items()},
        "left out": questions - len(scored[OURS]),
        "recall_ms": percentiles(took),
        "turns": {told.name: len(told.turns) for told in haystacks},
    }


def _metrics(question: Question, ranking: Sequence[str], sessions: Sequence[str]) -> dict[str, float]:
    distinct = list(dict.fromkeys(sessions))
    return {
        "session recall@1": recall_at(1, distinct, question.sessions),
        "session recall@5": recall_at(5, distinct, question.sessions),
        "session mrr": reciprocal_rank(distinct, question.sessions),
    } | ({"turn recall@10": recall_at(10, ranking, question.evidence)} if question.evidence else {})
