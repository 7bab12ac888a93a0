"""BEAM: are the exchanges that answer a question among the first ten, in chats of 100,000 and 500,000 tokens?

Each message is one memory, each chat a namespace. What is scored is the *exchange*, a run of the user's messages and
the reply to it: a question's evidence and what is recalled are mapped to exchanges, and recall@k is over the first k
distinct ones, for which 50 memories are asked. The plain baselines see the same texts and nothing else.

Reported: all questions that have evidence, and FACT, the types that ask for something that was said. An abstention has
none: of these only the AUROC of the best relevance against that of the questions with evidence is reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.ablation import OURS, Answer, ask, baselines, rows
from bench.datasets import Conversation, Turn, beam
from bench.instance import temporary_instance
from bench.metrics import auroc, hit_at, ndcg_at, percentiles, recall_at
from bench.runner import Options, say
from bench.scores import Scored, by, intervals, mean
from retrieval.weights import PipelineSettings

LIMIT = 50
ABSTENTION = "abstention"
FACT = frozenset(
    {
        "information_extraction",
        "knowledge_update",
        "contradiction_resolution",
        "temporal_reasoning",
        "multi_session_reasoning",
    }
)
COMPARED = ("recall@10", "ndcg@10", "hit@10")


def run(size: str, options: Options) -> dict[str, Any]:
    """Every chat of one size under every row."""
    settings = PipelineSettings()
    compared = rows(settings, options.ablations) | baselines(settings)
    scored: dict[str, list[Scored]] = {}
    ours: list[Answer] = []
    abstained: list[Answer] = []
    chats = beam(size, options.data)[: options.limit]
    with temporary_instance(options.encoder) as instance:
        for told in chats:
            say(f"{told.name}: {len(told.turns)} messages, {len(told.questions)} questions")
            instance.add(told.name, [turn.item() for turn in told.turns])
            answerable = [question for question in told.questions if question.evidence]
            answers = ask(instance, compared, {OURS: told.name}, answerable, LIMIT)
            ours += answers[OURS]
            unanswerable = [question for question in told.questions if question.category == ABSTENTION]
            abstained += ask(instance, {OURS: settings}, {OURS: told.name}, unanswerable, LIMIT)[OURS]
            for row, found in answers.items():
                scored.setdefault(row, []).extend(_scores(told, found))
    return {
        "size": size,
        "rows": {row: _summary(found) for row, found in scored.items()},
        "intervals": intervals(scored, COMPARED, options.seed),
        "abstention": _abstention(ours, abstained),
        "recall_ms": percentiles([answer.took_ms for answer in ours]),
        "messages": {told.name: len(told.turns) for told in chats},
        "settings": asdict(settings),
    }


def exchanges(turns: Sequence[Turn]) -> dict[str, str]:
    """The exchange of each turn: a new one begins where the user speaks after the assistant."""
    found: dict[str, str] = {}
    number, before = 0, "user"
    for turn in turns:
        number += turn.role == "user" and before != "user"
        before = turn.role or ""
        found[turn.id] = str(number)
    return found


def _scores(told: Conversation, answers: Sequence[Answer]) -> list[Scored]:
    exchange_of = exchanges(told.turns)
    asked = [question for question in told.questions if question.evidence]
    return [
        Scored(told.name, question.category, _metrics(exchange_of, answer.ranking, question.evidence))
        for question, answer in zip(asked, answers, strict=True)
    ]


def _metrics(exchange_of: Mapping[str, str], ranking: Sequence[str], cited: frozenset[str]) -> dict[str, float]:
    distinct = list(dict.fromkeys(exchange_of[message] for message in ranking))
    evidence = {exchange_of[message] for message in cited}
    return {
        "recall@10": recall_at(10, distinct, evidence),
        "ndcg@10": ndcg_at(10, distinct, evidence),
        "hit@10": hit_at(10, distinct, evidence),
    }


def _summary(scored: Sequence[Scored]) -> dict[str, Any]:
    return {
        "all": mean(scored),
        "fact": mean([one for one in scored if one.category in FACT]),
        "by type": by(scored, lambda one: one.category),
        "by chat": by(scored, lambda one: one.group),
    }


def _abstention(answerable: Sequence[Answer], abstained: Sequence[Answer]) -> dict[str, float]:
    if not (answerable and abstained):
        return {"n": len(abstained)}
    found = auroc([answer.relevance for answer in answerable], [answer.relevance for answer in abstained])
    return {"auroc": round(found, 4), "n": len(abstained)}
