"""`/v1/jobs` and `/v1/consolidations`: put, watch, cancel, retry. A key that is bound to a scope sees its jobs only.

The stream of events reads the job's row now and then, each time in a thread and a transaction that it gives back at
once, so that any number of watchers keeps neither. An event's id is the job's revision: a watcher that comes back with
`Last-Event-ID` is told only what is newer. An event says how the job is, not what happened: none is owed for what a
watcher missed.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.deps import Caller, Once, ServiceDep, WriteTransaction, decode_cursor, encode_cursor
from api.limits import JsonRoute
from api.routes.memories import Cursor, Limit, ScopeOf, check_limit
from api.schemas_jobs import ConsolidationIn, JobOut, JobsOut
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.errors import NotFound, Unavailable
from recalld.jobs.model import ENDED, Job, JobState
from recalld.jobs.ports import JobQueue
from recalld.jobs.tasks import CONSOLIDATE

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=JsonRoute)

POLL_S = 0.25
KEEP_ALIVE_S = 15.0
EVENT_SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "description": "`id`: the revision; `event`: `job`; `data`: the job, as JSON",
}
JobId = Annotated[str, Path(max_length=64, description="`job_` + ULID")]
Task = Annotated[str, Query(min_length=1, max_length=64)]


@router.post("/consolidations", status_code=202, response_model=JobOut)
def consolidate(body: ConsolidationIn, once: Once) -> Response:
    """Derive what is new in a scope or the whole namespace, in the background: the reply is the job.

    While one for the same scope waits, the reply is that one.
    """

    def act(write: WriteTransaction) -> tuple[JobOut, list[str]]:
        namespace, given = once.who.namespace, body.scope.to_scope().within(once.who.bound).given()
        key = ":".join(["asked", *(f"{name}={value}" for name, value in given.items())])
        job_id = write.jobs.put(namespace, CONSOLIDATE, {"scope": given}, dedup_key=key)
        return JobOut.of(_visible(write.jobs, once.who, job_id)), []

    return once.run(202, act)


@router.get("/jobs", response_model=JobsOut)
def list_jobs(
    who: Caller,
    service: ServiceDep,
    scope: ScopeOf,
    state: Annotated[list[JobState] | None, Query(description="any of these")] = None,
    task: Annotated[list[Task] | None, Query(description="any of these")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobsOut:
    """Jobs, newest first. Those that succeeded or were cancelled are kept for some days, those that failed for good."""
    check_limit(limit, service)
    name = f"{who.namespace}:jobs"
    before = decode_cursor(name, cursor)
    with service.read_work() as work:
        found = work.jobs.select(who.namespace, limit + 1, scope.within(who.bound), state or (), task or (), before)
    last = found[limit - 1].number if len(found) > limit else None
    return JobsOut(items=[JobOut.of(job) for job in found[:limit]], next_cursor=encode_cursor(name, last))


@router.get("/jobs/{job_id}", response_model=JobOut)
def get_job(job_id: JobId, who: Caller, service: ServiceDep) -> JobOut:
    """One job."""
    return JobOut.of(_read(service, who, job_id))


@router.post("/jobs/{job_id}/cancel", response_model=JobOut)
def cancel_job(job_id: JobId, once: Once) -> Response:
    """End a job that has not ended. Of the step at work nothing is kept; what earlier steps did stays."""

    def act(write: WriteTransaction) -> tuple[JobOut, list[str]]:
        _visible(write.jobs, once.who, job_id)
        return JobOut.of(write.jobs.cancel(once.who.namespace, job_id)), []

    return once.run(200, act)


@router.post("/jobs/{job_id}/retry", response_model=JobOut)
def retry_job(job_id: JobId, once: Once) -> Response:
    """Queue a failed or cancelled job again; it goes on at the step where it stopped."""

    def act(write: WriteTransaction) -> tuple[JobOut, list[str]]:
        _visible(write.jobs, once.who, job_id)
        return JobOut.of(write.jobs.retry(once.who.namespace, job_id)), []

    return once.run(200, act)


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": EVENT_SCHEMA}}, "description": "`job` events"}},
)
async def job_events(
    job_id: JobId,
    who: Caller,
    service: ServiceDep,
    request: Request,
    last_event_id: Annotated[str | None, Header(description="the id of the last event that was seen")] = None,
) -> StreamingResponse:
    """Server-sent events (`event: job`, the job as data) whenever the job has changed, until it has ended."""
    streams: Streams = request.app.state.job_streams
    job = await run_sync(_read, service, who, job_id)
    if streams.open >= service.settings.job_streams_max:
        raise Unavailable(f"{streams.open} streams of events are open already: ask for the job instead")
    seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 10 else 0
    return StreamingResponse(_events(service, who, job, seen, streams), media_type="text/event-stream")


class Streams:
    """How many streams are open."""

    def __init__(self) -> None:
        self.open = 0


async def _events(service: Service, who: Principal, job: Job, seen: int, streams: Streams) -> AsyncIterator[str]:
    streams.open += 1
    quiet_s = 0.0
    try:
        yield ": recalld\n\n"
        while True:
            if job.revision > seen:
                seen, quiet_s = job.revision, 0.0
                yield f"id: {seen}\nevent: job\ndata: {JobOut.of(job).model_dump_json()}\n\n"
            if job.state in ENDED:
                return
            await anyio.sleep(POLL_S)
            quiet_s += POLL_S
            if quiet_s >= KEEP_ALIVE_S:
                quiet_s = 0.0
                yield ": still here\n\n"
            job = await run_sync(_read, service, who, job.id)
    except NotFound:
        return
    finally:
        streams.open -= 1


def _read(service: Service, who: Principal, job_id: str) -> Job:
    with service.read_work() as work:
        return _visible(work.jobs, who, job_id)


def _visible(jobs: JobQueue, who: Principal, job_id: str) -> Job:
    job = jobs.get(who.namespace, job_id)
    if job is None or not who.bound.covers(job.scope):
        raise NotFound("no job has this id")
    return job
