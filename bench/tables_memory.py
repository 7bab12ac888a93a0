"""README's tables of ingest, working memory, procedures and cost; what an older file lacks is left out."""

from collections.abc import Mapping
from typing import Any

from bench.markdown import grid


def noise(results: Mapping[str, Any]) -> str:
    """How often the flag is right, and on how much evidence."""
    judged = results["labels"]
    lines = [
        f"**Turns that say nothing to keep**: {judged['read']} of {judged['flagged']} flagged turns read by a person,"
        f" {judged['precision']:.3f} of them say nothing that anybody could ask for",
        *grid("| | turns | flagged | evidence turns | of these flagged |"),
    ]
    for data, found in results["data"].items():
        flagged = found["share of evidence flagged"]
        lines.append(
            f"| {data} | {found['turns']:,} | {found['share flagged']:.2%} | {found['evidence']:,}"
            f" | {'' if flagged is None else f'{flagged:.2%}'} |"
        )
    return "\n".join(lines)


def near_duplicates(results: Mapping[str, Any]) -> str:
    """What MinHash proposes, ours beside datasketch's."""
    lines = [
        f"**Near-duplicates** among {results['texts']:,} texts, {results['near_duplicates']:,} of them of a similarity"
        f" of {results['similarity_min']} or more with an earlier one; what MinHash proposes, before texts decide",
        *grid("| | precision | recall | bytes a text | to sign a text | to ask and add |"),
    ]
    for name, found in results["engines"].items():
        lines.append(
            f"| {name} | {found['precision']:.3f} | {found['recall']:.4f} | {found['bytes_text']:.0f}"
            f" | {found['sign_us']:.0f} us | {found['ask_and_add_us']:.0f} us |"
        )
    return "\n".join(lines)


def flat_prompt(results: Mapping[str, Any]) -> str:
    """Tokens by turn, and what contexts cite."""
    cited = results["evidence cited"]
    recall = ""
    if "recall@10, without" in cited:
        told = (cited["recall@10, with state"], cited["recall@10, without"])
        recall = f" Recall@10 with working memory and without: {told[0]:.3f} and {told[1]:.3f}."
    lines = [
        f"**Tokens of a prompt**, context of {results['budget']:,} tokens with the session's working memory, and the"
        f" last turn, beside all turns so far; means.{recall} Evidence that such contexts cite, with working memory and"
        f" without: {cited['with state']:.3f} and {cited['without']:.3f} ({cited['n']:,} questions)",
        *grid("| turn | conversations | working memory | prompt | longest prompt | whole history |"),
    ]
    for turn, found in results["tokens"].items():
        lines.append(
            f"| {int(turn):,} | {found['n']} | {found['state']:.0f} | {found['prompt']:,.0f}"
            f" | {results['most'][turn]:,} | {found['history']:,.0f} |"
        )
    return "\n".join(lines)


def cost(results: Mapping[str, Any]) -> str:
    """Of 1,000 turns, by rules and with a model."""
    rules = results["rules"]
    each = rules["per 1,000 turns"]
    layers = ", ".join(f"{name} {size / 1000:,.0f} kB" for name, size in each["bytes"].items())
    lines = [
        f"**What 1,000 turns cost** by default, BEAM 500K ({rules['turns']:,} turns): {each['calls']} calls of a"
        f" language model, {each['cpu s']:.0f} s of processor time, {each['wall s']:.0f} s of wall time"
        f" ({each['wall s, writing and indexing']:.0f} s of it writing and indexing); {layers}.",
    ]
    if "scripted" not in results:
        return lines[0]
    lines += [
        "",
        "With facts by a model besides, in batches of whole segments or one turn a call; calls and tokens counted with"
        " a scripted model that always replies validly, by a real tokenizer:",
        *grid("| | turns | reading | calls | prompt tokens | reply tokens |"),
    ]
    for data, found in results["scripted"]["data"].items():
        for way in ("segments", "one a turn"):
            told = found[way]
            lines.append(
                f"| {data} ({results['scripted']['tokenizer']}) | {found['turns']:,} | {way} | {told['calls']:,}"
                f" | {told['prompt_tokens']:,} | {told['completion_tokens']:,} |"
            )
    return "\n".join(lines)


def segments(results: Mapping[str, Any]) -> str:
    """F1 of each way on each data set."""
    rows = ("ours", "ours, with times", "time gaps", "neighbours", "fixed windows", "chance")
    lines = [
        "**Where a chat goes over to something else**, F1 of the boundaries within"
        f" {results['tolerance']} turn of the true ones; *ours*: neither sessions nor times shown; *time gaps*: an"
        " hour, by the times that the data has; *fixed windows*: of the true mean length",
        *grid(f"| | boundaries | {' | '.join(rows)} | ours, at the very turn |"),
    ]
    for name, found in results["data"].items():
        shown = [*(found["rows"][row]["f1"] for row in rows), found["rows"]["ours"]["exact f1"]]
        values = " | ".join(f"{value:.3f}" for value in shown)
        lines.append(f"| {name} | {found['boundaries']:,} | {values} |")
    return "\n".join(lines)


def procedures(results: Mapping[str, Any]) -> str:
    """The right one, filled rightly, successful first."""
    lines = [
        "**The right procedure, the right rationale**, for requests in other words; *filled*: the steps of the first"
        " result with the request's values are exactly right; *as turns*: the same texts, recalled as turns are",
        *grid("| | requests | memories | recall@1 | recall@3 | filled | successful before failed |"),
    ]
    for kind, found in results.items():
        for way in ("ours", "as turns"):
            told = found[way]
            filled = "" if told["filled"] is None else f"{told['filled']:.3f}"
            lines.append(
                f"| {kind}s, {way} | {found['requests']} | {found['memories']} | {told['recall@1']:.3f}"
                f" | {told['recall@3']:.3f} | {filled} | {told['successful first']:.3f} |"
            )
    return "\n".join(lines)
