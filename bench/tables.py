"""README's figures, made from the JSON files in `bench/results`: no number in them is typed by hand."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROWS_SHOWN = ("plain dense", "plain bm25", "plain rrf", "ours")
MAKE = "`make bench BENCH={name}`, commit {commit}, {cores} cores, {processor}"


def figures(results: Path) -> str:
    """The section, as Markdown; a benchmark that has no file has no table."""
    told = [
        f"{table(report['results'])}\n\n<sub>{_source(report)}</sub>\n"
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
    metrics = ("recall@10", "ndcg@10", "session hit@5")
    lines = [
        f"**Recall of evidence turns**, LoCoMo, {len(results['turns'])} conversations, {n} questions, no LLM; *plain*:"
        ' what a plain store does with "speaker: text"',
        "",
        "| | recall@10 | NDCG@10 | multi-hop recall@10 | session hit@5 |",
        "|---|---|---|---|---|",
    ]
    for row in ROWS_SHOWN:
        means, multi_hop = rows[row]["categories 1-4"], rows[row]["by category"]["multi-hop"]
        recall, ndcg, session = (f"{means[metric]:.3f}" for metric in metrics)
        lines.append(f"| {row} | {recall} | {ndcg} | {multi_hop['recall@10']:.3f} | {session} |")
    return "\n".join(lines)


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


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "locomo": _locomo,
    "ingest": _ingest,
    "durability": _durability,
}
