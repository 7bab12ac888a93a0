"""README's plots: SVG made from the JSON files in `bench/results`, byte for byte the same on every machine that has the
Matplotlib of `constraints.txt`.

Text stays text, measured with the font that Matplotlib brings; ids are salted with a constant, and neither a date nor a
version is written. A benchmark that has no file has no plot.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.ablation import OURS, PLAIN, PLAIN_RRF

COLOURS = {"recall@10": "#0072b2", "ndcg@10": "#e69f00"}
LABELS = {"recall@10": "recall@10", "ndcg@10": "NDCG@10"}
WEIGHTS = {"shipped": "#0072b2", "held out": "#e69f00"}
SIZES = ("#56b4e9", "#0072b2", "#d55e00", "#009e73")
WIDTH, HEIGHT = 6.4, 2.8


@dataclass(frozen=True, slots=True)
class Plot:
    """One figure of one benchmark; `alt` says what it shows to whoever does not see it."""

    benchmark: str
    name: str
    alt: str
    svg: str


def plots(results: Path) -> list[Plot]:
    """Every plot that the files have figures for."""
    return [
        Plot(benchmark, name, alt, _svg(figure))
        for benchmark, draw in DRAWN.items()
        if (file := results / f"{benchmark}.json").exists()
        for name, alt, figure in draw(json.loads(file.read_text(encoding="utf-8"))["results"])
    ]


Drawn = Iterator[tuple[str, str, Callable[[], Figure]]]


def _svg(draw: Callable[[], Figure]) -> str:
    """The drawing as text, whatever the user's own settings of Matplotlib are."""
    with matplotlib.rc_context():
        _style()
        text = io.StringIO()
        draw().savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _style() -> None:
    matplotlib.rcdefaults()
    matplotlib.rc("axes.spines", right=False, top=False)
    matplotlib.rc("font", family="DejaVu Sans", size=9)
    matplotlib.rc("legend", frameon=False)
    matplotlib.rc("svg", fonttype="none", hashsalt="recalld")


def _locomo(results: Mapping[str, Any]) -> Drawn:
    rows = results["rows"]
    yield "locomo", "recall@10 and NDCG@10 on LoCoMo of plain baselines and ours", lambda: _compared(rows)
    without = {
        name.removeprefix(f"{OURS} against {OURS} - "): found
        for name, found in results["intervals"].items()
        if name.startswith(f"{OURS} against {OURS} - ")
    }
    if without:
        yield "ablation", "what each signal adds to ours on LoCoMo", lambda: _ablation(without)


def _compared(rows: Mapping[str, Any]) -> Figure:
    """Two bars for each of the plain baselines and ours."""
    figure, axes = _axes()
    names = (*PLAIN, PLAIN_RRF, OURS)
    for place, metric in enumerate(COLOURS):
        values = [rows[name]["categories 1-4"][metric] for name in names]
        at = [number + 0.38 * place for number in range(len(names))]
        bars = axes.bar(at, values, width=0.36, color=COLOURS[metric], label=LABELS[metric])
        axes.bar_label(bars, labels=[f"{value:.3f}" for value in values], padding=2)
    axes.set_xticks([number + 0.19 for number in range(len(names))], names)
    axes.set_ylim(0, 1)
    axes.legend(loc="upper left")
    return figure


def _ablation(without: Mapping[str, Any]) -> Figure:
    """How much is lost without each signal, with its 95 % interval, the most on top."""
    figure, axes = _axes(0.8 + 0.36 * len(without))
    names = sorted(without, key=lambda name: float(without[name]["ndcg@10"]["mean"]))
    for place, metric in enumerate(reversed(COLOURS)):
        found = [without[name][metric] for name in names]
        means = [one["mean"] for one in found]
        below = [one["mean"] - one["low"] for one in found]
        above = [one["high"] - one["mean"] for one in found]
        at = [number + 0.38 * place for number in range(len(names))]
        axes.barh(at, means, height=0.36, color=COLOURS[metric], label=LABELS[metric])
        axes.errorbar(means, at, xerr=[below, above], fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
    axes.set_yticks([number + 0.19 for number in range(len(names))], names)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("lost without it")
    axes.legend(loc="lower right", reverse=True)
    return figure


def _calibration(results: Mapping[str, Any]) -> Drawn:
    yield "calibration", "how often a relevance of each size is right", lambda: _reliability(results)


def _reliability(results: Mapping[str, Any]) -> Figure:
    """Observed rate over relevance; a point's area is the share of the recalls in it."""
    figure, axes = _axes()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--")
    for weights, colour in WEIGHTS.items():
        found = results[weights]["wrong store"]["all"]
        means = [point["mean"] for point in found["curve"]]
        observed = [point["observed"] for point in found["curve"]]
        areas = [20 + 300 * point["n"] / found["n"] for point in found["curve"]]
        axes.plot(means, observed, color=colour, linewidth=1.2, label=f"{weights}, ECE {found['ece']:.3f}")
        axes.scatter(means, observed, s=areas, color=colour, alpha=0.6, linewidths=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("relevance of the best hit")
    axes.set_ylabel("store answers")
    axes.legend(loc="upper left")
    return figure


def _vector_index(results: Mapping[str, Any]) -> Drawn:
    alt = "time of a search over bytes of memory a vector, by index, with its recall@10"
    yield "vector_index", alt, lambda: _traded(results["stages"])


def _traded(stages: Sequence[Mapping[str, Any]]) -> Figure:
    """Time over memory, one colour a size; down and left is better, and a label says how much is found."""
    figure, axes = _axes(3.6)
    for stage, colour in zip(stages, SIZES, strict=False):
        for number, (name, found) in enumerate(stage["engines"].items()):
            memory = max(found["memory_grown"], found["told"].get("memory", 0)) / stage["vectors"]
            label = f"{stage['vectors']:,} vectors" if not number else None
            size = 60 if name == "ours" else 16
            axes.scatter([memory], [found["ms"]["p50"]], s=size, color=colour, label=label, linewidths=0)
            axes.annotate(
                f"{name} {found['recall']:.3f}",
                (memory, found["ms"]["p50"]),
                xytext=(4, 3),
                textcoords="offset points",
                fontsize=6,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("bytes of memory a vector")
    axes.set_ylabel("ms a search, p50")
    axes.legend(loc="upper left", fontsize=7)
    return figure


def _flat_prompt(results: Mapping[str, Any]) -> Drawn:
    alt = "tokens of a prompt with working memory and of the whole history, by turn"
    yield "flat_prompt", alt, lambda: _flat(results["tokens"])


def _flat(tokens: Mapping[str, Any]) -> Figure:
    """Tokens over turns, both logarithmic; the prompt is to stay flat."""
    figure, axes = _axes()
    turns = [int(each) for each in tokens]
    for name, label, colour in (
        ("history", "the whole history", "#d55e00"),
        ("prompt", "context and last turn", "#0072b2"),
        ("state", "working memory alone", "#009e73"),
    ):
        values = [found[name] for found in tokens.values()]
        axes.plot(turns, values, color=colour, marker="o", markersize=4, linewidth=1.2, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("turn of the session")
    axes.set_ylabel("tokens")
    axes.legend(loc="upper left")
    return figure


def _axes(height: float = HEIGHT) -> tuple[Figure, Axes]:
    """One set of axes with fixed margins, in inches: a layout that measures text would depend on its font."""
    left, right, bottom, top = 1.1, 0.1, 0.5, 0.1
    box = (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (bottom + top) / height)
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.add_axes(box)


DRAWN: dict[str, Callable[[Mapping[str, Any]], Drawn]] = {
    "locomo": _locomo,
    "calibration": _calibration,
    "vector_index": _vector_index,
    "flat_prompt": _flat_prompt,
}
