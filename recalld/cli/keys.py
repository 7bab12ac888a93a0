"""`recalld keys`: make, list and revoke API keys. They work on the database itself, beside a running server or
without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from recalld.cli.output import json_option, plain, show, show_json
from recalld.core import access
from recalld.core.clock import SystemClock
from recalld.core.config import load_settings
from recalld.core.datafolder import DataFolder
from recalld.core.db import Database
from recalld.core.errors import InvalidInput
from recalld.core.ids import UlidSource
from recalld.core.scope import SCOPE_FIELDS, Scope

_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@click.group()
def keys() -> None:
    """Create, list and revoke API keys.

    The first one ends local mode: from then on every request needs one.
    """


@keys.command()
@click.option("--namespace", required=True, help="The key's namespace; made if it is not there.")
@click.option("--user-id", help="Bind the key to this user.")
@click.option("--agent-id", help="Bind the key to this agent.")
@click.option("--session-id", help="Bind the key to this session.")
@click.option("--read-only", is_flag=True, help="The key can not write.")
@click.option("--expires", help="When: RFC 3339 with a zone, or from now: 12h, 30d, 8w.")
@json_option
def create(
    namespace: str,
    user_id: str | None,
    agent_id: str | None,
    session_id: str | None,
    read_only: bool,
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a key. It is shown only this once."""
    clock = SystemClock()
    expires_at = None if expires is None else _moment(expires, clock.now())
    for name, value in (("user_id", user_id), ("agent_id", agent_id), ("session_id", session_id)):
        if value is not None and not 1 <= len(value) <= 256:
            raise InvalidInput.of(name, "1 to 256 characters", 256)
    with _database() as database, database.write() as connection:
        bound = Scope(user_id, agent_id, session_id)
        info, secret = access.create_key(connection, namespace, clock, UlidSource(clock), bound, read_only, expires_at)
    if as_json:
        show_json(_shown(info) | {"key": secret})
    else:
        click.echo(secret)
        show(f"[dim]{info.id}, namespace {namespace}; keep it: it is not shown again[/]")


@keys.command("list")
@click.option("--namespace", help="Only this namespace.")
@json_option
def list_(namespace: str | None, as_json: bool) -> None:
    """List the keys, without their secrets."""
    with _database() as database, database.read() as connection:
        found = access.list_keys(connection, namespace)
    if as_json:
        show_json({"items": [_shown(info) for info in found]})
        return
    for info in found:
        marks = [f"{name}={value}" for name, value in info.scope.given().items()]
        marks += ["read-only"] if info.read_only else []
        marks += [f"expires {info.expires_at:%Y-%m-%d %H:%M} UTC"] if info.expires_at is not None else []
        marks += ["revoked"] if info.revoked_at is not None else []
        show(f"{info.id}  {info.prefix}...  {info.namespace}  {plain('  '.join(marks))}".rstrip())


@keys.command()
@click.argument("key")
@json_option
def revoke(key: str, as_json: bool) -> None:
    """Revoke KEY, by its id or prefix. A running server refuses it from the next request on."""
    with _database() as database, database.write() as connection:
        info = access.revoke_key(connection, key, SystemClock())
    if as_json:
        show_json(_shown(info))
    else:
        show(f"revoked {info.id}")


@contextmanager
def _database() -> Iterator[Database]:
    settings = load_settings()
    DataFolder(settings.data_dir)
    database = Database(settings.database_url or f"sqlite:///{settings.sqlite_file}")
    try:
        database.migrate()
        yield database
    finally:
        database.close()


def _moment(text: str, now: datetime) -> datetime:
    """`30d` from now, or a time with a zone."""
    wrong = InvalidInput.of("expires", "RFC 3339 with a zone, or a number and h, d or w (30d)")
    try:
        if text[-1:] in _UNITS and text[:-1].isdigit():
            moment = now + int(text[:-1]) * _UNITS[text[-1]]
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise wrong
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong from None
    if moment <= now:
        raise InvalidInput.of("expires", "must be in the future")
    return moment


def _shown(info: access.KeyInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "namespace": info.namespace,
        "prefix": info.prefix,
        **dict(zip(SCOPE_FIELDS, info.scope.values(), strict=True)),
        "read_only": info.read_only,
        "created_at": info.created_at,
        "expires_at": info.expires_at,
        "revoked_at": info.revoked_at,
    }
