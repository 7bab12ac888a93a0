"""Steps: effects and cursor commit together or not at all; a job lost, cancelled or failed leaves nothing of a step."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from memory.model import Item, Selection
from recalld.bootstrap import Parts, Service
from recalld.core.errors import NotFound
from recalld.jobs.model import Job, Progress
from recalld.jobs.runner import Breathe, Effects, JobRunner, Outcome, Work
from recalld.jobs.worker import JobSteps, Worker
from tests.conftest import WHO, SerialIds, SetClock


class Write:
    """A task of three steps, each of which writes a memory; what happens in it is said by a test."""

    name = "write"

    def __init__(self, service: Service) -> None:
        self.service = service
        self.during_plan: Callable[[Breathe], object] = lambda breathe: None
        self.during_effects: Callable[[], object] = lambda: None
        self.after: list[int] = []

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        step = 0 if job.cursor is None else int(job.cursor["step"])
        self.during_plan(breathe)

        def effects(work: Work) -> Outcome:
            self.service.memories.add(work.store, WHO, [Item(f"step {step}")])
            self.during_effects()
            cursor = {"step": step + 1} if step < 2 else None
            return Outcome(cursor, Progress(step + 1, 3), {"steps": 3}, (lambda: self.after.append(step),))

        return effects


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.fixture
def task(service: Service) -> Write:
    task = Write(service)
    service.tasks["write"] = task
    return task


def put(service: Service, task: str = "write") -> str:
    with service.write_work() as work:
        return work.jobs.put("default", task, {})


def job(service: Service, job_id: str) -> Job:
    with service.read_work() as work:
        found = work.jobs.get("default", job_id)
    assert found is not None
    return found


def texts(service: Service) -> list[str]:
    with service.read_store() as store:
        return sorted(m.item.text for m in store.select("default", Selection(), service.clock.now(), 99))


def attempt(runner: JobRunner) -> int:
    """As the worker does it."""
    try:
        return runner.advance()
    except Exception as error:  # noqa: BLE001  # as the worker
        return runner.failed(error)


def test_a_job_is_carried_on_step_by_step_to_its_result(service: Service, task: Write) -> None:
    job_id, runner = put(service), service.job_runner()
    seen = []
    while runner.advance():
        seen.append((job(service, job_id).state, job(service, job_id).progress.done, texts(service)))
    assert seen == [
        ("running", 1, ["step 0"]),
        ("running", 2, ["step 0", "step 1"]),
        ("succeeded", 3, ["step 0", "step 1", "step 2"]),
    ]
    assert (job(service, job_id).result, task.after) == ({"steps": 3}, [0, 1, 2])


def test_effects_that_raise_leave_nothing_and_the_step_is_tried_again(
    service: Service, task: Write, clock: SetClock
) -> None:
    job_id, runner = put(service), service.job_runner()
    runner.advance()
    task.during_effects = raising(ValueError("a secret"))
    attempt(runner)
    failed = job(service, job_id)
    assert (texts(service), failed.state, failed.step) == (["step 0"], "queued", 1)
    assert failed.reason is not None
    assert failed.reason.startswith("ValueError at test_runner.py:")
    assert runner.advance() == 0
    task.during_effects = lambda: None
    clock.advance(seconds=1)
    while runner.advance():
        pass
    assert (texts(service), job(service, job_id).state) == (["step 0", "step 1", "step 2"], "succeeded")


def test_a_task_that_always_fails_ends_in_the_dead_letter_and_can_be_retried(
    service: Service, task: Write, clock: SetClock
) -> None:
    job_id, runner = put(service), service.job_runner()
    task.during_plan = raising(ValueError("a secret"))
    for _ in range(service.settings.job_attempts_max):
        assert attempt(runner) == 1
        clock.advance(minutes=10)
    assert (job(service, job_id).state, runner.advance()) == ("failed", 0)
    task.during_plan = lambda breathe: None
    with service.write_work() as work:
        work.jobs.retry("default", job_id)
    while runner.advance():
        pass
    assert job(service, job_id).state == "succeeded"


def test_an_error_that_no_retry_helps_is_final_and_told(service: Service, task: Write) -> None:
    job_id, runner = put(service), service.job_runner()
    task.during_plan = raising(NotFound("no memory has this id"))
    attempt(runner)
    assert (job(service, job_id).state, job(service, job_id).reason) == ("failed", "not_found: no memory has this id")


def test_a_job_that_is_cancelled_during_its_step_commits_nothing(service: Service, task: Write) -> None:
    job_id, runner = put(service), service.job_runner()

    def cancel(breathe: Breathe) -> None:
        with service.write_work() as work:
            work.jobs.cancel("default", job_id)

    task.during_plan = cancel
    assert attempt(runner) == 1
    assert (texts(service), job(service, job_id).state, job(service, job_id).reason) == ([], "cancelled", None)
    assert runner.advance() == 0


def test_a_long_plan_keeps_its_lease_and_learns_that_it_was_cancelled(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(Parts(clock=SetClock(), ids=SerialIds()))
    task = Write(service)
    job_id = put(service)
    runner = JobRunner({"write": task}, service.read_work, service.write_work, service.gate, heartbeat_s=0.01)
    breaths = []

    def long(breathe: Breathe) -> None:
        service.clock.advance(seconds=20)  # type: ignore[attr-defined]
        while job(service, job_id).deadline < service.clock.now().replace(second=50):
            breathe()
        with service.write_work() as work:
            work.jobs.cancel("default", job_id)
        for _ in range(10_000):
            breathe()
            breaths.append(threading.Event().wait(0.001))

    task.during_plan = long
    assert attempt(runner) == 1
    assert 0 <= len(breaths) < 10_000
    assert (texts(service), job(service, job_id).state) == ([], "cancelled")


def test_two_runners_do_each_step_once(service: Service, task: Write) -> None:
    ids = [put(service) for _ in range(6)]
    runners = [service.job_runner(), service.job_runner()]
    threads = [threading.Thread(target=lambda runner=each: [None for _ in iter(runner.advance, 0)]) for each in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {job(service, each).state for each in ids} == {"succeeded"}
    assert texts(service) == sorted(f"step {n}" for n in range(3) for _ in ids)


def test_a_worker_that_stops_gives_its_job_back(service: Service, task: Write) -> None:
    job_id, runner = put(service), service.job_runner()
    runner.advance()
    runner.release()
    given_back = job(service, job_id)
    assert (given_back.state, given_back.step, given_back.attempts) == ("queued", 1, 0)
    other = service.job_runner()
    while other.advance():
        pass
    assert texts(service) == ["step 0", "step 1", "step 2"]


def test_jobs_of_other_tasks_are_left_alone(service: Service, task: Write) -> None:
    job_id = put(service, "unknown")
    assert (service.job_runner().advance(), job(service, job_id).state) == (0, "queued")


def test_the_worker_does_jobs_beside_the_outbox_and_goes_on_after_errors(service: Service, task: Write) -> None:
    runner = service.job_runner()
    calls = iter([raising(RuntimeError("claim")), runner.advance])
    schedules = []
    steps = JobSteps(
        lambda: next(calls, runner.advance)(), runner.failed, runner.release, lambda: schedules.append(1) or 0
    )
    worker = Worker(lambda: 0, lambda: None, lambda: None, jobs=steps)
    job_id = put(service)
    with structlog.testing.capture_logs() as logs:
        worker.start()
        waiting = threading.Event()
        for _ in range(1000):
            if job(service, job_id).state == "succeeded":
                break
            waiting.wait(0.01)
        worker.stop()
    assert job(service, job_id).state == "succeeded"
    assert [entry["event"] for entry in logs] == ["claim_failed"]
    assert len(schedules) == 1
    assert worker.do_jobs() == 0
