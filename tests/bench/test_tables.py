"""README's tables come from the files and from nowhere else."""

import json
from pathlib import Path
from typing import Any

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
