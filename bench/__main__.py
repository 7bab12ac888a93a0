"""`python -m bench list` and `python -m bench NAME [--data PATH] [--out FILE]`.

Exit code 1: what was checked does not hold. 2: the data is not here.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.registry import BENCHMARKS
from bench.runner import ROOT, Options, run, say, write
from recalld.core.errors import ConfigError

CHECK_FAILED, DATA_MISSING = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    given = _parser().parse_args(arguments)
    if given.name == "list":
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:12} {benchmark.about}")
        return 0
    options = Options(
        given.data,
        given.seed,
        given.encoder,
        given.rounds,
        tuple(given.memories),
        tuple(given.vectors),
        given.limit,
        given.ablations,
    )
    try:
        report = run(given.name, BENCHMARKS[given.name], options)
    except ConfigError as error:
        say(error.detail)
        return DATA_MISSING
    out = given.out or ROOT / "bench" / "results" / f"{given.name}.json"
    write(report, out)
    print(json.dumps(report["results"], indent=1, ensure_ascii=False))
    say(f"written to {out}")
    return CHECK_FAILED if report["results"].get("clean") is False else 0


def _parser() -> argparse.ArgumentParser:
    default = Options()
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure recalld.")
    parser.add_argument("name", choices=["list", *BENCHMARKS])
    parser.add_argument("--data", type=Path, help="the data set's file, as upstream gives it, or its folder")
    parser.add_argument("--out", type=Path, help="where to write; by default bench/results/NAME.json")
    parser.add_argument("--seed", type=int, default=default.seed, help="of everything that is drawn")
    parser.add_argument("--encoder", default=default.encoder, help="as RECALLD_ENCODER")
    parser.add_argument("--rounds", type=int, default=default.rounds, help="of durability")
    parser.add_argument(
        "--memories", type=int, nargs="+", default=default.memories, help="of ingest: sizes at which to recall"
    )
    parser.add_argument(
        "--vectors", type=int, nargs="+", default=default.vectors, help="of vector_index and filtered: sizes"
    )
    parser.add_argument(
        "--limit", type=_positive, help="of conversations, chats, haystacks, (multi-hop) questions or texts"
    )
    parser.add_argument(
        "--ablations",
        action=argparse.BooleanOptionalAction,
        default=default.ablations,
        help="whether to measure ours without each signal",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
