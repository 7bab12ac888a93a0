"""Background work, for threads: ask for it, list it, watch it, end it. `async_jobs` mirrors this file line by line."""

from collections.abc import Iterator, Sequence
from contextlib import closing

import httpx2

from recalld_client import operations
from recalld_client.job_models import Job
from recalld_client.job_stream import JobFeed
from recalld_client.scopes import Bound
from recalld_client.transport import Transport, failure


class Working:
    """What can be done with jobs; a scope is filled in where there is one."""

    _transport: Transport
    _bound: Bound

    def consolidate(self, *, idempotency_key: str | None = None) -> Job:
        """Derive what is new in this scope, or in all of the namespace, in the background: the job that does it."""
        return self._transport.send(operations.consolidate(self._bound, idempotency_key=idempotency_key))

    def jobs(
        self,
        *,
        state: str | Sequence[str] | None = None,
        task: str | Sequence[str] | None = None,
        limit: int = 100,
    ) -> list[Job]:
        """The newest jobs of this scope, newest first.

        Args:
            state: only these: `queued`, `running`, `succeeded`, `failed`, `cancelled`.
            task: only these, such as `consolidate`.
            limit: at most so many, up to 500.
        """
        return self._transport.send(operations.jobs(self._bound, state=state, task=task, limit=limit))

    def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: there is none that the key may see.
        """
        return self._transport.send(operations.job(job_id))

    def job_events(self, job_id: str, *, after: int = 0) -> Iterator[Job]:
        """The job each time it has changed, until it has ended.

        Args:
            after: the `revision` that was seen last: what is older is left out.

        Raises:
            NotFound: there is none that the key may see.
            ConnectionFailed: the stream was cut before the job ended; go on with `after`.
        """
        feed = JobFeed()
        with closing(self._transport.open(operations.job_events(job_id, after=after))) as response:
            try:
                for data in response.iter_bytes():
                    yield from feed.feed(data)
            except httpx2.RequestError as error:
                raise failure(error, self._transport.settings) from error
        feed.end()

    def cancel_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """End a job that has not ended; of the step at work nothing is kept.

        Raises:
            Conflict: it has ended otherwise.
        """
        return self._transport.send(operations.cancel_job(job_id, idempotency_key=idempotency_key))

    def retry_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Queue a failed or cancelled job again; it goes on where it stopped.

        Raises:
            Conflict: it waits, runs, or has succeeded.
        """
        return self._transport.send(operations.retry_job(job_id, idempotency_key=idempotency_key))
