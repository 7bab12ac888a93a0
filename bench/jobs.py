"""Are jobs done exactly once whoever is killed, how many a second, and do writers notice a consolidation?

- *kill*: 4 workers and a server, all of which do jobs, on one data folder; 1,000 jobs of 3 steps, each step leaving one
  memory after 50 ms; for 60 s a random one of the five gets SIGKILL every other second and is started again. Then what
  is left is done in peace, and every step is looked for in SQL: once each, no job failed, none left.
- *rate*: jobs of one step, with 1 and with 4 workers in turn, from the first start to the last end.
- *writers*: the time of `POST /v1/memories` against an idle server and while it consolidates 10,000 memories of 500
  sessions, in turn; each round has a namespace of its own to consolidate, and is cancelled where it outlasts the round.
  One client writes one by one, 10 ms between two. The reference encoder, so that encoding plays no part.
"""

import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from recalld_client import Recalld

from bench.job_worker import COUNT
from bench.metrics import percentiles
from bench.runner import Options, say
from memory.model import Item
from recalld.bootstrap import Service
from recalld.core import access
from recalld.core.access import DEFAULT_NAMESPACE, Principal
from recalld.core.config import load_settings, server_environment
from recalld.core.scope import Scope
from recalld.demo import Server, conversation
from recalld.jobs.tasks import CONSOLIDATE

WORKERS = 4
JOBS, STEPS, WORK_S, KILL_S = 1000, 3, 0.05, 60.0
PAUSE_S = (1.0, 3.0)
DRAIN_S_MAX = 120.0
RATE_JOBS, RATE_ROUNDS = 300, 3
WRITER_ROUNDS, SESSIONS, TURNS = 5, 500, 20
IDLE_S, BUSY_S, WRITER_PAUSE_S = 6.0, 9.0, 0.01
CHARS_MAX = 400


class Crew:
    """Workers and a server on one data folder, as processes."""

    def __init__(self, folder: Path, modes: list[str]) -> None:
        self._environment = server_environment() | {
            "RECALLD_DATA_DIR": str(folder),
            "RECALLD_DATABASE_URL": f"sqlite:///{folder / 'recalld.db'}",
            "RECALLD_ENCODER": "hash",
            "RECALLD_LLM": "none",
            "RECALLD_LOG_LEVEL": "error",
            "RECALLD_JOB_LEASE_S": "3",
        }
        self._modes = modes
        self._processes = [self._start(mode) for mode in modes]

    def kill_one(self, drawn: random.Random) -> str:
        """SIGKILL to one of them, and a new one in its place."""
        number = drawn.randrange(len(self._processes))
        self._processes[number].send_signal(signal.SIGKILL)
        self._processes[number].wait()
        self._processes[number] = self._start(self._modes[number])
        return self._modes[number]

    def end(self) -> None:
        """Kill them all."""
        for process in self._processes:
            process.kill()
            process.wait()

    def _start(self, mode: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bench.job_worker", mode]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)


def run(options: Options) -> dict[str, Any]:
    """All three parts."""
    kill = _kill(options.seed, JOBS, KILL_S)
    rate = _rate(RATE_JOBS, RATE_ROUNDS)
    writers = _writers(WRITER_ROUNDS, SESSIONS)
    clean = not any(kill[name] for name in ("lost", "doubled", "unfinished", "failed"))
    return {"clean": clean, "kill": kill, "rate": rate, "writers": writers}


def _service(folder: Path) -> Service:
    url = f"sqlite:///{folder / 'recalld.db'}"
    return Service(load_settings(data_dir=folder, database_url=url, encoder="hash", llm="none"))


def _put(service: Service, names: list[str], steps: int, work_s: float = 0.0) -> None:
    with service.write_work() as work:
        for name in names:
            work.jobs.put(DEFAULT_NAMESPACE, COUNT, {"name": name, "steps": steps, "work_s": work_s})


def _kill(seed: int, jobs: int, kill_s: float) -> dict[str, Any]:
    drawn = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        folder = Path(name)
        service = _service(folder)
        names = [f"job{number:04}" for number in range(jobs)]
        crew = Crew(folder, [*["worker"] * WORKERS, "serve"])
        try:
            # Put over the first half, so that there is work whenever one is killed.
            killed, put, started = Counter[str](), 0, time.monotonic()
            while (now := time.monotonic() - started) < kill_s:
                due = min(jobs, round(jobs * now / (kill_s * 0.9)) + 1)
                _put(service, names[put:due], STEPS, WORK_S)
                put = due
                time.sleep(drawn.uniform(*PAUSE_S))
                killed[crew.kill_one(drawn)] += 1
            _put(service, names[put:], STEPS, WORK_S)
            drained_s = _drain(service)
        finally:
            crew.end()
        found = _effects(service)
        with service.read_work() as work:
            depth = work.jobs.depth(DEFAULT_NAMESPACE)
            claims = [job.token for job in work.jobs.select(DEFAULT_NAMESPACE, jobs, tasks=[COUNT])]
        service.close()
    wanted = [f"{name} step {step}" for name in names for step in range(STEPS)]
    results = {
        "jobs": jobs,
        "steps": len(wanted),
        "killed": dict(killed),
        "taken_over": sum(claims) - len(claims),
        "lost": sum(found[text] == 0 for text in wanted),
        "doubled": sum(count > 1 for count in found.values()),
        "unfinished": depth.get("queued", 0) + depth.get("running", 0),
        "failed": depth.get("failed", 0),
        "drained_s": round(drained_s, 1),
    }
    say(f"kill: {results}")
    return results


def _drain(service: Service) -> float:
    started = time.monotonic()
    while time.monotonic() - started < DRAIN_S_MAX:
        with service.read_work() as work:
            depth = work.jobs.depth(DEFAULT_NAMESPACE)
        if not depth.get("queued") and not depth.get("running"):
            break
        time.sleep(0.1)
    return time.monotonic() - started


def _effects(service: Service) -> Counter[str]:
    found: Counter[str] = Counter()
    with service.read_store() as store:
        after = 0
        while rows := store.active_rows(DEFAULT_NAMESPACE, after, 500):
            found.update(memory.item.text for memory in store.load(DEFAULT_NAMESPACE, rows).values())
            after = rows[-1]
    return found


def _rate(jobs: int, rounds: int) -> dict[str, Any]:
    measured: dict[int, list[float]] = {1: [], WORKERS: []}
    for number in range(rounds):
        for workers, rates in measured.items():
            with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
                service = _service(Path(name))
                crew = Crew(Path(name), ["worker"] * workers)
                try:
                    time.sleep(4)  # until all have started
                    _put(service, [f"r{number}w{workers}j{each}" for each in range(jobs)], 1)
                    _drain(service)
                    with service.read_work() as work:
                        done = work.jobs.select(DEFAULT_NAMESPACE, jobs, tasks=[COUNT])
                finally:
                    crew.end()
                starts = [job.started_at for job in done if job.started_at is not None]
                ends = [job.ended_at for job in done if job.ended_at is not None]
                rates.append(round(len(ends) / (max(ends) - min(starts)).total_seconds(), 1))
                service.close()
    results = {
        "jobs": jobs,
        **{f"workers_{n}": {"each": r, "median": statistics.median(r)} for n, r in measured.items()},
    }
    say(f"rate: {results}")
    return results


def _writers(rounds: int, sessions: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        folder = Path(name)
        service = _service(folder)
        key = _seeded(service, rounds, sessions)
        environment = server_environment() | {
            "RECALLD_ENCODER": "hash",
            "RECALLD_LLM": "none",
            "RECALLD_CONSOLIDATION": "off",
            "RECALLD_LOG_LEVEL": "error",
        }
        server = Server(folder)
        each: list[dict[str, Any]] = []
        with Recalld(server.start(environment), api_key=key) as client:
            _post(client, time.monotonic() + 2)
            for number in range(rounds):
                idle = percentiles(_post(client, time.monotonic() + IDLE_S))
                with service.write_work() as work:
                    job = work.jobs.put(f"big{number}", CONSOLIDATE, {})
                busy = percentiles(_post(client, time.monotonic() + BUSY_S, service, f"big{number}", job))
                each.append({"idle_ms": idle, "busy_ms": busy, "sessions_done": _end(service, f"big{number}", job)})
                each[-1]["ratio_p95"] = round(busy["p95"] / idle["p95"], 2)
                say(f"writers: {each[-1]}")
        server.stop()
        service.close()
    ratios = [one["ratio_p95"] for one in each]
    return {"memories": sessions * TURNS, "rounds": each, "median_ratio_p95": statistics.median(ratios)}


def _end(service: Service, namespace: str, job_id: str) -> int:
    """Cancel a consolidation that has not ended; returns how many sessions it did."""
    with service.write_work() as work:
        job = work.jobs.get(namespace, job_id)
        assert job is not None
        if job.ended_at is None:
            work.jobs.cancel(namespace, job_id)
    return job.progress.done


def _seeded(service: Service, rounds: int, sessions: int) -> str:
    """Namespaces to consolidate, with real turns; returns the key of another one, to write to."""
    texts = [turn.text[:CHARS_MAX] for turn in conversation()]
    for number in range(rounds):
        with service.database.write() as connection:
            access.ensure_namespace(connection, f"big{number}", service.clock)
        for session in range(sessions):
            scope = Scope("ann", None, f"s{session}")
            items = [
                Item(texts[(session * 7 + turn) % len(texts)], speaker="Ann" if turn % 2 else "Bob", scope=scope)
                for turn in range(TURNS)
            ]
            with service.write_store() as store:
                service.memories.add(store, Principal(f"big{number}"), items)
    service.indexer.apply_all()
    with service.database.write() as connection:
        return access.create_key(connection, "live", service.clock, service.ids)[1]


def _post(
    client: Recalld, until: float, service: Service | None = None, namespace: str = "", job_id: str = ""
) -> list[float]:
    """Milliseconds of each write until a moment, or until a job has ended."""
    took: list[float] = []
    while time.monotonic() < until:
        started = time.perf_counter()
        client.add(f"A note of the writer, number {len(took)}, written at {started}.")
        took.append((time.perf_counter() - started) * 1000)
        if service is not None and len(took) % 20 == 0:
            with service.read_work() as work:
                job = work.jobs.get(namespace, job_id)
            if job is not None and job.ended_at is not None:
                break
        time.sleep(WRITER_PAUSE_S)
    return took
