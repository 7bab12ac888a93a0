"""`JobQueue` in a dictionary: the reference that the SQLite queue is compared with by value, and the queue of tests.

A "transaction" is `transaction()`: what changed in the block is kept when it ends without an error, as
`memory.store.inmemory` does it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from recalld.core.clock import Clock
from recalld.core.ids import IdSource
from recalld.core.scope import EVERYTHING, Scope
from recalld.jobs import model
from recalld.jobs.model import Job, JobState, Lease, Progress, QueueSettings


class InlineJobQueue:
    """See the module's docstring and `jobs.ports.JobQueue`."""

    def __init__(self, clock: Clock, ids: IdSource, settings: QueueSettings = QueueSettings()) -> None:
        self._clock = clock
        self._ids = ids
        self._settings = settings
        self._jobs: dict[int, Job] = {}
        self._last = 0

    @contextmanager
    def transaction(self) -> Iterator["InlineJobQueue"]:
        """Changes made in the block are kept together, or not at all."""
        before, last = dict(self._jobs), self._last
        committed = False
        try:
            yield self
            committed = True
        finally:
            if not committed:
                self._jobs, self._last = before, last

    def put(
        self,
        namespace: str,
        task: str,
        arguments: Mapping[str, Any],
        *,
        dedup_key: str | None = None,
        priority: int = 0,
        due_at: datetime | None = None,
    ) -> str:
        now = self._clock.now()
        due = due_at or now
        waiting = None if dedup_key is None else self._under(namespace, task, dedup_key, ("queued",))
        if waiting is not None:
            return self._keep(model.joined(waiting, priority, due, now)).id
        job = model.fresh(self._ids.new("job"), namespace, task, arguments, dedup_key, priority, due, now)
        self._last += 1
        return self._keep(replace(job, number=self._last)).id

    def claim(self, worker: str, tasks: Collection[str]) -> Lease | None:
        now = self._clock.now()
        for job in sorted(self._claimable(tasks, now), key=lambda job: (-job.priority, job.number)):
            taken = self._keep(model.claimed(job, worker, now, self._settings))
            if taken.state == "running":
                return Lease(taken)
        return None

    def claimable(self, tasks: Collection[str]) -> bool:
        return bool(self._claimable(tasks, self._clock.now()))

    def renew(self, lease: Lease) -> None:
        self._keep(model.renewed(self._held(lease), self._clock.now(), self._settings))

    def save(self, lease: Lease, cursor: Mapping[str, Any], progress: Progress) -> Lease:
        return Lease(self._keep(model.saved(self._held(lease), cursor, progress, self._clock.now(), self._settings)))

    def finish(self, lease: Lease, result: Mapping[str, Any], progress: Progress) -> None:
        self._keep(model.finished(self._held(lease), result, progress, self._clock.now()))

    def fail(self, lease: Lease, reason: str, permanent: bool = False) -> Job:
        return self._keep(model.failed(self._held(lease), reason, self._clock.now(), self._settings, permanent))

    def release(self, lease: Lease) -> None:
        self._keep(model.released(self._held(lease), self._clock.now()))

    def get(self, namespace: str, job_id: str) -> Job | None:
        return next((job for job in self._of(namespace) if job.id == job_id), None)

    def select(
        self,
        namespace: str,
        limit: int,
        scope: Scope = EVERYTHING,
        states: Sequence[JobState] = (),
        tasks: Sequence[str] = (),
        before: int | None = None,
    ) -> list[Job]:
        found = [
            job
            for job in self._of(namespace)
            if scope.covers(job.scope)
            and (not states or job.state in states)
            and (not tasks or job.task in tasks)
            and (before is None or job.number < before)
        ]
        return found[::-1][:limit]

    def cancel(self, namespace: str, job_id: str) -> Job:
        return self._keep(model.cancelled(model.present(self.get(namespace, job_id)), self._clock.now()))

    def retry(self, namespace: str, job_id: str) -> Job:
        return self._keep(model.retried(model.present(self.get(namespace, job_id)), self._clock.now()))

    def newest(self, namespace: str, task: str, dedup_key: str) -> Job | None:
        return self._under(namespace, task, dedup_key, model.JOB_STATES)

    def depth(self, namespace: str | None = None) -> dict[JobState, int]:
        states = sorted(job.state for job in self._jobs.values() if namespace in (None, job.namespace))
        return {state: states.count(state) for state in states}

    def drop_ended(self, before: datetime, limit: int) -> int:
        old = [
            number
            for number, job in self._jobs.items()
            if job.state in ("succeeded", "cancelled") and job.ended_at is not None and job.ended_at < before
        ][:limit]
        for number in old:
            del self._jobs[number]
        return len(old)

    def erase(self, namespace: str, memory_ids: Sequence[str]) -> dict[str, int]:
        now = self._clock.now()
        cleaned = [(job, model.erased(job, frozenset(memory_ids), now)) for job in self._of(namespace)]
        changed = [self._keep(after) for job, after in cleaned if after != job]
        return {"jobs": len(changed)}

    def _claimable(self, tasks: Collection[str], now: datetime) -> list[Job]:
        return [
            job for job in self._jobs.values() if job.task in tasks and model.may_be_claimed(job, now, self._settings)
        ]

    def _under(self, namespace: str, task: str, dedup_key: str, states: Sequence[JobState]) -> Job | None:
        named = (namespace, task, dedup_key)
        found = [job for job in self._of(namespace) if (job.namespace, job.task, job.dedup_key) == named]
        return next((job for job in reversed(found) if job.state in states), None)

    def _held(self, lease: Lease) -> Job:
        return model.held(self._jobs.get(lease.job.number), lease)

    def _of(self, namespace: str) -> list[Job]:
        return [job for _, job in sorted(self._jobs.items()) if job.namespace == namespace]

    def _keep(self, job: Job) -> Job:
        self._jobs[job.number] = job
        return job
