"""Paragraphs through the service, few enough to know the answers."""

from pathlib import Path

from bench.corpora import hotpot, musique
from bench.multihop import run
from bench.runner import Options


def test_all_paragraphs_of_a_small_corpus_are_found(hotpot_file: Path) -> None:
    found = run(hotpot, Options(data=hotpot_file, encoder="hash"))
    assert found["paragraphs"] == 4
    ours = found["rows"]["ours"]
    assert (ours["all"]["recall@5"], ours["all"]["all found@5"], ours["all"]["n"]) == (1.0, 1.0, 2)
    assert {kind: means["n"] for kind, means in ours["by type"].items()} == {"bridge": 1, "comparison": 1}
    assert 0.5 < ours["all"]["ndcg@10"] <= 1.0
    assert {"plain rrf", "previous recipe", "ours - lexical"} < found["rows"].keys()


def test_a_paragraph_is_one_memory_whatever_other_has_its_title(musique_file: Path) -> None:
    found = run(musique, Options(data=musique_file, encoder="hash", ablations=False))
    assert found["paragraphs"] == 3
    assert found["rows"]["plain bm25"]["by type"].keys() == {"3hop", "2hop"}
    assert found["rows"]["plain bm25"]["by type"]["2hop"]["ndcg@10"] == 1.0
