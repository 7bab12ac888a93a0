"""What is put in the queue without being asked for, decided from what is stored and never in a caller's time.

- idle: a namespace with changes that no deriver has seen is consolidated once nothing was written for a while, or the
  oldest change has waited long enough;
- nightly: the retention task, once a day after the hour that is set (UTC); consolidation too, where it is not idle's.

Any number of workers may look: a job is put under a dedup key, and what was done today is read from the queue.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from memory.ports import Store
from recalld.core.clock import Clock
from recalld.jobs.model import ENDED
from recalld.jobs.runner import Transaction, Work
from recalld.jobs.tasks import CONSOLIDATE, RETENTION

IDLE_KEY = "idle"
LOW_PRIORITY = -10
Consolidation = Literal["idle", "nightly", "off"]


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """When; `nightly_hour` None: never."""

    consolidation: Consolidation = "idle"
    idle_s: float = 30.0
    idle_wait_s_max: float = 600.0
    nightly_hour: int | None = 3


@dataclass(frozen=True, slots=True)
class Due:
    """A job to put."""

    namespace: str
    task: str
    dedup_key: str


def is_idle(oldest: datetime, newest: datetime, now: datetime, settings: ScheduleSettings) -> bool:
    """Whether changes of these times should be seen to: nothing new for a while, or the first has waited long."""
    quiet = now - newest >= timedelta(seconds=settings.idle_s)
    set_back = newest > now + timedelta(seconds=settings.idle_s)
    return quiet or set_back or now - oldest >= timedelta(seconds=settings.idle_wait_s_max)


class Scheduler:
    """See the module's docstring.

    Args:
        namespaces: lists them.
        seen: tells up to which change every deriver has seen a namespace.
    """

    def __init__(
        self,
        read: Transaction,
        write: Transaction,
        namespaces: Callable[[], Sequence[str]],
        seen: Callable[[Store, str], int],
        clock: Clock,
        settings: ScheduleSettings,
    ) -> None:
        self._read = read
        self._write = write
        self._namespaces = namespaces
        self._seen = seen
        self._clock = clock
        self._settings = settings

    def put_what_is_due(self) -> int:
        """Queue what is due; returns how many jobs that was."""
        with self._read() as work:
            due = [each for namespace in self._namespaces() for each in self._due(work, namespace)]
        if due:
            with self._write() as work:
                for each in due:
                    work.jobs.put(each.namespace, each.task, {}, dedup_key=each.dedup_key, priority=LOW_PRIORITY)
        return len(due)

    def _due(self, work: Work, namespace: str) -> list[Due]:
        now = self._clock.now()
        found = []
        if self._settings.consolidation == "idle" and self._is_idle(work, namespace, now):
            found.append(Due(namespace, CONSOLIDATE, IDLE_KEY))
        hour = self._settings.nightly_hour
        if hour is not None and now.hour >= hour:
            key = f"nightly:{now:%Y-%m-%d}"
            nightly = [RETENTION, *([CONSOLIDATE] if self._settings.consolidation == "nightly" else [])]
            found += [Due(namespace, task, key) for task in nightly if work.jobs.newest(namespace, task, key) is None]
        return found

    def _is_idle(self, work: Work, namespace: str, now: datetime) -> bool:
        unseen = work.store.unseen_since(namespace, self._seen(work.store, namespace))
        if unseen is None or not is_idle(*unseen, now, self._settings):
            return False
        last = work.jobs.newest(namespace, CONSOLIDATE, IDLE_KEY)
        if last is None:
            return True
        # A dead one is tried again once something new was written.
        return last.state in ENDED and (last.state == "succeeded" or last.created_at <= unseen[1])
