"""The table of benchmarks."""

from functools import partial

from bench import (
    beam,
    calibration,
    change,
    closure,
    corpora,
    cost,
    coverage,
    durability,
    end_to_end,
    episodes,
    erase,
    facts,
    filtered,
    flat_prompt,
    ingest,
    jobs,
    locomo,
    longmemeval,
    move,
    multihop,
    near_duplicates,
    noise,
    procedures,
    segments,
    vector_index,
)
from bench.datasets import BEAM_SIZES
from bench.runner import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    "locomo": Benchmark("recall of evidence turns in long conversations", locomo.run),
    "longmemeval": Benchmark("recall of answer sessions in chats with an assistant", longmemeval.run),
    **{
        f"beam-{size}": Benchmark(f"recall of exchanges in chats of {size} tokens", partial(beam.run, size))
        for size in BEAM_SIZES
    },
    "hotpot": Benchmark("recall of supporting paragraphs, HotpotQA", partial(multihop.run, corpora.hotpot)),
    "musique": Benchmark("recall of supporting paragraphs, MuSiQue", partial(multihop.run, corpora.musique)),
    "calibration": Benchmark("whether `relevance` tells a store that answers from one that does not", calibration.run),
    "vector_index": Benchmark("nearest vectors: recall, memory and time beside other indexes", vector_index.run),
    "filtered": Benchmark("nearest vectors within a filter that keeps one row in a hundred", filtered.run),
    "closure": Benchmark(
        "inverted lists: how many codes are read to find what is near, with copies of rows", closure.run
    ),
    "change": Benchmark("links between turns that disagree, and what supersedes what", change.run),
    "coverage": Benchmark(
        "recall and contexts with what is derived, and without: no worse, the newest first", coverage.run
    ),
    "cost": Benchmark("calls, tokens, seconds and bytes of 1,000 turns, by rules and with a model", cost.run),
    "facts": Benchmark(
        "facts read by rule: how many, how fast, how many of those read are right and useful", facts.run
    ),
    "noise": Benchmark("turns that say nothing to keep: how often the flag is right, and on evidence", noise.run),
    "segments": Benchmark("where one chat goes over to something else: F1 of the boundaries", segments.run),
    "near_duplicates": Benchmark(
        "near-duplicates found by MinHash in Bloom filters: precision, recall, bytes and time beside datasketch",
        near_duplicates.run,
    ),
    "episodes": Benchmark("who, where, when and what last: the workspace beside plain recall", episodes.run),
    "procedures": Benchmark(
        "procedures and rationales: the right one, filled rightly, successful first", procedures.run
    ),
    "flat_prompt": Benchmark("tokens of a prompt with working memory at turn 10, 100 and 1,000", flat_prompt.run),
    "ingest": Benchmark("rate of writing, latency of recall, memory and disk, over HTTP", ingest.run),
    "end_to_end": Benchmark("a recall beside encoding its query, an add beside a bare commit", end_to_end.run),
    "durability": Benchmark("whether every acknowledged memory survives SIGKILL, exactly once", durability.run),
    "jobs": Benchmark("whether jobs are done exactly once under SIGKILL, how fast, and what writers notice", jobs.run),
    "erase": Benchmark("whether what was erased is gone from every file, after SIGKILL too, over HTTP", erase.run),
    "move": Benchmark("whether export, import, backup and restore keep everything, and nothing erased", move.run),
}
