"""One short round with real processes: every step is done once, whoever was killed."""

import pytest

from bench import jobs


@pytest.mark.slow
def test_killed_workers_lose_and_double_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAUSE_S", (2.0, 4.0))
    found = jobs._kill(seed=1, jobs=40, kill_s=10.0)
    assert (found["jobs"], found["steps"], sum(found["killed"].values()) > 0) == (40, 120, True)
    assert {name: found[name] for name in ("lost", "doubled", "unfinished", "failed")} == {
        "lost": 0, "doubled": 0, "unfinished": 0, "failed": 0,
    }  # fmt: skip


def test_it_is_as_large_as_is_promised() -> None:
    assert jobs.STEPS * jobs.JOBS == 3000
    assert jobs.SESSIONS * jobs.TURNS == 10_000
