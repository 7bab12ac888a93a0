"""`backup` and `restore`: the operator's, over the whole instance; they open its files themselves (ADR 13)."""

from collections.abc import Callable
from pathlib import Path

import click

from memory import backup as backups
from recalld import __version__
from recalld.bootstrap import Service, erasing_in_restored
from recalld.cli.output import json_option, plain, progress, show, show_json
from recalld.core import log
from recalld.core.clock import SystemClock
from recalld.core.config import Settings, load_settings
from recalld.core.datafolder import DataFolder
from recalld.core.db import Database
from recalld.core.errors import ConfigError


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def backup(path: Path, as_json: bool) -> None:
    """Copy the whole instance into the new folder PATH, while it serves: one consistent state, and the ledger of
    erasures beside it.
    """
    settings = load_settings()
    file = _database_file(settings)
    if not file.exists():
        raise ConfigError(f"data_dir: there is no database at {file}")
    database = Database(f"sqlite:///{file}")
    try:
        database.migrate()
        with progress("copying", None) as done:
            made = backups.make(
                database, settings.data_dir, path, SystemClock().now(), f"recalld {__version__}", _advancing(done)
            )
    finally:
        database.close()
    if as_json:
        show_json({"path": str(made.path), "bytes": made.bytes, "erased_ids": made.erased_ids})
    else:
        show(f"{made.bytes} bytes in {plain(str(made.path))}; the ledger names {made.erased_ids} erased memories")


@click.command()
@click.argument("path", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--ledger",
    "ledger_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A newer ledger of erasures: what it names is erased as well.",
)
@click.option("--replace", is_flag=True, help="Replace the memories that are here.")
@json_option
def restore(path: Path, ledger_file: Path | None, replace: bool, as_json: bool) -> None:
    """Put the backup at PATH in the place of this instance's data, which no server may hold.

    What was erased after the backup was made is erased again: by the backup's own ledger, the one given, and the one
    of the data that is replaced.
    """
    settings = load_settings()
    file = _database_file(settings)
    if file.exists() and not replace:
        raise ConfigError(f"data_dir: there are memories at {file} already; --replace puts the backup in their place")
    with DataFolder(settings.data_dir).alone():
        done = backups.restore(path, file, settings.index_dir, ledger_file, erasing_in_restored(settings))
        log.configure("critical", settings.log_format)
        service = Service(settings)
        try:
            service.erasures.resume(again=True)
        finally:
            service.close()
    if as_json:
        show_json({"memories": done.memories, "erased": done.erased, "made_at": done.made_at})
    else:
        show(f"{done.memories} memories as of {done.made_at}; {done.erased} that were erased since are erased again")
        show("vectors are made anew in the background, by `recalld serve` or `recalld worker`")


def _database_file(settings: Settings) -> Path:
    if settings.database_url is None:
        return settings.sqlite_file
    return Database(settings.database_url).file


def _advancing(done: Callable[[int], None]) -> Callable[[int, int], None]:
    seen = 0

    def told(pages: int, _total: int) -> None:
        nonlocal seen
        done(pages - seen)
        seen = pages

    return told
