"""The tasks that exist, each a thin frame around what `memory` does: steps, cursors, receipts.

consolidate   bring what is derived up to date: of a namespace, a scope, or exact scopes that an erasure touched
retention     erase what was forgotten longer ago than the retention time
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from memory.consolidate import Consolidator, Place, scopes_of
from memory.model import Selection
from memory.ports import StoreTransaction
from memory.service import MemoryService
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.db import format_utc
from recalld.jobs.model import Job, Progress
from recalld.jobs.runner import Breathe, Effects, Outcome, Work
from retrieval.filters import parse

CONSOLIDATE = "consolidate"
RETENTION = "retention"
# Few, because a write waits for the erasures of one step.
RETENTION_STEP = 20


class Consolidate:
    """`consolidate`. Arguments: `scope`, only what is in it; or `scopes`, exact ones to derive again."""

    name = CONSOLIDATE

    def __init__(self, consolidator: Consolidator) -> None:
        self._consolidator = consolidator

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        """The next few sessions."""
        place = None if job.cursor is None else Place.of(job.cursor)
        again = list(scopes_of(job.arguments.get("scopes", ())))
        planned = self._consolidator.plan(job.namespace, place, job.scope, again, breathe)

        def effects(work: Work) -> Outcome:
            reached = self._consolidator.write(work.store, job.namespace, planned)
            told = {"units": reached.done, "written": reached.written, "removed": reached.removed}
            cursor = None if planned.ended else reached.to_json()
            return Outcome(cursor, Progress(reached.done, planned.total or reached.done), told)

        return effects


class Retention:
    """`retention`: forgotten memories whose time is over are erased, with a receipt for each in the job's result."""

    name = RETENTION

    def __init__(
        self,
        memories: MemoryService,
        read: StoreTransaction,
        apply: Callable[[], object],
        clock: Clock,
        retention_days: int,
    ) -> None:
        self._memories = memories
        self._read = read
        self._apply = apply
        self._clock = clock
        self._retention = timedelta(days=retention_days)

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        """The next few memories."""
        now = self._clock.now()
        over = parse({"recorded_at": {"lte": format_utc(now - self._retention)}})
        done: dict[str, Any] = dict(job.cursor or {"memories": 0, "receipts": []})
        with self._read() as store:
            doomed = store.select(job.namespace, Selection(states=("forgotten",), filter=over), now, RETENTION_STEP)

        def effects(work: Work) -> Outcome:
            erased, receipts = done["memories"], list(done["receipts"])
            for memory in doomed:
                current = work.store.get(job.namespace, [memory.id])
                if current and current[0].version == memory.version:
                    receipt = self._memories.erase(work.store, Principal(job.namespace), memory.id)
                    erased += len(receipt.memory_ids)
                    work.jobs.erase(job.namespace, receipt.memory_ids)
                    receipts.append({"id": receipt.id, "digest": receipt.digest})
            told = {"memories": erased, "receipts": receipts}
            more = len(doomed) == RETENTION_STEP
            return Outcome(told if more else None, Progress(erased), told, (self._apply,) if doomed else ())

        return effects
