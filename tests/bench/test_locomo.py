"""The benchmark through the service, on a conversation that is small enough to know the answers."""

from pathlib import Path

from bench.ablation import baselines, rows
from bench.locomo import run
from bench.runner import Options
from retrieval.weights import PipelineSettings


def test_a_small_conversation_is_scored_by_hand(locomo_file: Path) -> None:
    found = run(Options(data=locomo_file, encoder="hash"))
    assert set(found["rows"]) == {*rows(PipelineSettings()), *baselines(PipelineSettings()), "plain rrf"}
    assert found["turns"] == {"conv-1": 5}
    ours = found["rows"]["ours"]
    assert ours["categories 1-4"]["n"] == 3
    assert ours["all categories"]["n"] == 4
    assert ours["categories 1-4"]["recall@10"] == 1.0
    assert ours["by category"]["single-hop"] == {
        "recall@5": 1.0,
        "recall@10": 1.0,
        "hit@10": 1.0,
        "ndcg@10": 1.0,
        "mrr": 1.0,
        "session hit@5": 1.0,
        "n": 1,
    }
    assert ours["by category"]["open-domain"] == {"n": 0}
    assert ours["by conversation"]["conv-1"] == ours["categories 1-4"]


def test_the_rows_differ_and_an_interval_is_of_ours_against_each(locomo_file: Path) -> None:
    found = run(Options(data=locomo_file, encoder="hash"))
    assert set(found["intervals"]) == {f"ours against {row}" for row in found["rows"] if row != "ours"}
    lexical, ours = found["rows"]["ours - lexical"]["categories 1-4"], found["rows"]["ours"]["categories 1-4"]
    interval = found["intervals"]["ours against ours - lexical"]["ndcg@10"]
    assert abs(interval["mean"] - (ours["ndcg@10"] - lexical["ndcg@10"])) < 2e-4
    assert interval["low"] <= interval["mean"] <= interval["high"]
    assert found["recall_ms"]["n"] == 4


def test_without_ablations_the_baselines_and_the_previous_recipe_are_left(locomo_file: Path) -> None:
    found = run(Options(data=locomo_file, encoder="hash", ablations=False))
    assert list(found["rows"]) == ["ours", "previous recipe", "plain dense", "plain bm25", "plain rrf"]


def test_the_limit_is_of_conversations(locomo_file: Path) -> None:
    told = locomo_file.read_text()
    locomo_file.write_text(f"{told[:-1]},{told[1:-1].replace('conv-1', 'conv-2')}]")
    assert run(Options(data=locomo_file, encoder="hash", ablations=False, limit=1))["turns"] == {"conv-1": 5}
