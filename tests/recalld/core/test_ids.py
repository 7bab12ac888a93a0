"""Ids: a prefix and a ULID that sorts by the clock it was made from."""

import re
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from ulid import ULID

from recalld.core.clock import SystemClock
from recalld.core.ids import Prefix, UlidSource, is_id, pattern
from tests.conftest import NOW, SerialIds, SetClock


@pytest.mark.parametrize("prefix", get_args(Prefix))
def test_an_id_has_its_prefix_and_the_time(prefix: Prefix) -> None:
    made = UlidSource(SetClock()).new(prefix)
    assert re.match(pattern(prefix), made)
    assert is_id(prefix, made)
    assert ULID.from_str(made.removeprefix(f"{prefix}_")).datetime == NOW
    assert not is_id("mem" if prefix != "mem" else "job", made)


def test_ids_are_unique_and_sort_by_time() -> None:
    source = UlidSource(SetClock(step=timedelta(milliseconds=1)))
    made = [source.new("mem") for _ in range(500)]
    assert made == sorted(set(made))
    same = UlidSource(SetClock())
    assert len({same.new("mem") for _ in range(2000)}) == 2000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mem_",
        "mem_1",
        "mem_" + "0" * 27,
        "mem_" + "8" + "0" * 25,
        "mem_" + "0" * 25 + "I",
        "mem_" + "0" * 26 + "\n",
    ],
)
def test_what_is_no_id_is_told(text: str) -> None:
    assert not is_id("mem", text)
    assert is_id("mem", "mem_" + "0" * 26)


def test_ids_of_tests_have_the_form_and_count_up() -> None:
    ids = SerialIds()
    made = [ids.new("mem") for _ in range(3)]
    assert made == sorted(made)
    assert all(is_id("mem", one) for one in made)


def test_the_machines_clock_is_aware_and_in_utc() -> None:
    before = datetime.now(UTC)
    told = SystemClock().now()
    assert told.utcoffset() == timedelta(0)
    assert before <= told <= datetime.now(UTC)
