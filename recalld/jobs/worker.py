"""The background loop: applies the outbox, writes what may wait, and does the upkeep.

It runs as a thread inside `recalld serve` and as `recalld worker`; any number may run at once, because each step
takes the index's writer lock or one SQL transaction. This is one of the two edges at which any error is caught: it is
logged and tried again later, with a growing pause, so that one bad moment never stops the loop, nor one step another.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from recalld.core import log

logger = log.get("worker")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Pauses in seconds: between looks at the outbox, between upkeep, and after an error (doubling up to the last)."""

    poll_s: float = 0.2
    upkeep_s: float = 60.0
    error_pause_s: float = 0.5
    error_pause_s_max: float = 30.0


class Worker:
    """Calls its steps until it is stopped.

    Args:
        apply: applies a batch of the outbox; returns how many entries there were.
        flush: writes what requests left to be written later.
        upkeep: what is done once a minute.
    """

    def __init__(
        self,
        apply: Callable[[], int],
        flush: Callable[[], None],
        upkeep: Callable[[], None],
        settings: WorkerSettings = WorkerSettings(),
    ) -> None:
        self._apply = apply
        self._flush = flush
        self._upkeep = upkeep
        self._settings = settings
        self._stopped = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="recalld-worker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look at the outbox now rather than at the next poll."""
        self._woken.set()

    def request_stop(self) -> None:
        """Let the loop end after the step at hand. Not for a signal handler: setting an event in one can deadlock."""
        self._stopped.set()
        self._woken.set()

    def stop(self) -> None:
        """Let the loop end, and return when it has."""
        self.request_stop()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def run(self) -> None:
        """The loop; returns after `stop`."""
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
