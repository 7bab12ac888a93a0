"""The seam between the queue and everything that uses it. A queue is bound to one transaction, as a store is: whoever
opened it commits, so that a job is put with the write that asks for it, and a step's effects with its saved cursor.

Two implementations, held to the same contract tests by value: `jobs.inline` (dictionaries) and `jobs.queue` (SQLite).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from memory.ports import Erasable, JobSink
from recalld.core.scope import EVERYTHING, Scope
from recalld.jobs.model import Job, JobState, Lease, Progress


class JobQueue(JobSink, Erasable, Protocol):
    """Jobs of all namespaces; what a caller asks for names its own."""

    def claim(self, worker: str, tasks: Collection[str]) -> Lease | None:
        """Take the most urgent job of these tasks whose time has come: by priority, then by arrival.

        One whose step has lost too many workers goes to the dead letter on the way.
        """
        ...

    def claimable(self, tasks: Collection[str]) -> bool:
        """Whether `claim` would find one: to look without writing."""
        ...

    def renew(self, lease: Lease) -> None:
        """Keep the job for another lease.

        Raises:
            LeaseLost: another worker has claimed it, or it was cancelled.
        """
        ...

    def save(self, lease: Lease, cursor: Mapping[str, Any], progress: Progress) -> Lease:
        """Keep where the next step begins, in the transaction of this one's effects.

        Raises:
            LeaseLost: as in `renew`; the transaction must not commit.
        """
        ...

    def finish(self, lease: Lease, result: Mapping[str, Any], progress: Progress) -> None:
        """End the job with its last step; raises as `save` does."""
        ...

    def fail(self, lease: Lease, reason: str, permanent: bool = False) -> Job:
        """Keep why the step failed: it is tried again after a pause, or dead; raises as `renew` does."""
        ...

    def release(self, lease: Lease) -> None:
        """Give the job back untried; raises as `renew` does."""
        ...

    def get(self, namespace: str, job_id: str) -> Job | None:
        """One job; None where this namespace has none of that id."""
        ...

    def select(
        self,
        namespace: str,
        limit: int,
        scope: Scope = EVERYTHING,
        states: Sequence[JobState] = (),
        tasks: Sequence[str] = (),
        before: int | None = None,
    ) -> list[Job]:
        """The newest jobs of a scope, newest first, those with a number below `before`."""
        ...

    def cancel(self, namespace: str, job_id: str) -> Job:
        """End a job that has not ended; nothing of a step at work is kept.

        Raises:
            NotFound: there is none.
            Conflict: it has ended otherwise.
        """
        ...

    def retry(self, namespace: str, job_id: str) -> Job:
        """Queue a failed or cancelled job again, at the step where it stopped.

        Raises:
            NotFound: there is none.
            Conflict: it waits, runs, or has succeeded.
        """
        ...

    def newest(self, namespace: str, task: str, dedup_key: str) -> Job | None:
        """The last job that was put under this key, whatever became of it: schedules read it."""
        ...

    def depth(self, namespace: str | None = None) -> dict[JobState, int]:
        """How many jobs are in each state, those that are in any; of one namespace or of all."""
        ...

    def drop_ended(self, before: datetime, limit: int) -> int:
        """Delete jobs that succeeded or were cancelled before then; the dead letter is kept. Returns how many."""
        ...
