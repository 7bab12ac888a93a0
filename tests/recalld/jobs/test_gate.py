"""Background work waits for a pause between requests, and never for ever."""

import threading
import time

from recalld.jobs.gate import Gate


def waited_s(gate: Gate) -> float:
    started = time.monotonic()
    gate.give_way()
    return time.monotonic() - started


def test_without_requests_nothing_waits() -> None:
    assert waited_s(Gate(wait_s_max=30.0)) < 1.0


def test_a_request_in_flight_is_waited_for_but_not_for_ever() -> None:
    gate = Gate(pause_s=0.0, wait_s_max=0.2)
    gate.enter()
    assert waited_s(gate) >= 0.2
    gate.leave()
    assert waited_s(gate) < 0.2


def test_it_goes_on_as_soon_as_the_last_request_has_its_pause_behind_it() -> None:
    gate = Gate(pause_s=0.05, wait_s_max=30.0)
    gate.enter()
    gate.enter()
    for after_s in (0.05, 0.1):
        threading.Timer(after_s, gate.leave).start()
    # A little less than both, because the timers run before the clock is read.
    assert 0.12 <= waited_s(gate) < 10.0
