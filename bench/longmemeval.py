"""LongMemEval: is the session that answers a question among the first five recalled, and the turn, where the data
names it?

Through the service that the API uses, like `bench.locomo`. The haystacks of the full `longmemeval_s` are not
shipped: give the file. A question without an answer session (an abstention) is left out and counted.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any

from bench.datasets import Question, longmemeval
from bench.instance import temporary_instance
from bench.locomo import ROWS
from bench.metrics import means, percentiles, recall_at, reciprocal_rank
from bench.runner import Options, say

LIMIT = 50
COMPARED = ("ours", "dense alone", "bm25 alone", "ours - session")


def run(options: Options) -> dict[str, Any]:
    """Every haystack under the rows of `COMPARED`."""
    scored: dict[str, list[dict[str, float]]] = {row: [] for row in COMPARED}
    took: list[float] = []
    haystacks = longmemeval(options.data)
    with temporary_instance(options.encoder) as instance:
        for told in haystacks:
            say(f"{told.name}: {len(told.turns)} turns, {len(told.questions)} questions")
            instance.add(told.name, [turn.item() for turn in told.turns])
            session_of = {turn.id: turn.session for turn in told.turns}
            for row in COMPARED:
                recaller = instance.recaller(None if row == "ours" else ROWS[row])
                for question in (question for question in told.questions if question.sessions):
                    started = perf_counter()
                    answer = instance.recall(recaller, told.name, question.text, question.asked_at, LIMIT)
                    if row == "ours":
                        took.append((perf_counter() - started) * 1000)
                    ranking = [str(hit.memory.item.external_id) for hit in answer.results]
                    scored[row].append(_metrics(question, ranking, [session_of[turn] for turn in ranking]))
    asked = sum(len(told.questions) for told in haystacks)
    return {
        "rows": {row: means(found) for row, found in scored.items()},
        "left out": asked - len(scored["ours"]),
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
