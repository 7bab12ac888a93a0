"""The table of benchmarks."""

from bench import calibration, durability, ingest, locomo, longmemeval
from bench.runner import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    "locomo": Benchmark("recall of evidence turns in long conversations", locomo.run),
    "longmemeval": Benchmark("recall of answer sessions in chats with an assistant", longmemeval.run),
    "calibration": Benchmark("whether `relevance` tells a store that answers from one that does not", calibration.run),
    "ingest": Benchmark("rate of writing, latency of recall, memory and disk, over HTTP", ingest.run),
    "durability": Benchmark("whether every acknowledged memory survives SIGKILL, exactly once", durability.run),
}
