"""Plots come from the files, byte for byte the same each time."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.plots import plots

MEANS = {"recall@10": 0.5, "ndcg@10": 0.25}
CURVE = [{"mean": 0.1, "observed": 0.2, "n": 3}, {"mean": 0.9, "observed": 0.8, "n": 1}]
REPORTS: dict[str, dict[str, Any]] = {
    "locomo": {
        "rows": {
            row: {"categories 1-4": {metric: value * share for metric, value in MEANS.items()}}
            for row, share in (("plain dense", 0.5), ("plain bm25", 0.6), ("plain rrf", 0.7), ("ours", 1.5))
        },
        "intervals": {
            "ours against plain dense": {"ndcg@10": {"mean": 9.0, "low": 9.0, "high": 9.0}},
            **{
                f"ours against ours - {signal}": {
                    metric: {"mean": lost, "low": lost - 0.01, "high": lost + 0.02} for metric in MEANS
                }
                for signal, lost in (("lexical", 0.03), ("date", 0.1))
            },
        },
    },
    "calibration": {
        weights: {"wrong store": {"all": {"curve": CURVE, "ece": ece, "n": 4}}}
        for weights, ece in (("shipped", 0.0375), ("held out", 0.05))
    },
    "flat_prompt": {
        "tokens": {
            "10": {"state": 90, "prompt": 300, "history": 280},
            "1000": {"state": 120, "prompt": 1050, "history": 90_000},
        }
    },
    "vector_index": {
        "stages": [
            {
                "vectors": size,
                "engines": {
                    "ours": {"recall": 0.9954, "memory_grown": 0, "told": {"memory": 56 * size}, "ms": {"p50": 0.4}},
                    "a peer": {"recall": 0.9871, "memory_grown": 800 * size, "told": {}, "ms": {"p50": 0.5}},
                },
            }
            for size in (1000, 20_000)
        ]
    },
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, report in REPORTS.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"results": report}))
    return tmp_path


def words(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_no_files_give_no_plots(tmp_path: Path) -> None:
    assert plots(tmp_path) == []


def test_values_of_the_bars_are_those_of_the_file(results: Path) -> None:
    drawn = {plot.name: plot for plot in plots(results)}
    assert [(plot.benchmark, plot.name) for plot in drawn.values()] == [
        ("locomo", "locomo"),
        ("locomo", "ablation"),
        ("calibration", "calibration"),
        ("vector_index", "vector_index"),
        ("flat_prompt", "flat_prompt"),
    ]
    assert {"the whole history", "context and last turn", "tokens"} <= set(words(drawn["flat_prompt"].svg))
    points = words(drawn["vector_index"].svg)
    assert {"ours 0.995", "a peer 0.987", "1,000 vectors", "20,000 vectors"} <= set(points)
    assert {"0.250", "0.300", "0.350", "0.750", "0.125", "0.375", "ours", "recall@10"} <= set(
        words(drawn["locomo"].svg)
    )
    signals = [word for word in words(drawn["ablation"].svg) if word in ("lexical", "date", "plain dense")]
    assert signals == ["lexical", "date"]
    assert {"shipped, ECE 0.037", "held out, ECE 0.050"} <= set(words(drawn["calibration"].svg))


def test_a_run_without_ablations_has_no_plot_of_them(results: Path) -> None:
    report = REPORTS["locomo"] | {"intervals": {}}
    (results / "locomo.json").write_text(json.dumps({"results": report}))
    assert [plot.name for plot in plots(results)] == ["locomo", "calibration", "vector_index", "flat_prompt"]


def test_a_plot_says_nothing_of_where_and_when_it_was_drawn(results: Path) -> None:
    for plot in plots(results):
        assert len(plot.svg) < 25_000
        assert "<dc:date>" not in plot.svg
        assert "<dc:creator>" not in plot.svg


def test_another_process_with_other_settings_of_matplotlib_draws_the_same_bytes(results: Path) -> None:
    (results / "matplotlibrc").write_text("font.size: 30\nsvg.fonttype: path\naxes.grid: True\nfigure.dpi: 300\n")
    program = (
        "import hashlib, pathlib, bench.plots as p\n"
        "for plot in p.plots(pathlib.Path('.')): print(plot.name, hashlib.sha256(plot.svg.encode()).hexdigest())"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "7", "HOME": str(results), "PATH": "/usr/bin"}
    told = subprocess.run(
        [sys.executable, "-c", program], cwd=results, env=environment, capture_output=True, text=True, check=True
    )
    here = [f"{plot.name} {hashlib.sha256(plot.svg.encode()).hexdigest()}" for plot in plots(results)]
    assert told.stdout.splitlines() == here
