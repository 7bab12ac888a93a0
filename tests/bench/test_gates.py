"""Recall quality does not fall: what was reached on LoCoMo, less what a change may cost by chance."""

import pytest

from bench import files
from bench.ablation import OURS
from bench.datasets import locomo
from bench.locomo import measure, summary
from recalld.core.errors import ConfigError
from retrieval.weights import PipelineSettings

SLACK = 0.015
REACHED = {"recall@10": 0.885, "ndcg@10": 0.739, "session hit@5": 0.973}
MULTI_HOP_REACHED = 0.677


@pytest.mark.slow
def test_recall_on_locomo_is_what_it_was() -> None:
    try:
        conversations = locomo()
    except ConfigError:
        pytest.skip(f"LoCoMo is not in {files.DATA}; its licence does not let it be shipped")
    told = summary(measure(conversations, {OURS: PipelineSettings()}, "minilm", [])[OURS])
    found = {name: told["categories 1-4"][name] for name in REACHED} | {
        "multi-hop": told["by category"]["multi-hop"]["recall@10"]
    }
    short = {
        name: (found[name], reached)
        for name, reached in (REACHED | {"multi-hop": MULTI_HOP_REACHED}).items()
        if found[name] < reached - SLACK
    }
    assert not short
