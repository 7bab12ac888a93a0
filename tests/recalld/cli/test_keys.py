"""`recalld keys`: the secret is shown once, and only its digest is kept."""

import hashlib
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.recalld.cli.conftest import CommandLine

FIELDS = [
    *("id", "namespace", "prefix", "user_id", "agent_id", "session_id", "read_only", "created_at", "expires_at"),
    "revoked_at",
]


def rows(recalld: CommandLine) -> list[dict[str, object]]:
    with closing(sqlite3.connect(recalld.folder / "data" / "recalld.db")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM api_keys ORDER BY id")]


def test_the_secret_is_shown_once_and_only_its_digest_is_kept(recalld: CommandLine) -> None:
    made = recalld.json("keys", "create", "--namespace", "acme")
    assert list(made) == [*FIELDS, "key"]
    secret = made["key"]
    assert re.fullmatch(r"rk_[0-9a-f]{8}_[\w-]{43}", secret)
    [row] = rows(recalld)
    assert row["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    listed = recalld.json("keys", "list")["items"]
    assert [list(item) for item in listed] == [FIELDS]
    for path in (recalld.folder / "data").iterdir():
        assert secret.encode() not in path.read_bytes(), path
    assert secret not in recalld.ok("keys", "list")


def test_a_key_has_the_bounds_that_it_is_given(recalld: CommandLine) -> None:
    bound = ["--user-id", "alice", "--agent-id", "a1", "--session-id", "s1", "--read-only"]
    made = recalld.json("keys", "create", "--namespace", "acme", *bound)
    expected = {"user_id": "alice", "agent_id": "a1", "session_id": "s1", "read_only": True, "expires_at": None}
    assert {name: made[name] for name in expected} == expected
    line = recalld.ok("keys", "list").strip()
    assert line == (f"{made['id']}  {made['prefix']}...  acme  user_id=alice  agent_id=a1  session_id=s1  read-only")


def test_the_plain_output_of_create_is_the_key_first(recalld: CommandLine) -> None:
    lines = recalld.ok("keys", "create", "--namespace", "acme").splitlines()
    assert re.fullmatch(r"rk_[0-9a-f]{8}_[\w-]{43}", lines[0])
    assert re.fullmatch(r"key_\w{26}, namespace acme; keep it: it is not shown again", lines[1])


def test_list_is_of_one_namespace_or_of_all_oldest_first(recalld: CommandLine) -> None:
    made = [recalld.json("keys", "create", "--namespace", name)["id"] for name in ("acme", "other", "acme")]
    assert [item["id"] for item in recalld.json("keys", "list")["items"]] == made
    assert [item["id"] for item in recalld.json("keys", "list", "--namespace", "acme")["items"]] == made[::2]
    assert recalld.json("keys", "list", "--namespace", "nobody") == {"items": []}


def test_revoke_takes_an_id_or_a_prefix_and_a_second_time_changes_nothing(recalld: CommandLine) -> None:
    first, second = (recalld.json("keys", "create", "--namespace", "acme") for _ in range(2))
    gone = recalld.json("keys", "revoke", first["id"])
    assert (list(gone), gone["id"]) == (FIELDS, first["id"])
    assert recalld.json("keys", "revoke", first["id"])["revoked_at"] == gone["revoked_at"]
    assert recalld.ok("keys", "revoke", second["prefix"]) == f"revoked {second['id']}\n"
    assert [line.rsplit("  ", 1)[1] for line in recalld.ok("keys", "list").splitlines()] == ["revoked", "revoked"]


@pytest.mark.parametrize("key", ["key_00000000000000000000000000", "", "rk_", "' OR 1=1 --"])
def test_revoke_names_no_key_that_is_not_there(recalld: CommandLine, key: str) -> None:
    recalld.ok("keys", "create", "--namespace", "acme")
    assert recalld.error("keys", "revoke", key) == "no key has this id or prefix"


@pytest.mark.parametrize(
    ("given", "after"), [("12h", timedelta(hours=12)), ("30d", timedelta(days=30)), ("8w", timedelta(weeks=8))]
)
def test_expires_counts_from_now(recalld: CommandLine, given: str, after: timedelta) -> None:
    before = datetime.now(UTC)
    made = recalld.json("keys", "create", "--namespace", "acme", "--expires", given)
    assert before + after <= datetime.fromisoformat(made["expires_at"]) <= datetime.now(UTC) + after
    assert f"expires {made['expires_at'][:10]}" in recalld.ok("keys", "list")


def test_expires_takes_a_time_with_a_zone(recalld: CommandLine) -> None:
    made = recalld.json("keys", "create", "--namespace", "acme", "--expires", "2999-01-01T00:00:00+01:00")
    assert made["expires_at"] == "2998-12-31T23:00:00+00:00"


@pytest.mark.parametrize(
    "given",
    ["", "d", "30", "30x", "-1d", "0d", "²d", "9" * 5000 + "d", "999999999w", "2020-01-01T00:00:00Z", "2999-01-01"],
)
def test_expires_must_be_a_time_to_come(recalld: CommandLine, given: str) -> None:
    assert recalld.error("keys", "create", "--namespace", "acme", "--expires", given).startswith("expires: ")
    assert recalld.json("keys", "list") == {"items": []}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--namespace", ""], "namespace: "),
        (["--namespace", "a/b"], "namespace: "),
        (["--namespace", "a" * 65], "namespace: "),
        (["--namespace", "acme", "--user-id", ""], "user_id: "),
        (["--namespace", "acme", "--session-id", "x" * 257], "session_id: "),
    ],
)
def test_create_names_what_is_wrong_and_makes_nothing(recalld: CommandLine, arguments: list[str], says: str) -> None:
    assert recalld.error("keys", "create", *arguments).startswith(says)
    assert recalld.json("keys", "list") == {"items": []}
