"""Keys, namespaces and idempotency: who may do what, and what was already done."""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from recalld.core.access import (
    DEFAULT_NAMESPACE,
    KeyInfo,
    Principal,
    StoredReply,
    any_key,
    api_keys,
    authenticate,
    check_namespace,
    create_key,
    drop_old_replies,
    ensure_namespace,
    find_reply,
    forget_replies,
    idempotency_keys,
    keep_reply,
    list_keys,
    list_namespaces,
    revoke_key,
)
from recalld.core.db import Connection, Database
from recalld.core.errors import Conflict, Gone, InvalidInput, NotFound, Unauthorized
from recalld.core.scope import Scope
from tests.conftest import NOW, WHO, SerialIds, SetClock

MakeKey = Callable[..., tuple[KeyInfo, str]]


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as connection:
        yield connection


@pytest.fixture
def key(connection: Connection, ids: SerialIds) -> MakeKey:
    """Makes a key: its record and its text."""

    def make(namespace: str = "work", clock: SetClock | None = None, **more: Any) -> tuple[KeyInfo, str]:
        return create_key(connection, namespace, clock or SetClock(), ids, **more)

    return make


def who(connection: Connection, secret: str, clock: SetClock | None = None) -> Principal:
    return authenticate(connection, f"Bearer {secret}", clock or SetClock())


# --- namespaces


@pytest.mark.parametrize("name", ["default", "a", "A1", "team.one_two-3", "0", "x" * 64])
def test_a_namespace_has_a_plain_name(name: str) -> None:
    assert check_namespace(name) == name


@pytest.mark.parametrize("name", ["", ".", "-a", "_a", "a b", "a/b", "é", "x" * 65, "a\n", "a\0", "../x"])
def test_another_name_is_refused_by_limit(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_namespace(name)
    assert [(error.field, error.limit) for error in refused.value.fields] == [("namespace", 64)]


def test_a_namespace_is_made_once_and_with_its_first_key(connection: Connection, key: MakeKey) -> None:
    ensure_namespace(connection, "b", SetClock())
    ensure_namespace(connection, "b", SetClock(NOW + timedelta(days=1)))
    key("a")
    key("a")
    assert list_namespaces(connection) == ["a", "b"]
    with pytest.raises(InvalidInput):
        key("no/slash")
    assert list_namespaces(connection) == ["a", "b"]


# --- keys


def test_a_key_is_shown_once_and_only_its_digest_is_kept(connection: Connection, key: MakeKey) -> None:
    info, secret = key()
    assert re.fullmatch(r"rk_[0-9a-f]{8}_[\w-]{43}", secret)
    assert secret.startswith(f"{info.prefix}_")
    row = connection.execute(select(api_keys)).one()
    assert row.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert secret.removeprefix(info.prefix) not in repr(row)
    assert secret.removeprefix(info.prefix) not in repr(list_keys(connection))
    assert len({key()[1] for _ in range(50)}) == 50


def test_a_key_names_its_namespace_scope_and_rights(connection: Connection, key: MakeKey) -> None:
    plain, secret = key()
    assert who(connection, secret) == Principal("work", Scope(), False, plain.id)
    bound, secret = key("other", bound=Scope("ann", session_id="s"), read_only=True)
    assert who(connection, secret) == Principal("other", Scope("ann", None, "s"), True, bound.id)
    assert who(connection, secret).name == bound.id


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "BEARER   {}  "])
def test_the_scheme_is_read_as_http_says(connection: Connection, key: MakeKey, form: str) -> None:
    info, secret = key()
    assert authenticate(connection, form.format(secret), SetClock()).key_id == info.id


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: secret[:-1],
        lambda secret: secret + "x",
        lambda secret: secret[:12] + "x" + secret[13:],
        lambda secret: secret[:11],
        lambda secret: secret.upper(),
        lambda secret: "rk_00000000_" + secret[12:],
        lambda secret: "é" + secret,
        lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
    ],
)
def test_another_secret_is_refused_without_saying_why(connection: Connection, key: MakeKey, change: Any) -> None:
    _, secret = key()
    with pytest.raises(Unauthorized, match=r"^this key is unknown, expired or revoked$"):
        who(connection, change(secret))


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "rk_12345678_secret"])
def test_without_a_key_the_way_to_one_is_told(connection: Connection, header: str | None) -> None:
    with pytest.raises(Unauthorized, match="recalld keys create"):
        authenticate(connection, header, SetClock())


def test_a_key_ends_at_its_time(connection: Connection, key: MakeKey) -> None:
    _, secret = key(expires_at=NOW + timedelta(hours=1))
    assert who(connection, secret, SetClock(NOW + timedelta(minutes=59))).namespace == "work"
    for late in (60, 61):
        with pytest.raises(Unauthorized, match="expired"):
            who(connection, secret, SetClock(NOW + timedelta(minutes=late)))


@pytest.mark.parametrize("named_by", ["id", "prefix"])
def test_a_revoked_key_is_refused_and_stays_listed(connection: Connection, key: MakeKey, named_by: str) -> None:
    info, secret = key()
    _, other = key()
    later = SetClock(NOW + timedelta(hours=1))
    revoked = revoke_key(connection, getattr(info, named_by), later)
    assert revoked.revoked_at == NOW + timedelta(hours=1)
    assert revoke_key(connection, info.id, SetClock(NOW + timedelta(hours=9))) == revoked
    with pytest.raises(Unauthorized):
        who(connection, secret)
    assert who(connection, other).namespace == "work"
    assert revoked in list_keys(connection, "work")


def test_a_key_that_is_not_there_can_not_be_revoked(connection: Connection, key: MakeKey) -> None:
    info, _ = key()
    for name in ("", "rk_", info.prefix[:-1], "key_nobody"):
        with pytest.raises(NotFound):
            revoke_key(connection, name, SetClock())
    assert list_keys(connection)[0].revoked_at is None


def test_keys_are_listed_oldest_first_by_namespace(connection: Connection, key: MakeKey) -> None:
    clock = SetClock(step=timedelta(seconds=1))
    made = [key(namespace, clock=clock)[0] for namespace in ("b", "a", "b")]
    assert list_keys(connection) == made
    assert list_keys(connection, "b") == [made[0], made[2]]
    assert list_keys(connection, "nobody") == []


def test_local_mode_ends_with_the_first_key_for_good(connection: Connection, key: MakeKey) -> None:
    ensure_namespace(connection, DEFAULT_NAMESPACE, SetClock())
    assert any_key(connection) is False
    info, _ = key(expires_at=NOW)
    assert any_key(connection) is True
    revoke_key(connection, info.id, SetClock())
    assert any_key(connection) is True


# --- idempotency

REPLY = StoredReply(201, {"items": [{"id": "mem_a", "text": "I live in Porto."}]})


def find(connection: Connection, digest: str = "d", who: Principal = WHO, hours: float = 0) -> StoredReply | None:
    return find_reply(connection, who, "k", digest, SetClock(NOW + timedelta(hours=hours)), 24)


def keep(connection: Connection, digest: str = "d", who: Principal = WHO, **more: Any) -> None:
    ids = more.get("ids", ["mem_a"])
    keep_reply(connection, who, more.get("name", "k"), digest, REPLY, ids, SetClock(more.get("at", NOW)))


def test_a_reply_is_found_again_for_a_day(connection: Connection) -> None:
    assert find(connection) is None
    keep(connection)
    assert find(connection) == find(connection, hours=23.99) == REPLY
    assert find(connection, hours=24) is None


def test_the_same_key_for_another_request_is_a_conflict_until_its_time_has_run_out(connection: Connection) -> None:
    keep(connection)
    with pytest.raises(Conflict, match="Idempotency-Key"):
        find(connection, "another")
    assert find(connection, "another", hours=25) is None
    keep(connection, "another", at=NOW + timedelta(hours=25))
    assert find(connection, "another", hours=25) == REPLY


def test_a_key_belongs_to_who_sent_it(connection: Connection) -> None:
    keep(connection)
    others = [Principal("other"), Principal("default", key_id="key_1"), Principal("default", key_id="key_2")]
    assert [find(connection, who=other) for other in others] == [None] * 3
    keep(connection, "b", others[1])
    assert find(connection, "b", others[1]) == REPLY
    assert find(connection) == REPLY


def test_what_was_erased_is_gone_and_its_text_with_it(connection: Connection) -> None:
    keep(connection, ids=["mem_a", "mem_b"])
    keep(connection, name="other", ids=["mem_c"])
    assert forget_replies(connection, "elsewhere", ["mem_a"]) == 0
    assert forget_replies(connection, "default", ["mem_a", "mem_b", "mem_x"]) == 1
    assert forget_replies(connection, "default", ["mem_a"]) == 0
    for digest in ("d", "another"):
        with pytest.raises(Gone):
            find(connection, digest)
    told = connection.execute(select(idempotency_keys).where(idempotency_keys.c.key == "k")).one()
    assert (told.body, told.memory_ids, told.request_digest) == (None, [], None)
    kept = connection.execute(select(idempotency_keys.c.body).where(idempotency_keys.c.key == "other")).scalar_one()
    assert kept == REPLY.body
    assert find(connection, hours=24) is None


def test_a_reply_without_memories_is_never_emptied(connection: Connection) -> None:
    keep(connection, ids=[])
    assert forget_replies(connection, "default", ["mem_a"]) == forget_replies(connection, "default", []) == 0
    assert find(connection) == REPLY


def test_an_erasure_of_many_memories_empties_their_replies(connection: Connection) -> None:
    keep(connection, ids=[f"mem_{n}" for n in range(1000)])
    assert forget_replies(connection, "default", [f"mem_{n}" for n in range(40_000)]) == 1


def test_old_replies_are_dropped(connection: Connection) -> None:
    keep(connection)
    keep(connection, name="later", at=NOW + timedelta(hours=1))
    late = SetClock(NOW + timedelta(hours=24))
    assert [drop_old_replies(connection, late, 24) for _ in range(2)] == [1, 0]
    assert list(connection.scalars(select(idempotency_keys.c.key))) == ["later"]


def test_the_file_holds_no_secret(database: Database, ids: SerialIds) -> None:
    with database.write() as connection:
        info, secret = create_key(connection, "work", SetClock(), ids)
    database.close()
    assert info.prefix.encode() in database.file.read_bytes()
    assert secret.encode() not in database.file.read_bytes()
