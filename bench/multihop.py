"""HotpotQA and MuSiQue: are the paragraphs that a multi-hop question needs among the first recalled?

Each paragraph is one memory of kind `document`, title in its first line, and a data set is one namespace that holds all
of its paragraphs. A question needs two to four of them; `all found@5` is whether all are among the first five. The
plain baselines see the same texts.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.ablation import OURS, ask, baselines, rows
from bench.corpora import Corpus
from bench.instance import temporary_instance
from bench.metrics import ndcg_at, percentiles, recall_at
from bench.runner import Options, say
from bench.scores import Scored, by, intervals, mean
from retrieval.weights import PipelineSettings

LIMIT = 10
COMPARED = ("recall@5", "recall@10", "ndcg@10", "all found@5")


def run(load: Callable[[Path | None, int | None], Corpus], options: Options) -> dict[str, Any]:
    """One data set under every row."""
    settings = PipelineSettings()
    corpus = load(options.data, options.limit)
    asked = [question for question in corpus.questions if question.evidence]
    say(f"{corpus.name}: {len(corpus.paragraphs)} paragraphs, {len(asked)} questions")
    with temporary_instance(options.encoder) as instance:
        instance.add(corpus.name, [paragraph.item() for paragraph in corpus.paragraphs])
        compared = rows(settings, options.ablations) | baselines(settings)
        answers = ask(instance, compared, {OURS: corpus.name}, asked, LIMIT)
    scored = {
        row: [
            Scored(corpus.name, question.category, _metrics(answer.ranking, question.evidence))
            for question, answer in zip(asked, found, strict=True)
        ]
        for row, found in answers.items()
    }
    return {
        "rows": {
            row: {"all": mean(found), "by type": by(found, lambda one: one.category)} for row, found in scored.items()
        },
        "intervals": intervals(scored, COMPARED, options.seed),
        "recall_ms": percentiles([answer.took_ms for answer in answers[OURS]]),
        "paragraphs": len(corpus.paragraphs),
        "settings": asdict(settings),
    }


def _metrics(ranking: tuple[str, ...], evidence: frozenset[str]) -> dict[str, float]:
    return {
        "recall@5": recall_at(5, ranking, evidence),
        "recall@10": recall_at(10, ranking, evidence),
        "ndcg@10": ndcg_at(10, ranking, evidence),
        "all found@5": float(evidence.issubset(ranking[:5])),
    }
