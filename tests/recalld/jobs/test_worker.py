"""The worker's loop: it goes on after every error, says no word of what it worked on, and ends when it is told to."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import structlog

from memory.model import Item
from recalld.bootstrap import Parts, Service
from recalld.jobs.worker import Worker, WorkerSettings
from retrieval.encode_hash import HashEncoder
from tests.conftest import WHO, SerialIds, SetClock

FAST = WorkerSettings(poll_s=0.002, upkeep_s=60.0, error_pause_s=0.01, error_pause_s_max=0.04)
SECRET = "xylophone"


class Steps:
    """Counts its calls, and fails while `failing` says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []
        self.failing: set[str] = set()
        self.left = 0
        self.changed = threading.Condition()

    def step(self, name: str) -> Callable[[], Any]:
        def call() -> int:
            with self.changed:
                self.calls.append((name, time.monotonic()))
                self.changed.notify_all()
            if name in self.failing:
                raise ValueError(SECRET)
            self.left = max(0, self.left - 1) if name == "apply" else self.left
            return self.left

        return call

    def count(self, name: str) -> int:
        return sum(called == name for called, _ in self.calls)

    def wait_for(self, name: str, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.count(name) >= count, timeout=10)


def make_worker(steps: Steps, settings: WorkerSettings = FAST) -> Worker:
    return Worker(steps.step("apply"), steps.step("flush"), steps.step("upkeep"), settings)


def test_it_applies_flushes_and_keeps_up_in_turn_and_stops_promptly() -> None:
    steps = Steps()
    worker = make_worker(steps)
    worker.start()
    steps.wait_for("flush", 3)
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < 1.0
    names = [name for name, _ in steps.calls]
    assert names[:5] == ["apply", "flush", "upkeep", "apply", "flush"]
    assert names.count("upkeep") == 1
    assert names[-1] == "flush"
    after = len(steps.calls)
    time.sleep(0.02)
    assert len(steps.calls) == after


def test_upkeep_is_done_again_when_its_time_has_come() -> None:
    steps = Steps()
    worker = make_worker(steps, WorkerSettings(poll_s=0.002, upkeep_s=0.0))
    worker.start()
    steps.wait_for("upkeep", 3)
    worker.stop()
    assert steps.count("upkeep") >= 3


def test_while_there_is_work_it_does_not_pause() -> None:
    steps = Steps()
    steps.left = 50
    worker = make_worker(steps, WorkerSettings(poll_s=60.0))
    worker.start()
    steps.wait_for("apply", 50)
    worker.stop()
    assert steps.count("apply") == 50


def test_a_wake_ends_the_pause_and_a_stop_too() -> None:
    steps = Steps()
    worker = make_worker(steps, WorkerSettings(poll_s=60.0))
    worker.start()
    steps.wait_for("upkeep", 1)
    for count in range(2, 5):
        worker.wake()
        steps.wait_for("apply", count)
    started = time.monotonic()
    worker.stop()
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize("failing", ["apply", "flush", "upkeep"])
def test_an_error_is_tried_again_with_a_growing_pause_and_logged_without_words(failing: str) -> None:
    steps = Steps()
    steps.failing = {failing}
    worker = make_worker(steps, replace(FAST, upkeep_s=0.0))
    with structlog.testing.capture_logs() as logs:
        worker.start()
        steps.wait_for(failing, 5)
        steps.failing = set()
        steps.wait_for("upkeep", steps.count("upkeep") + 3)
        steps.failing = {failing}
        steps.wait_for(failing, steps.count(failing) + 2)
        steps.failing = set()
        worker.stop()
    assert {(entry["event"], entry["error"], entry["log_level"]) for entry in logs} == {
        ("step_failed", "ValueError", "error")
    }
    assert SECRET not in repr(logs)
    retries = [entry["retry_s"] for entry in logs]
    assert retries[:4] == [0.01, 0.02, 0.04, 0.04]
    assert 0.01 in retries[5:]
    failures = [moment for name, moment in steps.calls if name == failing][:5]
    pauses = [later - earlier for earlier, later in pairwise(failures)]
    assert all(pause >= wanted for pause, wanted in zip(pauses, retries, strict=False))


def test_a_step_that_fails_does_not_keep_the_others_from_their_turn() -> None:
    steps = Steps()
    steps.failing = {"apply"}
    worker = make_worker(steps)
    with structlog.testing.capture_logs() as logs:
        worker.start()
        steps.wait_for("flush", 3)
        worker.stop()
    assert steps.count("upkeep") == 1
    assert len(logs) == steps.count("apply")


def test_a_stop_during_the_pause_after_an_error_is_prompt() -> None:
    steps = Steps()
    steps.failing = {"apply", "flush"}
    worker = make_worker(steps, WorkerSettings(error_pause_s=60.0))
    with structlog.testing.capture_logs() as logs:
        worker.start()
        steps.wait_for("apply", 1)
        started = time.monotonic()
        worker.stop()
    assert time.monotonic() - started < 1.0
    assert [entry["retry_s"] for entry in logs] == [60.0, 60.0, 0.0]


def test_it_can_run_in_the_callers_thread_and_a_stop_before_it_begins_counts() -> None:
    steps = Steps()
    worker = make_worker(steps)
    worker.request_stop()
    worker.run()
    assert [name for name, _ in steps.calls] == ["flush"]
    worker.stop()


def test_of_a_service_it_applies_what_was_written_once_the_encoder_works_again(
    make_service: Callable[..., Service],
) -> None:
    class Broken(HashEncoder):
        working = False

        def encode(self, texts: Any) -> Any:
            if not self.working:
                raise RuntimeError(f"can not encode {list(texts)}")
            return super().encode(texts)

    encoder = Broken()
    service = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=encoder))
    with service.write_store() as store:
        service.memories.add(store, WHO, [Item(f"{SECRET} {n}") for n in range(300)])
    service.worker = Worker(service.indexer.apply, service.recall_log.flush, service.upkeep, FAST)
    with structlog.testing.capture_logs() as logs:
        service.worker.start()
        give_up = time.monotonic() + 10
        while not logs and time.monotonic() < give_up:
            time.sleep(0.005)
        encoder.working = True
        while len(service.vectors.states("default")) < 300 and time.monotonic() < give_up:
            time.sleep(0.005)
        service.worker.stop()
    assert len(service.vectors.states("default")) == 300
    assert {entry["error"] for entry in logs} == {"RuntimeError"}
    assert SECRET not in repr(logs)
