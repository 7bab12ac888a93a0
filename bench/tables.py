"""README's figures, made from the JSON files in `bench/results`: no number in them is typed by hand."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.ablation import OURS, PLAIN, PLAIN_RRF
from bench.datasets import BEAM_SIZES
from bench.plots import Plot

ROWS_SHOWN = (*PLAIN, PLAIN_RRF, OURS)
MAKE = "`make bench BENCH={name}`, commit {commit}, {cores} cores, {processor}"


def figures(results: Path, plots: Sequence[Plot] = ()) -> str:
    """The section, as Markdown, with links to the plots; a benchmark that has no file has no table."""
    told = [
        "\n\n".join(
            [
                table(report["results"]),
                *(f"![{plot.alt}](docs/plots/{plot.name}.svg)" for plot in plots if plot.benchmark == name),
                f"<sub>{_source(report)}</sub>\n",
            ]
        )
        for name, table in TABLES.items()
        if (report := _read(results / f"{name}.json")) is not None
    ]
    return "\n".join(told)


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _source(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    return MAKE.format(
        name=report["benchmark"],
        commit=report["commit"],
        cores=machine["cores"],
        processor=machine["processor"],
    )


def _locomo(results: Mapping[str, Any]) -> str:
    rows = results["rows"]
    n = int(rows["ours"]["categories 1-4"]["n"])
    lines = [
        f"**Recall of evidence turns**, LoCoMo, {len(results['turns'])} conversations, {n} questions, no LLM; *plain*:"
        ' what a plain store does with "speaker: text"',
        "",
        "| | recall@10 | NDCG@10 | multi-hop recall@10 | session hit@5 |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS_SHOWN:
        means, multi_hop = rows[row]["categories 1-4"], rows[row]["by category"]["multi-hop"]
        shown = (means["recall@10"], means["ndcg@10"], multi_hop["recall@10"], means["session hit@5"])
        lines.append(_line(row, shown))
    return "\n".join(lines)


def _beam(results: Mapping[str, Any]) -> str:
    rows = results["rows"]
    lines = [
        f"**Recall of evidence exchanges**, BEAM {results['size']}, {len(results['messages'])} chats,"
        f" {int(rows[OURS]['all']['n'])} questions; *fact*: those that ask for something that was said",
        "",
        "| | recall@10 | NDCG@10 | hit@10 | fact recall@10 | fact NDCG@10 |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS_SHOWN:
        every, fact = rows[row]["all"], rows[row]["fact"]
        shown = (every["recall@10"], every["ndcg@10"], every["hit@10"], fact["recall@10"], fact["ndcg@10"])
        lines.append(_line(row, shown))
    return "\n".join(lines)


def _multihop(name: str, results: Mapping[str, Any]) -> str:
    rows = results["rows"]
    lines = [
        f"**Recall of supporting paragraphs**, {name}, {int(rows[OURS]['all']['n'])} multi-hop questions over"
        f" {results['paragraphs']:,} paragraphs",
        "",
        "| | recall@5 | recall@10 | NDCG@10 | all found@5 |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS_SHOWN:
        means = rows[row]["all"]
        lines.append(_line(row, (means["recall@5"], means["recall@10"], means["ndcg@10"], means["all found@5"])))
    return "\n".join(lines)


def _calibration(results: Mapping[str, Any]) -> str:
    lines = [
        "**Does `relevance` tell an answer from none?** Questions that the store answers, and others that it does not;"
        " *held out*: fitted on the other conversations",
        "",
        "| not answered because | questions | AUROC | ECE | held out AUROC | held out ECE |",
        "|---|---|---|---|---|---|",
    ]
    for task, parts in results["shipped"].items():
        shipped, held_out = parts["all"], results["held out"][task]["all"]
        shown = (shipped["auroc"], shipped["ece"], held_out["auroc"], held_out["ece"])
        lines.append(_line(f"{task} | {shipped['n']:,}", shown))
    return "\n".join(lines)


def _line(name: str, values: Sequence[float]) -> str:
    return f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"


def _ingest(results: Mapping[str, Any]) -> str:
    lines = [
        "**One server over HTTP**, real turns, batches of 100; a recall includes encoding its query:",
        "",
        "| memories | written a second | encoded a second | recall p50 / p95 | resident memory |",
        "|---|---|---|---|---|",
        f"| 0 | | | | {results['resident_mb_idle']:.0f} MB |",
    ]
    for stage in results["stages"]:
        write, recall = stage["write"], stage["recall"]["http_ms"]
        lines.append(
            f"| {stage['memories']:,} | {write['written_per_s']:.0f} | {write['encoded_per_s']:.0f}"
            f" | {recall['p50']:.0f} / {recall['p95']:.0f} ms | {stage['resident_mb']:.0f} MB |"
        )
    return "\n".join(lines)


def _durability(results: Mapping[str, Any]) -> str:
    rounds = results["rounds"]
    lost, doubled = (sum(one[name] for one in rounds) for name in ("lost", "doubled"))
    return (
        f"**SIGKILL** at a random moment under concurrent writers, {len(rounds)} times: {results['acknowledged']:,}"
        f" acknowledged memories, {lost} lost, {doubled} doubled, in SQL, full text and vectors;"
        f" `recalld verify` {'clean each time' if results['clean'] else 'found differences'}."
    )


def _facts(results: Mapping[str, Any]) -> str:
    lines = [
        f"**Facts read by rule**, no LLM: {results['all']['n']} of them read and judged; *useful*: worth keeping, and"
        " understood by itself",
        "",
        "| | facts a turn | not wrong | useful | date right | date of the right fact |",
        "|---|---|---|---|---|---|",
    ]
    for data, judged in results["by data"].items():
        names = ("not wrong", "useful", "date resolved", "date of the right fact")
        lines.append(_line(data, [results["rates"][data]["facts a turn"], *(judged[name] or 0.0 for name in names)]))
    return "\n".join(lines)


def _change(results: Mapping[str, Any]) -> str:
    lines = [
        "**Turns that disagree**, BEAM 100K: pairs that a question names and a link joins; every other link counts as"
        " false",
        "",
        "| | pairs | linked | false links per 1,000 user turns |",
        "|---|---|---|---|",
    ]
    for kind, name in (("possibly_supersedes", "updates"), ("conflict", "contradictions")):
        found = results["beam-100K"][kind]
        lines.append(
            f"| {name} | {found['pairs']} | {found['share found']:.2f} | {found['false per 1,000 user turns']:.1f} |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "locomo": _locomo,
    **{f"beam-{size}": _beam for size in BEAM_SIZES},
    "hotpot": partial(_multihop, "HotpotQA"),
    "musique": partial(_multihop, "MuSiQue"),
    "calibration": _calibration,
    "facts": _facts,
    "change": _change,
    "ingest": _ingest,
    "durability": _durability,
}
