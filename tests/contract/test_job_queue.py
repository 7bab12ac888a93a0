"""Both queues, by value: what is put, claimed, saved, lost, cancelled, retried and erased, with a clock that is set.

The clock jumps forward and back by an hour in the middle of a job: no step commits twice, and no job is stuck.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recalld.core.db import Database
from recalld.core.errors import Conflict, LeaseLost, NotFound
from recalld.core.scope import Scope
from recalld.jobs.inline import InlineJobQueue
from recalld.jobs.model import Job, Lease, Progress, QueueSettings
from recalld.jobs.ports import JobQueue
from recalld.jobs.queue import SqlJobQueue
from tests.conftest import NOW, SerialIds, SetClock

TASKS = ("sweep", "count")
SETTINGS = QueueSettings(lease_s=30.0, attempts_max=3, backoff_s=1.0, backoff_s_max=3.0)
Queue = Callable[[], AbstractContextManager[JobQueue]]


def sqlite_queue(database: Database, clock: SetClock, ids: SerialIds) -> Queue:
    @contextmanager
    def opened() -> Iterator[JobQueue]:
        with database.write() as connection:
            yield SqlJobQueue(connection, clock, ids, SETTINGS)

    return opened


@pytest.fixture(params=["inline", "sqlite"])
def queue(request: pytest.FixtureRequest, clock: SetClock, ids: SerialIds) -> Queue:
    if request.param == "inline":
        return InlineJobQueue(clock, ids, SETTINGS).transaction
    return sqlite_queue(request.getfixturevalue("database"), clock, ids)


def put(queue: Queue, task: str = "sweep", arguments: Any = None, **named: Any) -> str:
    with queue() as jobs:
        return jobs.put("n", task, arguments or {}, **named)


def claim(queue: Queue, worker: str = "w1") -> Lease | None:
    with queue() as jobs:
        return jobs.claim(worker, TASKS)


def claimed(queue: Queue, worker: str = "w1") -> Lease:
    lease = claim(queue, worker)
    assert lease is not None
    return lease


def job(queue: Queue, job_id: str) -> Job:
    with queue() as jobs:
        found = jobs.get("n", job_id)
    assert found is not None
    return found


def test_a_job_runs_from_its_saved_cursor_to_its_result(queue: Queue, clock: SetClock) -> None:
    scope = {"user_id": "ann", "agent_id": None, "session_id": "s1"}
    job_id = put(queue, arguments={"scope": scope, "n": 2}, priority=3)
    assert job(queue, job_id) == Job(
        job_id, "n", "sweep", {"scope": scope, "n": 2}, NOW, NOW, NOW, Scope("ann", None, "s1"), priority=3, number=1
    )
    clock.advance(seconds=5)
    lease = claimed(queue)
    at = NOW + timedelta(seconds=5)
    assert (lease.job.state, lease.job.worker, lease.job.token, lease.job.started_at) == ("running", "w1", 1, at)
    assert claim(queue, "w2") is None
    with queue() as jobs:
        lease = jobs.save(lease, {"row": 7}, Progress(1, 2))
    assert (lease.job.cursor, lease.job.step, lease.job.progress) == ({"row": 7}, 1, Progress(1, 2))
    with queue() as jobs:
        jobs.finish(lease, {"rows": 9}, Progress(2, 2))
    done = job(queue, job_id)
    assert (done.state, done.step, done.result, done.ended_at) == ("succeeded", 2, {"rows": 9}, at)
    assert (done.revision, done.worker, done.reason) == (4, None, None)
    assert claim(queue) is None


def test_what_is_put_goes_with_its_transaction(queue: Queue) -> None:
    def put_and_fail() -> None:
        with queue() as jobs:
            jobs.put("n", "sweep", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_and_fail()
    with queue() as jobs:
        assert jobs.select("n", 10) == []


def test_by_priority_then_by_arrival_and_not_before_its_time(queue: Queue, clock: SetClock) -> None:
    low, high, second = put(queue, priority=-1), put(queue, priority=5), put(queue, priority=5)
    later = put(queue, priority=9, due_at=NOW + timedelta(minutes=1))
    put(queue, task="unknown")
    assert [claimed(queue).job.id for _ in range(3)] == [high, second, low]
    with queue() as jobs:
        assert not jobs.claimable(TASKS)
    clock.advance(minutes=1, seconds=-31)  # the leases hold until the thirtieth second
    assert claim(queue) is None
    clock.advance(seconds=31)
    with queue() as jobs:
        assert jobs.claimable(TASKS)
    assert claimed(queue).job.id == later


def test_a_dedup_key_joins_the_waiting_job_and_brings_it_forward(queue: Queue) -> None:
    first = put(queue, dedup_key="k", due_at=NOW + timedelta(hours=1))
    assert put(queue, dedup_key="k", due_at=NOW + timedelta(hours=2)) == first
    assert job(queue, first).deadline == NOW + timedelta(hours=1)
    assert put(queue, dedup_key="k", priority=4) == first
    assert (job(queue, first).deadline, job(queue, first).priority) == (NOW, 4)
    assert put(queue, task="count", dedup_key="k") != first
    with queue() as jobs:
        assert jobs.put("other", "sweep", {}, dedup_key="k") != first
    assert claimed(queue).job.id == first
    again = put(queue, dedup_key="k")
    assert again != first
    with queue() as jobs:
        newest = jobs.newest("n", "sweep", "k")
        assert newest is not None
        assert (newest.id, jobs.newest("n", "sweep", "x")) == (again, None)


def test_a_step_that_always_fails_pauses_longer_and_ends_in_the_dead_letter(queue: Queue, clock: SetClock) -> None:
    job_id = put(queue)
    for pause_s in (1, 2):
        with queue() as jobs:
            jobs.fail(claimed_in(jobs), "boom " * 200)
        assert claim(queue) is None
        clock.advance(seconds=pause_s)
    with queue() as jobs:
        dead = jobs.fail(claimed_in(jobs), "boom")
    assert (dead.state, dead.reason, dead.attempts) == ("failed", "boom", 3)
    with queue() as jobs:
        assert [each.id for each in jobs.select("n", 10, states=["failed"])] == [job_id]
        assert jobs.depth() == {"failed": 1}
        assert jobs.drop_ended(clock.advance(days=99), 10) == 0
        revived = jobs.retry("n", job_id)
    assert (revived.state, revived.attempts, revived.reason, revived.ended_at) == ("queued", 0, None, None)
    assert claimed(queue).job.id == job_id


def claimed_in(jobs: JobQueue) -> Lease:
    lease = jobs.claim("w1", TASKS)
    assert lease is not None
    return lease


def test_a_permanent_failure_is_not_tried_again(queue: Queue) -> None:
    put(queue)
    with queue() as jobs:
        assert jobs.fail(claimed_in(jobs), "no such thing", permanent=True).state == "failed"


def test_a_step_that_commits_begins_the_count_of_tries_anew(queue: Queue, clock: SetClock) -> None:
    job_id = put(queue)
    for step in range(4):
        with queue() as jobs:
            jobs.fail(claimed_in(jobs), "once")
        clock.advance(seconds=1)
        with queue() as jobs:
            lease = jobs.save(claimed_in(jobs), {"step": step}, Progress(step))
            jobs.release(lease)
    assert (job(queue, job_id).state, job(queue, job_id).step) == ("queued", 4)


def test_a_job_that_kills_its_workers_ends_in_the_dead_letter(queue: Queue, clock: SetClock) -> None:
    job_id = put(queue)
    for _ in range(3):
        claimed(queue)
        clock.advance(seconds=31)
    assert claim(queue) is None
    dead = job(queue, job_id)
    assert (dead.state, dead.reason) == ("failed", "its worker stopped 3 times in one step")


def test_a_lease_that_is_renewed_holds_and_one_that_ran_out_is_fenced_off(queue: Queue, clock: SetClock) -> None:
    put(queue)
    lease = claimed(queue)
    for _ in range(3):
        clock.advance(seconds=20)
        with queue() as jobs:
            jobs.renew(lease)
        assert claim(queue, "w2") is None
    clock.advance(seconds=31)
    other = claimed(queue, "w2")
    assert other.job.token == lease.job.token + 1
    for act in (
        lambda jobs: jobs.renew(lease),
        lambda jobs: jobs.save(lease, {}, Progress()),
        lambda jobs: jobs.finish(lease, {}, Progress()),
        lambda jobs: jobs.fail(lease, "x"),
        lambda jobs: jobs.release(lease),
    ):
        with pytest.raises(LeaseLost), queue() as jobs:
            act(jobs)
    with queue() as jobs:
        jobs.finish(other, {}, Progress())


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
def test_a_clock_that_jumps_lets_no_two_workers_commit_one_step(queue: Queue, clock: SetClock, jump: timedelta) -> None:
    job_id = put(queue)
    first = claimed(queue, "w1")
    clock.moment += jump
    second = claimed(queue, "w2")
    with pytest.raises(LeaseLost), queue() as jobs:
        jobs.save(first, {"by": "w1"}, Progress(1))
    with queue() as jobs:
        second = jobs.save(second, {"by": "w2"}, Progress(1))
    clock.moment -= jump
    with queue() as jobs:
        jobs.finish(second, {"by": "w2"}, Progress(2))
    assert (job(queue, job_id).state, job(queue, job_id).result) == ("succeeded", {"by": "w2"})


def test_a_clock_that_is_set_back_keeps_no_job_waiting_longer_than_was_meant(queue: Queue, clock: SetClock) -> None:
    put(queue, due_at=NOW + timedelta(seconds=10))
    failed = put(queue, task="count")
    with queue() as jobs:
        jobs.fail(claimed_in(jobs), "once")
    clock.advance(hours=-1)
    assert {claimed(queue).job.id for _ in range(2)} >= {failed}
    assert claim(queue) is None


def test_clocks_of_workers_that_differ_a_little_take_no_lease(queue: Queue, clock: SetClock) -> None:
    put(queue)
    lease = claimed(queue)
    clock.advance(seconds=-SETTINGS.clock_slack_s)
    assert claim(queue, "w2") is None
    with queue() as jobs:
        jobs.finish(lease, {}, Progress())


def test_a_cancelled_job_commits_nothing_more_and_can_be_retried(queue: Queue, clock: SetClock) -> None:
    job_id = put(queue)
    lease = claimed(queue)
    with queue() as jobs:
        assert jobs.cancel("n", job_id).state == "cancelled"
        assert jobs.cancel("n", job_id).revision == jobs.cancel("n", job_id).revision
    with pytest.raises(LeaseLost), queue() as jobs:
        jobs.save(lease, {}, Progress())
    assert claim(queue) is None
    with queue() as jobs:
        jobs.retry("n", job_id)
        jobs.finish(claimed_in(jobs), {}, Progress())
    for act in ("cancel", "retry"):
        with pytest.raises(Conflict), queue() as jobs:
            getattr(jobs, act)("n", job_id)
        with pytest.raises(NotFound), queue() as jobs:
            getattr(jobs, act)("other", job_id)
    with queue() as jobs:
        assert jobs.drop_ended(clock.now(), 10) == 0
        assert jobs.drop_ended(clock.advance(seconds=1), 10) == 1
        assert jobs.get("n", job_id) is None


def test_the_list_is_newest_first_by_scope_state_and_task(queue: Queue) -> None:
    ids = [put(queue, TASKS[n % 2], {"scope": {"user_id": "ab"[n // 2]}}) for n in range(4)]
    with queue() as jobs:
        jobs.put("other", "sweep", {})
        jobs.cancel("n", ids[0])
        listed = jobs.select("n", 2)
        assert [each.id for each in listed] == [ids[3], ids[2]]
        assert [each.id for each in jobs.select("n", 9, before=listed[-1].number)] == [ids[1], ids[0]]
        assert [each.id for each in jobs.select("n", 9, Scope(user_id="a"))] == [ids[1], ids[0]]
        assert [each.id for each in jobs.select("n", 9, states=["queued"], tasks=["sweep"])] == [ids[2]]
        assert jobs.depth("n") == {"cancelled": 1, "queued": 3}


def test_erasing_takes_ids_out_of_payloads_cursors_and_results(queue: Queue) -> None:
    doomed, kept = f"mem_{1:026d}", f"mem_{2:026d}"
    told = {"ids": [doomed, kept], "one": doomed, "by": {doomed: 1, kept: [doomed]}}
    clean = {"ids": [kept], "one": None, "by": {kept: []}}
    job_id, other = put(queue, arguments=told), put(queue, "count", {"ids": [kept]})
    lease = claimed(queue)
    with queue() as jobs:
        jobs.save(lease, {"at": doomed}, Progress())
    lease = replace(lease, job=job(queue, job_id))
    with queue() as jobs:
        assert jobs.erase("other", [doomed]) == {"jobs": 0}
        assert jobs.erase("n", [doomed]) == {"jobs": 1}
        assert jobs.erase("n", [doomed]) == {"jobs": 0}
    found = job(queue, job_id)
    assert (found.arguments, found.cursor, found.state) == (clean, {"at": None}, "queued")
    assert job(queue, other).arguments == {"ids": [kept]}
    with pytest.raises(LeaseLost), queue() as jobs:
        jobs.save(lease, {"at": doomed}, Progress())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 2)),
        st.tuples(st.sampled_from(["claim", "save", "finish", "fail", "renew", "release"]), st.integers(0, 1)),
        st.tuples(st.just("jump"), st.sampled_from([1, 20, 40, 3600, -3600])),
        st.tuples(st.sampled_from(["cancel", "retry"]), st.integers(0, 3)),
    ),
    max_size=30,
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_whatever_happens_both_queues_are_the_same_and_a_step_commits_once(
    steps: list[tuple[str, int]], database: Database
) -> None:
    """Two workers with any interleaving, any clock: each cursor is saved at most once."""
    clocks = [SetClock(), SetClock()]
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM jobs")
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = 'jobs'")
    queues = [
        InlineJobQueue(clocks[0], SerialIds(), SETTINGS).transaction,
        sqlite_queue(database, clocks[1], SerialIds()),
    ]
    told = []
    for queue, clock in zip(queues, clocks, strict=True):
        held: dict[int, Lease] = {}
        log: list[object] = []
        commits: list[tuple[str, int]] = []
        for name, number in steps:
            if name == "jump":
                clock.advance(seconds=number)
                continue
            try:
                with queue() as jobs:
                    log.append(act(jobs, name, number, held, commits))
            except (LeaseLost, Conflict, NotFound) as error:
                held.pop(number, None)
                log.append(error.code)
        assert len(commits) == len(set(commits))
        with queue() as jobs:
            told.append((log, jobs.select("n", 99)))
    assert told[0] == told[1]


def act(jobs: JobQueue, name: str, number: int, held: dict[int, Lease], commits: list[tuple[str, int]]) -> object:
    if name == "put":
        return jobs.put("n", "sweep", {}, dedup_key=str(number) if number else None, priority=number)
    if name in ("cancel", "retry"):
        listed = jobs.select("n", 99)
        return getattr(jobs, name)("n", listed[number].id if number < len(listed) else "none")
    if name == "claim":
        lease = jobs.claim(f"w{number}", TASKS)
        if lease is not None:
            held[number] = lease
        return lease
    if number not in held:
        return None
    lease = held[number]
    if name == "save":
        held[number] = jobs.save(lease, {"n": lease.job.step}, Progress(lease.job.step))
        commits.append((lease.job.id, lease.job.step))
        return held[number]
    arguments = {"finish": ({}, Progress()), "fail": ("x",)}.get(name, ())
    result = getattr(jobs, name)(lease, *arguments)
    if name != "renew":
        del held[number]
    return result
