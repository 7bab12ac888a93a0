"""`JobQueue` in SQLite: one table, and every statement on it in this file. What changes is decided in `jobs.model`.

Bound to one transaction. A claim needs a write transaction: `BEGIN IMMEDIATE` is the lock that other queues take with
`FOR UPDATE SKIP LOCKED`. Every change of a claimed job goes through `_held`, which compares the fencing token and the
state, so a worker that lost its lease, or whose job was cancelled, raises before its transaction can commit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    Row,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from recalld.core.clock import Clock
from recalld.core.db import Json, UtcTime, metadata
from recalld.core.ids import IdSource
from recalld.core.scope import EVERYTHING, SCOPE_FIELDS, Scope
from recalld.jobs import model
from recalld.jobs.model import Job, JobState, Lease, Progress, QueueSettings

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False),
    Column("user_id", Text),
    Column("agent_id", Text),
    Column("session_id", Text),
    Column("task", Text, nullable=False),
    Column("arguments", Json, nullable=False),
    Column("dedup_key", Text),
    Column("priority", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("deadline", UtcTime, nullable=False),
    Column("noted_at", UtcTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("worker", Text),
    Column("step", Integer, nullable=False),
    Column("cursor", Json),
    Column("done", Integer, nullable=False),
    Column("total", Integer),
    Column("reason", Text),
    Column("result", Json),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("ended_at", UtcTime),
    Column("revision", Integer, nullable=False),
    Index("ix_jobs_state", "state", "priority", "number"),
    Index("ix_jobs_namespace", "namespace", "number"),
    Index("ix_jobs_dedup_key", "namespace", "task", "dedup_key", "number"),
    sqlite_autoincrement=True,
)

_SAME = tuple(f.name for f in fields(Job) if f.name not in ("number", "scope", "progress"))


class SqlJobQueue:
    """See the module's docstring and `jobs.ports.JobQueue`."""

    def __init__(
        self, connection: Connection, clock: Clock, ids: IdSource, settings: QueueSettings = QueueSettings()
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._ids = ids
        self._settings = settings

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
        if dedup_key is not None:
            same = (jobs.c.namespace == namespace, jobs.c.task == task, jobs.c.dedup_key == dedup_key)
            waiting = self._first([*same, jobs.c.state == "queued"], jobs.c.number.desc())
            if waiting is not None:
                self._write(waiting, model.joined(waiting, priority, due, now))
                return waiting.id
        job = model.fresh(self._ids.new("job"), namespace, task, arguments, dedup_key, priority, due, now)
        self._connection.execute(insert(jobs).values(**_values(job)))
        return job.id

    def claim(self, worker: str, tasks: Collection[str]) -> Lease | None:
        now = self._clock.now()
        while (job := self._first(self._claimable(tasks, now), jobs.c.priority.desc(), jobs.c.number)) is not None:
            taken = self._write(job, model.claimed(job, worker, now, self._settings))
            if taken.state == "running":
                return Lease(taken)
        return None

    def claimable(self, tasks: Collection[str]) -> bool:
        query = select(jobs.c.number).where(*self._claimable(tasks, self._clock.now())).limit(1)
        return self._connection.execute(query).first() is not None

    def renew(self, lease: Lease) -> None:
        job = self._held(lease)
        self._write(job, model.renewed(job, self._clock.now(), self._settings))

    def save(self, lease: Lease, cursor: Mapping[str, Any], progress: Progress) -> Lease:
        job = self._held(lease)
        return Lease(self._write(job, model.saved(job, cursor, progress, self._clock.now(), self._settings)))

    def finish(self, lease: Lease, result: Mapping[str, Any], progress: Progress) -> None:
        job = self._held(lease)
        self._write(job, model.finished(job, result, progress, self._clock.now()))

    def fail(self, lease: Lease, reason: str, permanent: bool = False) -> Job:
        job = self._held(lease)
        return self._write(job, model.failed(job, reason, self._clock.now(), self._settings, permanent))

    def release(self, lease: Lease) -> None:
        job = self._held(lease)
        self._write(job, model.released(job, self._clock.now()))

    def get(self, namespace: str, job_id: str) -> Job | None:
        return self._first([jobs.c.namespace == namespace, jobs.c.id == job_id])

    def select(
        self,
        namespace: str,
        limit: int,
        scope: Scope = EVERYTHING,
        states: Sequence[JobState] = (),
        tasks: Sequence[str] = (),
        before: int | None = None,
    ) -> list[Job]:
        where = [jobs.c.namespace == namespace, *(jobs.c[name] == value for name, value in scope.given().items())]
        where += [jobs.c.state.in_(states)] if states else []
        where += [jobs.c.task.in_(tasks)] if tasks else []
        where += [jobs.c.number < before] if before is not None else []
        found = self._connection.execute(select(jobs).where(*where).order_by(jobs.c.number.desc()).limit(limit))
        return [_job(row) for row in found]

    def cancel(self, namespace: str, job_id: str) -> Job:
        job = model.present(self.get(namespace, job_id))
        return self._write(job, model.cancelled(job, self._clock.now()))

    def retry(self, namespace: str, job_id: str) -> Job:
        job = model.present(self.get(namespace, job_id))
        return self._write(job, model.retried(job, self._clock.now()))

    def newest(self, namespace: str, task: str, dedup_key: str) -> Job | None:
        same = [jobs.c.namespace == namespace, jobs.c.task == task, jobs.c.dedup_key == dedup_key]
        return self._first(same, jobs.c.number.desc())

    def depth(self, namespace: str | None = None) -> dict[JobState, int]:
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state).order_by(jobs.c.state)
        if namespace is not None:
            query = query.where(jobs.c.namespace == namespace)
        return {row[0]: row[1] for row in self._connection.execute(query)}

    def drop_ended(self, before: datetime, limit: int) -> int:
        old = select(jobs.c.number).where(jobs.c.state.in_(("succeeded", "cancelled")), jobs.c.ended_at < before)
        return self._connection.execute(delete(jobs).where(jobs.c.number.in_(old.limit(limit)))).rowcount

    def erase(self, namespace: str, memory_ids: Sequence[str]) -> dict[str, int]:
        wanted, now = frozenset(memory_ids), self._clock.now()
        told = func.coalesce(jobs.c.arguments, "") + func.coalesce(jobs.c.cursor, "") + func.coalesce(jobs.c.result, "")
        changed = 0
        query = select(jobs).where(jobs.c.namespace == namespace, func.instr(told, '"mem_') > 0)
        for job in [_job(row) for row in self._connection.execute(query)]:
            clean = model.erased(job, wanted, now)
            if clean != job:
                self._write(job, clean)
                changed += 1
        return {"jobs": changed}

    def _claimable(self, tasks: Collection[str], now: datetime) -> list[ColumnElement[bool]]:
        set_back = now + timedelta(seconds=self._settings.clock_slack_s)
        due = or_(jobs.c.deadline <= now, jobs.c.noted_at > set_back)
        return [and_(jobs.c.state.in_(("queued", "running")), jobs.c.task.in_(sorted(tasks)), due)]

    def _held(self, lease: Lease) -> Job:
        return model.held(self._first([jobs.c.number == lease.job.number]), lease)

    def _first(self, where: Sequence[ColumnElement[bool]], *order: ColumnElement[Any]) -> Job | None:
        row = self._connection.execute(select(jobs).where(*where).order_by(*order).limit(1)).first()
        return None if row is None else _job(row)

    def _write(self, before: Job, job: Job) -> Job:
        if job != before:
            self._connection.execute(update(jobs).where(jobs.c.number == job.number).values(**_values(job)))
        return job


def _values(job: Job) -> dict[str, Any]:
    return {
        **{name: getattr(job, name) for name in _SAME},
        **dict(zip(SCOPE_FIELDS, job.scope.values(), strict=True)),
        **asdict(job.progress),
    }


def _job(row: Row[Any]) -> Job:
    return Job(
        **{name: getattr(row, name) for name in _SAME},
        number=row.number,
        scope=Scope(row.user_id, row.agent_id, row.session_id),
        progress=Progress(row.done, row.total),
    )
