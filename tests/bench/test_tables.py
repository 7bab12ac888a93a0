"""README's tables come from the files and from nowhere else."""

import json
from pathlib import Path
from typing import Any

from bench.plots import Plot
from bench.tables import ROWS_SHOWN, figures

FRAME = {"commit": "abc123", "machine": {"cores": 2, "processor": "a processor"}}


def write(folder: Path, name: str, results: dict[str, Any]) -> None:
    (folder / f"{name}.json").write_text(json.dumps(FRAME | {"benchmark": name, "results": results}))


def test_no_files_give_no_tables(tmp_path: Path) -> None:
    assert figures(tmp_path) == ""


def test_every_figure_of_a_table_is_in_its_file(tmp_path: Path) -> None:
    row = {
        "categories 1-4": {"recall@10": 0.1234, "ndcg@10": 0.2345, "session hit@5": 0.3456, "n": 786},
        "by category": {"multi-hop": {"recall@10": 0.4567}},
    }
    write(tmp_path, "locomo", {"rows": dict.fromkeys(ROWS_SHOWN, row), "turns": {"a": 1, "b": 2}})
    told = figures(tmp_path)
    assert "| ours | 0.123 | 0.234 | 0.457 | 0.346 |" in told
    assert "2 conversations, 786 questions" in told
    assert "commit abc123, 2 cores, a processor" in told


def test_a_lost_memory_shows(tmp_path: Path) -> None:
    rounds = [{"lost": 0, "doubled": 0}, {"lost": 2, "doubled": 1}]
    write(tmp_path, "durability", {"rounds": rounds, "acknowledged": 1234, "clean": False})
    told = figures(tmp_path)
    assert "1,234 acknowledged memories, 2 lost, 1 doubled" in told
    assert "found differences" in told


def test_beams_tables_are_of_their_size_and_facts_are_beside_all(tmp_path: Path) -> None:
    row = {
        "all": {"recall@10": 0.1234, "ndcg@10": 0.2345, "hit@10": 0.3456, "n": 355},
        "fact": {"recall@10": 0.4567, "ndcg@10": 0.5678, "hit@10": 0.9, "n": 200},
    }
    for size in ("100K", "500K"):
        results = {"size": size, "rows": dict.fromkeys(ROWS_SHOWN, row), "messages": {"a": 1, "b": 2}}
        write(tmp_path, f"beam-{size}", results)
    told = figures(tmp_path)
    assert told.count("| plain rrf | 0.123 | 0.234 | 0.346 | 0.457 | 0.568 |") == 2
    assert "BEAM 100K, 2 chats, 355 questions" in told
    assert told.index("BEAM 100K") < told.index("BEAM 500K")


def test_longmemeval_has_sessions_and_turns(tmp_path: Path) -> None:
    names = ("session recall@1", "session recall@5", "session mrr", "turn recall@10")
    row = dict(zip(names, (0.9259, 0.9815, 0.9704, 0.8333), strict=True)) | {"n": 27}
    write(tmp_path, "longmemeval", {"rows": dict.fromkeys(ROWS_SHOWN, row), "turns": {"a": 1}})
    told = figures(tmp_path)
    assert "| ours | 0.926 | 0.982 | 0.970 | 0.833 |" in told
    assert "1 haystacks, 27 questions" in told


def test_multi_hop_tables_name_their_data_set_and_corpus(tmp_path: Path) -> None:
    row = {"all": {"recall@5": 0.1111, "recall@10": 0.2222, "ndcg@10": 0.3333, "all found@5": 0.4444, "n": 100}}
    for name in ("hotpot", "musique"):
        write(tmp_path, name, {"rows": dict.fromkeys(ROWS_SHOWN, row), "paragraphs": 1890})
    told = figures(tmp_path)
    assert told.count("| ours | 0.111 | 0.222 | 0.333 | 0.444 |") == 2
    assert "MuSiQue, 100 multi-hop questions over 1,890 paragraphs" in told


def test_calibration_has_a_line_for_each_reason_with_both_weights(tmp_path: Path) -> None:
    shipped, held_out = {"auroc": 0.9637, "ece": 0.0236, "n": 1604}, {"auroc": 0.9589, "ece": 0.0151, "n": 1604}
    write(
        tmp_path,
        "calibration",
        {"shipped": {"wrong store": {"all": shipped}}, "held out": {"wrong store": {"all": held_out}}},
    )
    assert "| wrong store | 1,604 | 0.964 | 0.024 | 0.959 | 0.015 |" in figures(tmp_path)


def test_a_plot_is_shown_under_the_table_of_its_benchmark(tmp_path: Path) -> None:
    write(tmp_path, "durability", {"rounds": [], "acknowledged": 0, "clean": True})
    drawn = [Plot("durability", "kills", "what was lost", "<svg/>"), Plot("locomo", "locomo", "no file", "<svg/>")]
    told = figures(tmp_path, drawn)
    assert "each time.\n\n![what was lost](docs/plots/kills.svg)\n\n<sub>" in told
    assert "locomo.svg" not in told


def test_ingest_says_how_long_the_texts_of_each_row_are(tmp_path: Path) -> None:
    stage = {"recall": {"http_ms": {"p50": 1.0, "p95": 2.0}}, "resident_mb": 3.0}
    first = stage | {"memories": 10, "text_bytes": 1_000}
    first["write"] = {"memories": 10, "written_per_s": 50.0, "encoded_per_s": 20.0}
    second = stage | {"memories": 15, "text_bytes": 11_000}
    second["write"] = {"memories": 5, "written_per_s": 50.0, "encoded_per_s": 4.0}
    write(tmp_path, "ingest", {"stages": [first, second], "resident_mb_idle": 1.0})
    told = figures(tmp_path)
    assert "| 10 | 100 | 50 | 20 | 2,000 | 1 / 2 ms | 3 MB |" in told
    assert "| 15 | 2000 | 50 | 4 | 8,000 | 1 / 2 ms | 3 MB |" in told


def test_a_recall_stands_beside_what_it_is_compared_with(tmp_path: Path) -> None:
    recall = {
        "http_ms": {"p50": 12.34, "p95": 20.0},
        "encode_ms": {"p50": 4.5, "p95": 6.0},
        "embed_http_ms": {"p50": 7.0},
        "again_ms": {"p50": 8.1},
        "times_encode": 2.74,
        "times_embed_http": 1.76,
    }
    add = {"ours_ms": {"p50": 4.0}, "bare_ms": {"p50": 3.2}, "times_bare": 1.25}
    stage = {"memories": 100_000, "recall": recall, "add": add, "resident_mb": 700.0}
    write(tmp_path, "end_to_end", {"stages": [stage], "texts": 100_600, "texts_repeated": 80_600})
    told = figures(tmp_path)
    assert (
        "| 100,000 | 12.3 / 20.0 ms | 4.5 / 6.0 ms | 7.0 ms | 2.74 | 1.76 | 8.1 ms | 4.00 / 3.20 ms = 1.25 | 700 MB |"
    ) in told
    assert "20,000 distinct texts" in told


FOUND = {
    "recall": 0.9876,
    "returned": 1.0,
    "ms": {"p50": 1.234, "p95": 5.678, "n": 3},
    "build_s": 12.34,
    "memory_grown": 5_000,
    "told": {"memory": 64_000},
}


def test_memory_is_what_an_index_says_or_what_it_took_whichever_is_more(tmp_path: Path) -> None:
    stage = {"vectors": 1000, "real": 1000, "engines": {"ours": FOUND, "a peer": FOUND | {"told": {}}}}
    codec = {"bytes_vector": 48, "lost": 0.3412, "found_among": {"10": 0.7, "100": 0.99, "300": 1.0}}
    write(tmp_path, "vector_index", {"stages": [stage], "codecs": {"pq": codec}})
    told = figures(tmp_path)
    assert "| 1,000 | ours | 0.988 | 64 | 1.23 / 5.68 ms | 12.3 s |" in told
    assert "| 1,000 | a peer | 0.988 | 5 | 1.23 / 5.68 ms | 12.3 s |" in told
    assert "| pq | 48 | 0.3412 | 0.700 / 0.990 / 1.000 |" in told


def test_the_share_of_rows_that_came_back_is_in_the_table(tmp_path: Path) -> None:
    engines = {"ours": FOUND, "a peer": FOUND | {"returned": 0.46}}
    write(tmp_path, "filtered", {"vectors": 100_000, "kept": 0.01, "engines": engines})
    told = figures(tmp_path)
    assert "keeps 1% of 100,000 vectors" in told
    assert "| ours | 0.988 | 100% | 1.23 / 5.68 ms |" in told
    assert "| a peer | 0.988 | 46% | 1.23 / 5.68 ms |" in told


def test_ingest_and_working_memory_have_their_figures(tmp_path: Path) -> None:
    row = {"f1": 0.4321, "exact f1": 0.1234}
    ways = ("ours", "ours, with times", "time gaps", "neighbours", "fixed windows", "chance")
    found = {"boundaries": 1234, "rows": dict.fromkeys(ways, row)}
    write(tmp_path, "segments", {"tolerance": 1, "data": {"a chat": found}})
    data = {"turns": 2960, "share flagged": 0.0145, "evidence": 743, "share of evidence flagged": 0.5}
    noise = {"data": {"locomo": data, "none": data | {"share of evidence flagged": None}}}
    write(tmp_path, "noise", noise | {"labels": {"read": 44, "flagged": 45, "precision": 0.9876}})
    tokens = {"1000": {"n": 2, "state": 120.4, "prompt": 1050.4, "history": 91234.4}}
    cited = {"recall@10, with state": 0.8, "recall@10, without": 0.81, "with state": 0.82, "without": 0.83, "n": 50}
    flat = {"budget": 1024, "tokens": tokens, "most": {"1000": 1099}, "evidence cited": cited}
    write(tmp_path, "flat_prompt", flat)
    engine = {"precision": 0.7654, "recall": 0.99876, "bytes_text": 114.6, "sign_us": 14.9, "ask_and_add_us": 48.3}
    alike = {"texts": 100000, "near_duplicates": 29290, "similarity_min": 0.7, "engines": {"ours": engine}}
    write(tmp_path, "near_duplicates", alike)
    told = figures(tmp_path)
    assert "among 100,000 texts, 29,290 of them" in told
    assert "| ours | 0.765 | 0.9988 | 115 | 15 us | 48 us |" in told
    assert f"| a chat | 1,234 |{' 0.432 |' * 6} 0.123 |" in told
    assert "| locomo | 2,960 | 1.45% | 743 | 50.00% |" in told
    assert "| none | 2,960 | 1.45% | 743 |  |" in told
    assert "44 of 45 flagged turns read by a person, 0.988 of them" in told
    assert "| 1,000 | 2 | 120 | 1,050 | 1,099 | 91,234 |" in told
    assert "0.800 and 0.810" in told
    assert "0.820 and 0.830 (50 questions)" in told
    write(tmp_path, "flat_prompt", flat | {"evidence cited": {"with state": 0.82, "without": 0.83, "n": 50}})
    assert "Recall@10" not in figures(tmp_path)


def test_the_cost_of_reading_in_batches_stands_beside_a_turn_a_call(tmp_path: Path) -> None:
    each = {"calls": 0, "cpu s": 121.4, "wall s": 200.4, "wall s, writing and indexing": 180.4}
    rules = {"turns": 1000, "per 1,000 turns": each | {"bytes": {"index": 3 * 2**20}}}
    counts = {"calls": 12, "prompt_tokens": 3456, "completion_tokens": 789}
    data = {"locomo": {"turns": 100, "segments": counts, "one a turn": counts | {"calls": 98}}}
    write(tmp_path, "cost", {"rules": rules, "scripted": {"tokenizer": "words", "data": data}})
    told = figures(tmp_path)
    assert "0 calls of a language model, 121 s of processor time, 200 s of wall time (180 s" in told
    assert "index 3,146 kB" in told
    assert "| locomo (words) | 100 | segments | 12 | 3,456 | 789 |" in told
    assert "| locomo (words) | 100 | one a turn | 98 | 3,456 | 789 |" in told
    write(tmp_path, "cost", {"rules": rules})
    assert "by a real tokenizer" not in figures(tmp_path)


def test_both_layers_stand_under_each_other(tmp_path: Path) -> None:
    names = ("recall@10", "ndcg@10", "coverage@500", "coverage@1000", "coverage@2000")
    metrics = dict(zip(names, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True)) | {"n": 9}
    kinds = ("newest first", "older first, or alone", "that is said")
    order = {f"{name}@{budget}": 0.25 for name in kinds for budget in (500, 1000, 2000)} | {"n": 37}
    told = {
        "layers": {"off": metrics, "on": metrics},
        "recall_ms": {layer: {"p50": 12.34} for layer in ("off", "on")},
        "knowledge_update": {"off": order, "on": order},
    }
    write(tmp_path, "coverage", {"beam-100K": told})
    shown = figures(tmp_path)
    assert "| beam-100K (9), on | 0.100 | 0.200 | 0.300 | 0.400 | 0.500 | 12.3 ms |" in shown
    assert "| 1,000 | on | 0.25 | 0.25 | 0.25 |" in shown
    assert "Of 37 questions" in shown


def test_false_merges_are_told_beside_the_links(tmp_path: Path) -> None:
    links = {"pairs": 37, "share found": 0.5, "false per 1,000 user turns": 35.6}
    beam = {"possibly_supersedes": links, "conflict": links}
    write(tmp_path, "change", {"beam-100K": beam, "false merges": {"pairs": 200, "merged": 3}})
    assert "Of 200 pairs of turns that look alike and say different things, 3 were merged." in figures(tmp_path)
