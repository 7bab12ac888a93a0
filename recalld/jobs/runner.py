"""Runs jobs step by step. A step is planned outside every write transaction, however long that takes, and then its
effects and the saved cursor commit together, after the fencing check of the same transaction.

    claim -> plan (reads, computes) -> [fencing check, effects, cursor] -> plan -> ... -> finish

While a step is planned a thread renews the lease. A plan calls `breathe` between its parts: it gives way to requests,
and raises once the job was cancelled or claimed by another worker, so that a cancelled job stops within a step.
What is raised from a plan or its effects leaves nothing behind; `jobs.worker` catches it and calls `failed`.
"""

import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from memory.ports import Store
from recalld.core import log
from recalld.core.errors import LeaseLost, RecalldError
from recalld.jobs.gate import Gate
from recalld.jobs.model import Job, Lease, Progress
from recalld.jobs.ports import JobQueue

logger = log.get("jobs")


@dataclass(frozen=True, slots=True)
class Work:
    """One transaction: memories, and the queue that commits with them."""

    store: Store
    jobs: JobQueue


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to.

    Attributes:
        cursor: where the next step begins; None: this was the last one.
        result: of the job, once it ends.
        after_commit: what must follow the commit; where the worker dies in between, the outbox does it.
    """

    cursor: Mapping[str, Any] | None
    progress: Progress
    result: Mapping[str, Any] = field(default_factory=dict)
    after_commit: tuple[Callable[[], object], ...] = ()


Transaction = Callable[[], AbstractContextManager[Work]]
Effects = Callable[[Work], Outcome]
Breathe = Callable[[], None]


class Task(Protocol):
    """A kind of job."""

    @property
    def name(self) -> str:
        """What jobs name it by."""
        ...

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        """The step that begins at `job.cursor`: reads and computes here, writes in what it returns."""
        ...


class JobRunner:
    """One worker's hands: claims a job and carries it on, a step at a time.

    Args:
        tasks: by name; jobs of other tasks are left to other workers.
        read, write: transactions over memories and queue.
        heartbeat_s: pause between renewals; well below the queue's lease.
    """

    def __init__(
        self, tasks: Mapping[str, Task], read: Transaction, write: Transaction, gate: Gate, heartbeat_s: float = 10.0
    ) -> None:
        self._tasks = tasks
        self._read = read
        self._write = write
        self._gate = gate
        self._heartbeat_s = heartbeat_s
        self._name = f"{os.uname().nodename}:{os.getpid()}"
        self._lease: Lease | None = None

    def advance(self) -> int:
        """One step of the job at hand, or of the next one; returns 0 where there is nothing to do."""
        if self._lease is None:
            self._lease = self._claim()
        if self._lease is None:
            return 0
        self._lease = self._step(self._lease)
        return 1

    def failed(self, error: Exception) -> int:
        """Tell the queue that the step at hand failed; returns 0 where there is none."""
        lease, self._lease = self._lease, None
        if lease is None:
            return 0
        if isinstance(error, LeaseLost):
            return 1
        permanent = isinstance(error, RecalldError) and error.status < 500
        with self._write() as work:
            job = work.jobs.fail(lease, _reason(error), permanent)
        logger.warning("job_step_failed", job=job.id, task=job.task, state=job.state, error=type(error).__name__)
        return 1

    def release(self) -> None:
        """Give the job at hand back, for another worker to go on with."""
        lease, self._lease = self._lease, None
        if lease is not None:
            with self._write() as work:
                work.jobs.release(lease)

    def _claim(self) -> Lease | None:
        with self._read() as work:
            if not work.jobs.claimable(self._tasks):
                return None
        with self._write() as work:
            return work.jobs.claim(self._name, self._tasks)

    def _step(self, lease: Lease) -> Lease | None:
        with self._kept_alive(lease) as breathe:
            effects = self._tasks[lease.job.task].plan(lease.job, breathe)
            breathe()
        with self._write() as work:
            work.jobs.renew(lease)
            outcome = effects(work)
            if outcome.cursor is None:
                work.jobs.finish(lease, outcome.result, outcome.progress)
                # The next job with the same commit: half the writes of a queue of short jobs.
                following = work.jobs.claim(self._name, self._tasks)
            else:
                following = work.jobs.save(lease, outcome.cursor, outcome.progress)
        for each in outcome.after_commit:
            try:
                each()
            except RecalldError as error:
                # It is committed, and the outbox says what is still to be done.
                logger.error("after_commit_failed", job=lease.job.id, code=error.code)
        return following

    @contextmanager
    def _kept_alive(self, lease: Lease) -> Iterator[Breathe]:
        """Renews the lease for as long as the block takes."""
        ended, lost = threading.Event(), threading.Event()

        def renew() -> None:
            while not ended.wait(self._heartbeat_s):
                try:
                    with self._write() as work:
                        work.jobs.renew(lease)
                except LeaseLost:
                    lost.set()
                    return
                except RecalldError as error:
                    logger.warning("heartbeat_failed", job=lease.job.id, code=error.code)

        def breathe() -> None:
            self._gate.give_way()
            if lost.is_set():
                raise LeaseLost("the job was cancelled, or claimed by another worker")

        beating = threading.Thread(target=renew, name="recalld-heartbeat", daemon=True)
        beating.start()
        try:
            yield breathe
        finally:
            ended.set()
            beating.join()


def _reason(error: Exception) -> str:
    """What may be shown of an error: ours say no memory's text; of others only the type and the place."""
    if isinstance(error, RecalldError):
        return f"{error.code}: {error.detail}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {os.path.basename(frame.filename)}:{frame.lineno}"
