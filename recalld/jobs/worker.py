"""The background loops: one applies the outbox, writes what may wait, and does the upkeep; the other carries on jobs.

They run as threads inside `recalld serve` and as `recalld worker`; any number may run at once, because each step
takes the index's writer lock or one SQL transaction, and a job is claimed by lease. Two threads, so that a long job
does not keep new memories from the index. This is one of the two edges at which any error is caught: it is logged and
tried again later, with a growing pause, so that one bad moment never stops a loop, nor one step another; a job whose
step raised is told to its queue, which decides when it is tried again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import monotonic

from recalld.core import log

logger = log.get("worker")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Pauses in seconds: between looks at the outbox, at the queue and at schedules, between upkeep, and after an error
    (doubling up to the last).
    """

    poll_s: float = 0.2
    jobs_poll_s: float = 0.5
    schedule_s: float = 5.0
    upkeep_s: float = 60.0
    error_pause_s: float = 0.5
    error_pause_s_max: float = 30.0


@dataclass(frozen=True, slots=True)
class JobSteps:
    """What the loop over jobs calls.

    Attributes:
        advance: carries a job on by one step; 0 where there is none.
        failed: tells the queue that the step at hand raised; 0 where there is none.
        release: gives the job at hand back.
        schedule: puts in the queue what is due.
    """

    advance: Callable[[], int]
    failed: Callable[[Exception], int]
    release: Callable[[], None]
    schedule: Callable[[], int]


class Worker:
    """Calls its steps until it is stopped.

    Args:
        apply: applies a batch of the outbox; returns how many entries there were.
        flush: writes what requests left to be written later.
        upkeep: what is done once a minute.
        jobs: the steps of the loop over jobs; None: there is none.
    """

    def __init__(
        self,
        apply: Callable[[], int],
        flush: Callable[[], None],
        upkeep: Callable[[], None],
        settings: WorkerSettings = WorkerSettings(),
        jobs: JobSteps | None = None,
    ) -> None:
        self._apply = apply
        self._flush = flush
        self._upkeep = upkeep
        self._settings = settings
        self._jobs = jobs
        self._stopped = threading.Event()
        self._woken = threading.Event()
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="recalld-worker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look at the outbox and the queue now rather than at the next poll."""
        self._woken.set()
        self._asked.set()

    def request_stop(self) -> None:
        """Let the loop end after the step at hand. Not for a signal handler: setting an event in one can deadlock."""
        self._stopped.set()
        self.wake()

    def stop(self) -> None:
        """Let the loop end, and return when it has."""
        self.request_stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def do_jobs(self) -> int:
        """Carry on the jobs that are due until none is left; returns how many steps that took."""
        steps = 0
        while self._jobs is not None and self._advance(self._jobs):
            steps += 1
        return steps

    def run(self) -> None:
        """Both loops; returns after `stop`."""
        beside = (
            None if self._jobs is None else threading.Thread(target=self._run_jobs, args=(self._jobs,), daemon=True)
        )
        if beside is not None:
            beside.start()
        self._run_outbox()
        if beside is not None:
            beside.join()

    def _run_jobs(self, jobs: JobSteps) -> None:
        settings = self._settings
        schedule_due = monotonic()
        while not self._stopped.is_set():
            if monotonic() >= schedule_due:
                self._attempt(jobs.schedule, settings.schedule_s)
                schedule_due = monotonic() + settings.schedule_s
            done = self._advance(jobs)
            if done is None:
                self._stopped.wait(settings.error_pause_s)
            elif not done:
                self._asked.wait(settings.jobs_poll_s)
                self._asked.clear()
        self._attempt(jobs.release, 0.0)

    def _advance(self, jobs: JobSteps) -> int | None:
        try:
            return jobs.advance()
        except Exception as error:
            told = self._attempt(partial(jobs.failed, error), self._settings.error_pause_s)
            if told == 0:
                logger.error("claim_failed", error=type(error).__name__)
            return told or None

    def _run_outbox(self) -> None:
        settings = self._settings
        pause_s = settings.error_pause_s
        upkeep_due = monotonic()
        while not self._stopped.is_set():
            done = [self._attempt(self._apply, pause_s), self._attempt(self._flush, pause_s)]
            if monotonic() >= upkeep_due:
                done.append(self._attempt(self._upkeep, pause_s))
                if done[-1] is not None:
                    upkeep_due = monotonic() + settings.upkeep_s
            if None in done:
                self._stopped.wait(pause_s)
                pause_s = min(pause_s * 2, settings.error_pause_s_max)
                continue
            pause_s = settings.error_pause_s
            if not done[0]:
                self._woken.wait(settings.poll_s)
                self._woken.clear()
        self._attempt(self._flush, 0.0)

    def _attempt(self, step: Callable[[], int | None], retry_s: float) -> int | None:
        """How much the step did; None where it failed."""
        try:
            return step() or 0
        except Exception as error:
            logger.error("step_failed", error=type(error).__name__, retry_s=retry_s)
            return None
