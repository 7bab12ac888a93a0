"""What a job is and how it changes: pure transitions that every queue stores, each from a job to the job afterwards.

    put -> queued -claim-> running -save-> running -finish-> succeeded
             ^                |  `-fail, tries left-> queued (after a pause)
             |                |  `-fail, none left--> failed (the dead letter, with its reason)
             `----- retry ----+-- cancel -----------> cancelled

A lease is the right to commit the next step of a job: a *fencing token* (M. Kleppmann, "How to do distributed locking",
2016) that each claim counts up, and a deadline. The deadline only says when another worker may try; whether a step
commits is decided by the token alone, in the transaction of its effects. So no clock can let two workers commit one
step.

Invariant: a moment that was noted in the future was noted by a clock that has been set back since, and means nothing.
Each deadline stands beside the moment at which it was set (`noted_at`), so a job waits for none longer than was meant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

from recalld.core.errors import Conflict, LeaseLost, NotFound
from recalld.core.scope import EVERYTHING, SCOPE_FIELDS, Scope

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
ENDED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})
REASON_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """Seconds and counts.

    Attributes:
        lease_s: how long a worker that says nothing keeps a job.
        attempts_max: tries of one step; a step that commits begins the count anew.
        backoff_s: pause after the first failed try, doubling up to `backoff_s_max`.
        clock_slack_s: how far clocks of one database's workers may differ without meaning that one was set back.
    """

    lease_s: float = 30.0
    attempts_max: int = 5
    backoff_s: float = 1.0
    backoff_s_max: float = 300.0
    clock_slack_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, in units of its own; `total` None: not known."""

    done: int = 0
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job.

    Attributes:
        number: its place in the queue, ascending; 0 before it is put.
        scope: whose it is: a key that is bound to a scope sees only jobs of that scope.
        deadline: queued: not before then; running: until when its worker has it.
        noted_at: when `deadline` was set.
        attempts: tries of the step at hand.
        token: counts claims; the holder of the newest may commit.
        step, cursor: how many steps were committed, and where the next one begins.
        reason: why the last try failed.
        result: what it gives once it has succeeded.
        revision: counts changes.
    """

    id: str
    namespace: str
    task: str
    arguments: Mapping[str, Any]
    deadline: datetime
    noted_at: datetime
    created_at: datetime
    scope: Scope = EVERYTHING
    dedup_key: str | None = None
    priority: int = 0
    state: JobState = "queued"
    attempts: int = 0
    token: int = 0
    worker: str | None = None
    step: int = 0
    cursor: Mapping[str, Any] | None = None
    progress: Progress = field(default_factory=Progress)
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    revision: int = 1
    number: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed job as it was when it was claimed or last saved; `job.token` is the fencing token."""

    job: Job


def fresh(
    job_id: str,
    namespace: str,
    task: str,
    arguments: Mapping[str, Any],
    dedup_key: str | None,
    priority: int,
    due_at: datetime,
    now: datetime,
) -> Job:
    """A new job; its scope is what its arguments name as `scope`."""
    named = arguments.get("scope") or {}
    scope = Scope(*(named.get(name) for name in SCOPE_FIELDS))
    return Job(
        job_id, namespace, task, dict(arguments), due_at, now, now, scope=scope, dedup_key=dedup_key, priority=priority
    )


def present(job: Job | None) -> Job:
    """The job.

    Raises:
        NotFound: there is none.
    """
    if job is None:
        raise NotFound("no job has this id")
    return job


def held(job: Job | None, lease: Lease) -> Job:
    """The job as it is now, if the lease still holds.

    Raises:
        LeaseLost: it does not.
    """
    if job is None or job.state != "running" or job.token != lease.job.token:
        raise LeaseLost("the job is no longer this worker's")
    return job


def may_be_claimed(job: Job, now: datetime, settings: QueueSettings) -> bool:
    """Whether its time has come, or its worker has lost it."""
    slack = timedelta(seconds=settings.clock_slack_s)
    return job.state in ("queued", "running") and (job.deadline <= now or job.noted_at > now + slack)


def joined(waiting: Job, priority: int, due_at: datetime, now: datetime) -> Job:
    """The waiting job once another one under its dedup key was put: brought forward, never put off."""
    if priority <= waiting.priority and due_at >= waiting.deadline:
        return waiting
    earlier = due_at < waiting.deadline
    return _changed(
        waiting,
        priority=max(priority, waiting.priority),
        deadline=due_at if earlier else waiting.deadline,
        noted_at=now if earlier else waiting.noted_at,
    )


def claimed(job: Job, worker: str, now: datetime, settings: QueueSettings) -> Job:
    """The job in the hands of `worker`; the dead letter where its step has lost too many workers already."""
    if job.attempts >= settings.attempts_max:
        return _ended(job, "failed", now, reason=job.reason or f"its worker stopped {job.attempts} times in one step")
    return _changed(
        job,
        state="running",
        attempts=job.attempts + 1,
        token=job.token + 1,
        worker=worker,
        started_at=job.started_at or now,
        **_lease(now, settings),
    )


def renewed(job: Job, now: datetime, settings: QueueSettings) -> Job:
    """The job with a deadline a whole lease away; nothing that its watchers would be told."""
    return replace(job, **_lease(now, settings))


def saved(job: Job, cursor: Mapping[str, Any], progress: Progress, now: datetime, settings: QueueSettings) -> Job:
    """The job after a step: where the next one begins."""
    return _changed(
        job, step=job.step + 1, cursor=cursor, progress=progress, attempts=1, reason=None, **_lease(now, settings)
    )


def finished(job: Job, result: Mapping[str, Any], progress: Progress, now: datetime) -> Job:
    """The job after its last step."""
    return _ended(replace(job, step=job.step + 1, progress=progress, result=result), "succeeded", now, reason=None)


def failed(job: Job, reason: str, now: datetime, settings: QueueSettings, permanent: bool = False) -> Job:
    """The job after a try that failed: queued again after a pause, or the dead letter."""
    told = reason[:REASON_CHARS_MAX]
    if permanent or job.attempts >= settings.attempts_max:
        return _ended(job, "failed", now, reason=told)
    pause = timedelta(seconds=backoff_s(job.attempts, settings))
    return _changed(job, state="queued", worker=None, reason=told, deadline=now + pause, noted_at=now)


def released(job: Job, now: datetime) -> Job:
    """The job given back by a worker that stops: the try does not count."""
    return _changed(job, state="queued", worker=None, attempts=max(0, job.attempts - 1), deadline=now, noted_at=now)


def cancelled(job: Job, now: datetime) -> Job:
    """The job cancelled: whoever has it can commit nothing more. A second time changes nothing.

    Raises:
        Conflict: it has ended otherwise.
    """
    if job.state == "cancelled":
        return job
    if job.state in ENDED:
        raise Conflict(f"the job has {job.state}")
    return _ended(job, "cancelled", now, reason=job.reason)


def retried(job: Job, now: datetime) -> Job:
    """A failed or cancelled job queued again, at the step where it stopped.

    Raises:
        Conflict: it waits, runs, or has succeeded.
    """
    if job.state not in ("failed", "cancelled"):
        raise Conflict(f"only a failed or cancelled job can be retried; this one is {job.state}")
    return _changed(
        job, state="queued", attempts=0, reason=None, result=None, ended_at=None, deadline=now, noted_at=now
    )


def backoff_s(attempts: int, settings: QueueSettings) -> float:
    """The pause after so many failed tries."""
    return min(settings.backoff_s_max, settings.backoff_s * 2.0 ** (attempts - 1))


def without(value: Any, texts: frozenset[str]) -> Any:
    """JSON without some texts: taken out of arrays, null elsewhere; keys too."""
    if isinstance(value, str):
        return None if value in texts else value
    if isinstance(value, list | tuple):
        return [without(each, texts) for each in value if not (isinstance(each, str) and each in texts)]
    if isinstance(value, Mapping):
        return {key: without(each, texts) for key, each in value.items() if key not in texts}
    return value


def erased(job: Job, memory_ids: frozenset[str], now: datetime) -> Job:
    """The job without these ids in what it was given, has saved or gave; one that runs is taken from its worker."""
    clean = replace(
        job,
        arguments=without(job.arguments, memory_ids),
        cursor=without(job.cursor, memory_ids),
        result=without(job.result, memory_ids),
    )
    if clean == job:
        return job
    if job.state == "running":
        return _changed(clean, state="queued", worker=None, token=job.token + 1, deadline=now, noted_at=now)
    return _changed(clean)


def _lease(now: datetime, settings: QueueSettings) -> dict[str, Any]:
    return {"deadline": now + timedelta(seconds=settings.lease_s), "noted_at": now}


def _ended(job: Job, state: JobState, now: datetime, reason: str | None) -> Job:
    return _changed(job, state=state, worker=None, reason=reason, ended_at=now)


def _changed(job: Job, **fields: Any) -> Job:
    return replace(job, revision=job.revision + 1, **fields)
