"""Background work, for asyncio: ask for it, list it, watch it, cancel it. It mirrors `jobs` line by line."""

from collections.abc import AsyncIterator, Sequence

import httpx2

from recalld_client import operations
from recalld_client.job_models import Job
from recalld_client.job_stream import JobFeed
from recalld_client.scopes import Bound
from recalld_client.transport import AsyncTransport, failure


class AsyncWorking:
    """What can be done with jobs; a scope is filled in where there is one."""

    _transport: AsyncTransport
    _bound: Bound

    async def consolidate(self, *, idempotency_key: str | None = None) -> Job:
        """Derive what is new in this scope, or in all of the namespace, in the background: the job that does it."""
        return await self._transport.send(operations.consolidate(self._bound, idempotency_key=idempotency_key))

    async def jobs(
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
        return await self._transport.send(operations.jobs(self._bound, state=state, task=task, limit=limit))

    async def job(self, job_id: str) -> Job:
        """One job.

        Raises:
            NotFound: there is none that the key may see.
        """
        return await self._transport.send(operations.job(job_id))

    async def job_events(self, job_id: str, *, after: int = 0) -> AsyncIterator[Job]:
        """The job each time it has changed, until it has ended.

        Args:
            after: the `revision` that was seen last: what is older is left out.

        Raises:
            NotFound: there is none that the key may see.
            ConnectionFailed: the stream was cut before the job ended; go on with `after`.
        """
        feed = JobFeed()
        response = await self._transport.open(operations.job_events(job_id, after=after))
        try:
            async for data in response.aiter_bytes():
                for job in feed.feed(data):
                    yield job
        except httpx2.RequestError as error:
            raise failure(error, self._transport.settings) from error
        finally:
            await response.aclose()
        feed.end()

    async def cancel_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """End a job that has not ended; of the step at work nothing is kept.

        Raises:
            Conflict: it has ended otherwise.
        """
        return await self._transport.send(operations.cancel_job(job_id, idempotency_key=idempotency_key))

    async def retry_job(self, job_id: str, *, idempotency_key: str | None = None) -> Job:
        """Queue a failed or cancelled job again; it goes on where it stopped.

        Raises:
            Conflict: it waits, runs, or has succeeded.
        """
        return await self._transport.send(operations.retry_job(job_id, idempotency_key=idempotency_key))
