"""Commands for whoever runs recalld: `worker`, `verify`, `reindex`, `migrate`."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from recalld import __version__
from recalld.bootstrap import Service
from recalld.cli.output import json_option, plain, progress, show, show_json
from recalld.core import log
from recalld.core.config import load_settings
from recalld.core.datafolder import DataFolder
from recalld.core.db import Database


@click.command()
@click.option("--once", is_flag=True, help="Apply what waits and do the jobs that are due, then end.")
@json_option
def worker(once: bool, as_json: bool) -> None:
    """Apply the outbox and do jobs in a process of its own, beside servers and other workers.

    SIGTERM ends it after the step at hand.
    """
    if not once:
        _work(as_json)
        return
    with _service(as_json) as service:
        steps = service.worker.do_jobs()
        applied = service.indexer.apply_all()
    if as_json:
        show_json({"applied": applied, "job_steps": steps})
    else:
        show(f"applied {applied}, {steps} steps of jobs")


@click.command()
@json_option
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Compare every index with the database. Exit code 1 on a difference."""
    with _service(as_json) as service, progress("verifying", service.consistency.rows()) as done:
        found = service.consistency.verify(done)
    if as_json:
        show_json({"clean": found.clean, **asdict(found)})
    else:
        for difference in found.differences:
            parts = [f"{n} {list(v)}" for n in ("missing", "stale", "surplus") if (v := getattr(difference, n))]
            show(f"[red]{plain(difference.namespace)}[/] {plain(difference.index)}: {plain(', '.join(parts))}")
        for line in found.database:
            show(f"[red]{plain(line)}[/]")
        outcome = "[green]clean[/]" if found.clean else "[red]differs[/]: run `recalld reindex`"
        show(f"{outcome}: {found.rows} memories in {found.namespaces} namespaces")
    if not found.clean:
        context.exit(1)


@click.command()
@json_option
def reindex(as_json: bool) -> None:
    """Rebuild every index from the database, while the old ones serve. Goes on where it was killed."""
    with _service(as_json) as service, progress("encoding", service.consistency.rows()) as done:
        rows = service.consistency.reindex(done)
    if as_json:
        show_json({"rows": rows})
    else:
        show(f"rebuilt from {rows} memories")


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database's schema to the newest revision."""
    settings = load_settings()
    DataFolder(settings.data_dir)
    database = Database(settings.database_url or f"sqlite:///{settings.sqlite_file}")
    try:
        before = database.revision()
        database.migrate()
        after = database.revision()
    finally:
        database.close()
    if as_json:
        show_json({"before": before, "after": after})
    else:
        show(f"schema {after}" + (" (it was already)" if before == after else f" (was {before or 'empty'})"))


def _work(as_json: bool) -> None:
    ends = {signal.SIGINT, signal.SIGTERM}
    # Blocked before any thread is there to take one; a handler could not touch the locks that the loop waits on.
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with _service(as_json) as service:
        service.worker.start()
        log.get("worker").info("working", data_dir=str(service.settings.data_dir), version=__version__)
        signal.sigwait(ends)


@contextmanager
def _service(as_json: bool) -> Iterator[Service]:
    settings = load_settings()
    log.configure(settings.log_level, "json" if as_json else settings.log_format)
    service = Service(settings)
    try:
        yield service
    finally:
        service.close()
