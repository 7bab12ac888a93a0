"""README's figures, made from the JSON files in `bench/results`: no number in them is typed by hand."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import tables_memory
from bench.ablation import OURS, PLAIN, PLAIN_RRF
from bench.datasets import BEAM_SIZES
from bench.markdown import grid, line
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
        *grid("| | recall@10 | NDCG@10 | multi-hop recall@10 | session hit@5 |"),
    ]
    for row in ROWS_SHOWN:
        means, multi_hop = rows[row]["categories 1-4"], rows[row]["by category"]["multi-hop"]
        shown = (means["recall@10"], means["ndcg@10"], multi_hop["recall@10"], means["session hit@5"])
        lines.append(line(row, shown))
    return "\n".join(lines)


def _beam(results: Mapping[str, Any]) -> str:
    rows = results["rows"]
    lines = [
        f"**Recall of evidence exchanges**, BEAM {results['size']}, {len(results['messages'])} chats,"
        f" {int(rows[OURS]['all']['n'])} questions; *fact*: those that ask for something that was said",
        *grid("| | recall@10 | NDCG@10 | hit@10 | fact recall@10 | fact NDCG@10 |"),
    ]
    for row in ROWS_SHOWN:
        every, fact = rows[row]["all"], rows[row]["fact"]
        shown = (every["recall@10"], every["ndcg@10"], every["hit@10"], fact["recall@10"], fact["ndcg@10"])
        lines.append(line(row, shown))
    return "\n".join(lines)


def _longmemeval(results: Mapping[str, Any]) -> str:
    rows = results["rows"]
    lines = [
        f"**Recall of answer sessions**, LongMemEval, {len(results['turns'])} haystacks,"
        f" {int(rows[OURS]['n'])} questions",
        *grid("| | session recall@1 | session recall@5 | session MRR | turn recall@10 |"),
    ]
    names = ("session recall@1", "session recall@5", "session mrr", "turn recall@10")
    lines += [line(row, [rows[row][name] for name in names]) for row in ROWS_SHOWN]
    return "\n".join(lines)


def _multihop(name: str, results: Mapping[str, Any]) -> str:
    rows = results["rows"]
    lines = [
        f"**Recall of supporting paragraphs**, {name}, {int(rows[OURS]['all']['n'])} multi-hop questions over"
        f" {results['paragraphs']:,} paragraphs",
        *grid("| | recall@5 | recall@10 | NDCG@10 | all found@5 |"),
    ]
    for row in ROWS_SHOWN:
        means = rows[row]["all"]
        lines.append(line(row, (means["recall@5"], means["recall@10"], means["ndcg@10"], means["all found@5"])))
    return "\n".join(lines)


def _calibration(results: Mapping[str, Any]) -> str:
    lines = [
        "**Does `relevance` tell an answer from none?** Questions that the store answers, and others that it does not;"
        " *held out*: fitted on the other conversations",
        *grid("| not answered because | questions | AUROC | ECE | held out AUROC | held out ECE |"),
    ]
    for task, parts in results["shipped"].items():
        shipped, held_out = parts["all"], results["held out"][task]["all"]
        shown = (shipped["auroc"], shipped["ece"], held_out["auroc"], held_out["ece"])
        lines.append(line(f"{task} | {shipped['n']:,}", shown))
    return "\n".join(lines)


def _ingest(results: Mapping[str, Any]) -> str:
    lines = [
        "**One server over HTTP**, real turns, batches of 100; *bytes each*: of the texts that this row adds, of which"
        " the first are short turns and the later ones long messages; a recall includes encoding its query:",
        *grid(
            "| memories | bytes each | written a second | encoded a second | encoded bytes a second | recall p50 / p95"
            " | resident memory |"
        ),
        f"| 0 | | | | | | {results['resident_mb_idle']:.0f} MB |",
    ]
    before = 0
    for stage in results["stages"]:
        write, recall = stage["write"], stage["recall"]["http_ms"]
        each = (stage["text_bytes"] - before) / write["memories"]
        before = stage["text_bytes"]
        lines.append(
            f"| {stage['memories']:,} | {each:.0f} | {write['written_per_s']:.0f} | {write['encoded_per_s']:.0f}"
            f" | {each * write['encoded_per_s']:,.0f}"
            f" | {recall['p50']:.0f} / {recall['p95']:.0f} ms | {stage['resident_mb']:.0f} MB |"
        )
    return "\n".join(lines)


def _end_to_end(results: Mapping[str, Any]) -> str:
    texts, repeated = results["texts"], results["texts_repeated"]
    lines = [
        "**A recall beside encoding its query**, over HTTP, no query asked twice; *encode*: the same encoder alone, in"
        " process; *embed*: `/v1/embeddings` of the same server; *again*: queries asked before; *add / commit*: one"
        " memory with all its rows, against a bare row of as many bytes in the same SQLite (WAL, FULL)."
        f" {texts - repeated:,} distinct texts, repeated in other sessions above that.",
        *grid(
            "| memories | recall p50 / p95 | encode p50 / p95 | embed p50 | recall / encode | recall / embed"
            " | again p50 | add / commit p50 | resident memory |"
        ),
    ]
    for stage in results["stages"]:
        recall, add = stage["recall"], stage["add"]
        ours, encode = recall["http_ms"], recall["encode_ms"]
        lines.append(
            f"| {stage['memories']:,} | {ours['p50']:.1f} / {ours['p95']:.1f} ms"
            f" | {encode['p50']:.1f} / {encode['p95']:.1f} ms | {recall['embed_http_ms']['p50']:.1f} ms"
            f" | {recall['times_encode']:.2f} | {recall['times_embed_http']:.2f} | {recall['again_ms']['p50']:.1f} ms"
            f" | {add['ours_ms']['p50']:.2f} / {add['bare_ms']['p50']:.2f} ms = {add['times_bare']:.2f}"
            f" | {stage['resident_mb']:.0f} MB |"
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


def _erase(results: Mapping[str, Any]) -> str:
    rounds = results["rounds"]
    left = results["pieces_left"] + results["pieces_left_stopped"] + sum(one["pieces_left"] for one in rounds)
    return (
        f"**Erasing** {results['erasures']} of {results['memories']:,} memories, looked for by another scan in all"
        f" {results['bytes_scanned'] / 2**20:.0f} MB of the data folder, in {results['pieces']:,} pieces: {left} left"
        f" ({results['texts_found_before']} of {results['texts_distinct']} texts found before)."
        f" One takes {results['erase_ms']['p50']:.0f} ms (p95 {results['erase_ms']['p95']:.0f}), its own rescan"
        f" included. Killed in the middle {len(rounds)} times: each was finished after the restart, or had never begun."
    )


def _move(results: Mapping[str, Any]) -> str:
    move, backup = results["move"], results["backup"]
    return (
        f"**Moving** {move['memories']:,} memories with {move['versions']:,} versions: export {move['export_s']:.0f} s,"
        f" {move['bytes'] / 2**20:.0f} MB; import {move['empty']['seconds']:.0f} s into an empty instance,"
        f" {move['half']['seconds']:.0f} s into one that has half, {move['empty_again']['seconds']:.0f} s where all are"
        f" there; after {move['killed']['kills']} SIGKILLs it went on by itself; {move['wrong']} differ. **Backup** of"
        f" {backup['bytes'] / 2**20:.0f} MB in {backup['seconds']:.1f} s while {backup['written_during']:,} memories"
        f" were written: {backup['torn_batches']} batches torn, {backup['lost']} lost, {backup['erased_back']} of"
        f" {backup['erased_after']} later erasures undone by the restore."
    )


def _jobs(results: Mapping[str, Any]) -> str:
    kill, rate, writers = (results[name] for name in ("kill", "rate", "writers"))
    many = max(name for name in rate if name.startswith("workers_"))
    return (
        f"**Jobs**: {kill['jobs']:,} jobs of 3 steps under {sum(kill['killed'].values())} SIGKILLs of workers and"
        f" server: {kill['lost']} of {kill['steps']:,} steps lost, {kill['doubled']} doubled, {kill['unfinished']} jobs"
        " left."
        f" {rate['workers_1']['median']:.0f} jobs a second with one worker, {rate[many]['median']:.0f} with"
        f" {many.removeprefix('workers_')}. The p95 of `POST /v1/memories` while {writers['memories']:,} memories are"
        f" consolidated is {writers['median_ratio_p95']:.2f} times that of an idle server."
    )


def _vector_index(results: Mapping[str, Any]) -> str:
    """Each size, each engine; then the codecs."""
    lines = [
        f"**Nearest vectors**, {results['stages'][-1]['real']:,} of real texts, above that the same with noise"
        " (harder by what one-bit codes find, easier by contrast: `difficulty` in the file); one query at a time on one"
        " thread; *memory*: what the process grew by, mapped files left out",
        *grid("| vectors | index | recall@10 | memory, bytes a vector | p50 / p95 | built in |"),
    ]
    for stage in results["stages"]:
        for name, found in stage["engines"].items():
            lines.append(
                f"| {stage['vectors']:,} | {name} | {found['recall']:.3f} | {_memory_of(found, stage['vectors']):,.0f}"
                f" | {_times(found)} | {found['build_s']:.1f} s |"
            )
    lines += grid("| codec | bytes | lost | nearest ten among the first 10 / 100 / 300 |")
    for name, found in results["codecs"].items():
        among = " / ".join(f"{share:.3f}" for share in found["found_among"].values())
        lines.append(f"| {name} | {found['bytes_vector']:,} | {found['lost']:.4f} | {among} |")
    return "\n".join(lines)


def _filtered(results: Mapping[str, Any]) -> str:
    lines = [
        f"**Within a filter** that keeps {results['kept']:.0%} of {results['vectors']:,} vectors (one of ten tenants, a"
        " tenth of the time):",
        *grid("| index | recall@10 | rows returned of those that exist | p50 / p95 |"),
    ]
    for name, found in results["engines"].items():
        lines.append(f"| {name} | {found['recall']:.3f} | {found['returned']:.0%} | {_times(found)} |")
    return "\n".join(lines)


def _memory_of(found: Mapping[str, Any], vectors: int) -> float:
    """Bytes a vector: what an index says it holds or what the process grew by, whichever is more."""
    return float(max(found["memory_grown"], found["told"].get("memory", 0))) / vectors


def _times(found: Mapping[str, Any]) -> str:
    return f"{found['ms']['p50']:.2f} / {found['ms']['p95']:.2f} ms"


def _facts(results: Mapping[str, Any]) -> str:
    lines = [
        f"**Facts read by rule**, no LLM: {results['all']['n']} of them read and judged; *useful*: worth keeping, and"
        " understood by itself",
        *grid("| | facts a turn | not wrong | useful | date right | date of the right fact |"),
    ]
    for data, judged in results["by data"].items():
        names = ("not wrong", "useful", "date resolved", "date of the right fact")
        lines.append(line(data, [results["rates"][data]["facts a turn"], *(judged[name] or 0.0 for name in names)]))
    return "\n".join(lines)


def _change(results: Mapping[str, Any]) -> str:
    lines = [
        "**Turns that disagree**, BEAM 100K: pairs that a question names and a link joins; every other link counts as"
        " false",
        *grid("| | pairs | linked | false links per 1,000 user turns |"),
    ]
    for kind, name in (("possibly_supersedes", "updates"), ("conflict", "contradictions")):
        found = results["beam-100K"][kind]
        lines.append(
            f"| {name} | {found['pairs']} | {found['share found']:.2f} | {found['false per 1,000 user turns']:.1f} |"
        )
    alike = results.get("false merges")
    if alike is not None:
        lines += [
            "",
            f"Of {alike['pairs']} pairs of turns that look alike and say different things, {alike['merged']} were"
            " merged.",
        ]
    return "\n".join(lines)


def _coverage(results: Mapping[str, Any]) -> str:
    lines = [
        "**With what is derived and without**: the same questions before consolidation (*off*) and after (*on*), no"
        " LLM; *coverage*: the share of an answer's words that a context of so many tokens holds",
        *grid("| | recall@10 | NDCG@10 | coverage at 500 | at 1,000 | at 2,000 | recall p50 |"),
    ]
    names = ("recall@10", "ndcg@10", "coverage@500", "coverage@1000", "coverage@2000")
    for data, found in results.items():
        for layer, metrics in found["layers"].items():
            ms = found["recall_ms"][layer]["p50"]
            shares = line(f"{data} ({metrics['n']}), {layer}", [metrics[name] for name in names])
            lines.append(f"{shares} {ms:.1f} ms |")
    order = results["beam-100K"]["knowledge_update"]
    lines += [
        "",
        f"Of {order['on']['n']} questions for what was updated: the newest evidence stands before the older; an older"
        " one stands first or alone; it does, and the context says that a newer one disagrees",
        *grid("| tokens | layer | newest first | older first, or alone | that is said |"),
    ]
    for budget in (500, 1000, 2000):
        for layer, shares in order.items():
            told = (shares[f"{name}@{budget}"] for name in ("newest first", "older first, or alone", "that is said"))
            lines.append(f"| {budget:,} | {layer} | " + " | ".join(f"{share:.2f}" for share in told) + " |")
    return "\n".join(lines)


def _episodes(results: Mapping[str, Any]) -> str:
    lines = [
        "**Who, where, when, what last**: long stories, the same texts as turns and as episodes with frames, contexts"
        f" of at most {results['budget']:,} tokens, no LLM; *all of it*: F1 of everything of the kind asked for that"
        " the context holds; *with care*: of the lines alone that hold all that the question gives",
        *grid("| events | questions | store | F1, all of it | F1, with care | tokens a query | looked up |"),
    ]
    for story in results["stories"].values():
        for part in ("all", "worded as look-ups expect", "worded otherwise"):
            for store in ("plain", "workspace"):
                found = story[store][part]
                lines.append(
                    f"| {story['events']:,} | {part} ({found['n']}) | {store} | {found['f1']:.3f}"
                    f" | {found['f1 with care']:.3f} | {found['tokens']:.0f} | {found['looked up']:.0%} |"
                )
    return "\n".join(lines)


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "locomo": _locomo,
    **{f"beam-{size}": _beam for size in BEAM_SIZES},
    "longmemeval": _longmemeval,
    "hotpot": partial(_multihop, "HotpotQA"),
    "musique": partial(_multihop, "MuSiQue"),
    "calibration": _calibration,
    "vector_index": _vector_index,
    "filtered": _filtered,
    "facts": _facts,
    "change": _change,
    "coverage": _coverage,
    "episodes": _episodes,
    "procedures": tables_memory.procedures,
    "segments": tables_memory.segments,
    "noise": tables_memory.noise,
    "near_duplicates": tables_memory.near_duplicates,
    "flat_prompt": tables_memory.flat_prompt,
    "cost": tables_memory.cost,
    "ingest": _ingest,
    "end_to_end": _end_to_end,
    "durability": _durability,
    "erase": _erase,
    "move": _move,
    "jobs": _jobs,
}
