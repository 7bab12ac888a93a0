"""What is put without being asked for: consolidation once writing pauses, and what is done at night."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memory.model import Item, Selection
from recalld.bootstrap import Service
from recalld.core.scope import Scope
from recalld.jobs.model import Job
from recalld.jobs.schedule import ScheduleSettings, is_idle
from tests.conftest import NOW, WHO, SetClock

SETTINGS = ScheduleSettings(idle_s=30, idle_wait_s_max=600)
EVENING = datetime(2026, 3, 14, 2, 0, tzinfo=UTC)


def add(service: Service, *texts: str) -> list[str]:
    with service.write_store() as store:
        items = [Item(text, scope=Scope("ann", None, "s1")) for text in texts]
        return [memory.id for memory in service.memories.add(store, WHO, items)]


def listed(service: Service, task: str = "") -> list[Job]:
    with service.read_work() as work:
        return work.jobs.select("default", 99, tasks=[task] if task else ())


def erase(service: Service) -> Any:
    with service.write_work() as queue:
        queue.jobs.put("default", "retention", {})
    work(service)
    return listed(service, "retention")[0].result


def work(service: Service) -> int:
    service.scheduler().put_what_is_due()
    runner = service.job_runner()
    return sum(1 for _ in iter(runner.advance, 0))


@pytest.mark.parametrize(
    ("oldest_s", "newest_s", "idle"),
    [
        (0, 0, False),
        (29, 29, False),
        (30, 30, True),
        (599, 1, False),
        (600, 1, True),
        (-31, -31, True),
        (5, -29, False),
    ],
)
def test_idle_is_a_pause_or_a_long_wait_or_a_clock_that_was_set_back(oldest_s: int, newest_s: int, idle: bool) -> None:
    oldest, newest = (NOW - timedelta(seconds=each) for each in (oldest_s, newest_s))
    assert is_idle(oldest, newest, NOW, SETTINGS) is idle


def test_what_was_written_is_consolidated_once_writing_pauses(service: Service, clock: SetClock) -> None:
    clock.moment = EVENING
    scheduler = service.scheduler()
    add(service, "first")
    assert scheduler.put_what_is_due() == 0
    clock.advance(seconds=31)
    assert [scheduler.put_what_is_due() for _ in range(2)] == [1, 0]
    [job] = listed(service)
    assert (job.task, job.dedup_key, job.state, job.priority) == ("consolidate", "idle", "queued", -10)
    assert work(service) == 1
    assert (scheduler.put_what_is_due(), listed(service)[0].state) == (0, "succeeded")
    add(service, "second")
    clock.advance(seconds=31)
    assert scheduler.put_what_is_due() == 1


def test_a_dead_consolidation_is_put_again_only_with_something_new(service: Service, clock: SetClock) -> None:
    clock.moment = EVENING
    add(service, "first")
    clock.advance(seconds=31)
    service.scheduler().put_what_is_due()
    with service.write_work() as queue:
        lease = queue.jobs.claim("w", ["consolidate"])
        assert lease is not None
        queue.jobs.fail(lease, "no", permanent=True)
    assert service.scheduler().put_what_is_due() == 0
    add(service, "second")
    clock.advance(seconds=31)
    assert service.scheduler().put_what_is_due() == 1


@pytest.mark.parametrize(("setting", "tasks"), [("off", ["retention"]), ("nightly", ["consolidate", "retention"])])
def test_at_night_once_a_day(
    make_service: Callable[..., Service], clock: SetClock, setting: str, tasks: list[str]
) -> None:
    service = make_service(consolidation=setting)
    clock.moment = EVENING
    add(service, "first")
    clock.advance(minutes=59)
    assert service.scheduler().put_what_is_due() == 0
    for day in (1, 2):
        clock.advance(minutes=1)
        assert work(service) == len(tasks)
        assert service.scheduler().put_what_is_due() == 0
        assert sorted(job.task for job in listed(service)) == sorted(tasks * day)
        clock.advance(hours=23, minutes=59)


def test_what_was_forgotten_longer_ago_than_the_retention_time_is_erased_with_a_receipt(
    service: Service, clock: SetClock
) -> None:
    clock.moment = EVENING
    ids = add(service, *(f"memory {n}" for n in range(30)))
    for number, memory_id in enumerate(ids[:27]):
        with service.write_store() as store:
            service.memories.set_state(store, WHO, memory_id, "forgotten")
        if number == 24:
            clock.advance(days=1)
    assert erase(service) == {"memories": 0, "receipts": []}
    clock.advance(days=29)
    result = erase(service)
    assert (result["memories"], len(result["receipts"])) == (25, 2)
    with service.database.read() as connection:
        receipts = [service.erasures.get(connection, WHO, receipt_id) for receipt_id in result["receipts"]]
    assert [(each.asked, each.state, each.memories) for each in receipts] == [
        ("retention", "succeeded", 20), ("retention", "succeeded", 5),
    ]  # fmt: skip
    with service.read_store() as store:
        left = store.select("default", Selection(states=("active", "forgotten")), clock.now(), 99)
    assert {memory.id for memory in left} == set(ids[25:])
