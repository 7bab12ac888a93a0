"""`recalld consolidate` and `recalld jobs`: the same queue, with and without a server."""

from tests.recalld.cli.conftest import CommandLine

TALK = [f"We planned the trip to Lisbon, part number {n} of it." for n in range(9)]


def test_a_consolidation_is_asked_for_done_and_shown(recalld: CommandLine) -> None:
    for text in TALK:
        recalld.ok("add", text, "--user", "ann", "--session", "s1")
    job = recalld.json("consolidate", "--user", "ann")
    assert (job["task"], job["state"], job["scope"]["user_id"]) == ("consolidate", "queued", "ann")
    assert recalld.ok("jobs", "list").startswith(f"{job['id']} queued")
    assert recalld.json("worker", "--once") == {"applied": 1, "job_steps": 1}
    done = recalld.json("jobs", "show", job["id"])
    assert (done["state"], done["result"]) == ("succeeded", {"units": 1, "written": 1, "removed": 0})
    assert "succeeded" in recalld.ok("jobs", "show", job["id"])
    assert recalld.json("jobs", "list", "--state", "failed", "--state", "queued")["items"] == []
    assert recalld.json("jobs", "list", "--task", "consolidate", "--limit", "1")["items"] == [done]
    assert recalld.json("stats")["jobs"]["succeeded"] == 1


def test_what_disagrees_is_shown_under_a_hit(recalld: CommandLine) -> None:
    for text in ("I met Kyle at a sneaker expo in 2018.", "I've never met Kyle or been to a sneaker expo."):
        recalld.ok("add", text, "--user", "ann", "--role", "user")
    recalld.ok("consolidate", "--user", "ann")
    recalld.ok("worker", "--once")
    met, never = (hit["memory"]["id"] for hit in sorted(
        recalld.json("recall", "Kyle")["results"], key=lambda hit: hit["memory"]["created_at"]
    ))  # fmt: skip
    shown = recalld.ok("recall", "Kyle")
    assert f"disagrees with a newer {never}" in shown
    assert f"disagrees with an older {met}" in shown


def test_a_job_is_cancelled_and_retried(recalld: CommandLine) -> None:
    job_id = recalld.json("consolidate")["id"]
    assert recalld.error("jobs", "retry", job_id).startswith("only a failed or cancelled job can be retried")
    assert recalld.ok("jobs", "cancel", job_id).startswith(f"{job_id} cancelled")
    assert recalld.json("jobs", "retry", job_id)["state"] == "queued"


def test_an_unknown_job_and_a_wrong_state_are_one_line(recalld: CommandLine) -> None:
    assert recalld.error("jobs", "show", "job_x") == "no job has this id"
    assert recalld.error("jobs", "cancel", "a b?c") == "no job has this id"
    assert "state" in recalld.error("jobs", "list", "--state", "asleep")
