"""Commands for whoever runs recalld: `serve`, `worker`, `migrate`, `doctor`, `verify`, `reindex`."""

import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec

import click
import uvicorn

from api.app import create_app
from api.limits import is_loopback
from recalld import __version__
from recalld.bootstrap import Service
from recalld.cli.output import json_option, plain, progress, show, show_json
from recalld.core import access, log
from recalld.core.config import Settings, load_settings, settings_table
from recalld.core.datafolder import DataFolder
from recalld.core.db import Database
from recalld.core.errors import ConfigError, RecalldError
from recalld.models.folder import list_models, path_of

DISK_FREE_BYTES_MIN = 500 * 1024 * 1024


@click.command()
@click.option("--host", help="Address to listen on. Another than loopback needs a key.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: a free one.")
@json_option
def serve(host: str | None, port: int | None, as_json: bool) -> None:
    """Run the daemon."""
    settings = load_settings(host=host, port=port)
    log.configure(settings.log_level, "json" if as_json else settings.log_format)
    service = Service(settings)
    try:
        _check_exposure(service)
        listener = _listen(settings)
        bound = listener.getsockname()[1]
        shown_host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{shown_host}:{bound}"
        service.encoder.encode(["warm"])
        reach = url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
        if not service.folder.hold(reach):
            log.get("serve").warning("folder_shared", detail="another server holds this data folder as well")
        log.get("serve").info("serving", url=url, data_dir=str(settings.data_dir), version=__version__)
        config = uvicorn.Config(
            create_app(service), log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=10
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        service.close()


@click.command()
@click.option("--once", is_flag=True, help="Apply what waits, then end.")
@json_option
def worker(once: bool, as_json: bool) -> None:
    """Apply the outbox in a process of its own, beside any number of servers and workers."""
    settings = load_settings()
    log.configure(settings.log_level, "json" if as_json else settings.log_format)
    service = Service(settings)
    try:
        if once:
            applied = service.indexer.apply_all()
            if as_json:
                show_json({"applied": applied})
            else:
                show(f"applied {applied}")
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: service.worker.request_stop())
        log.get("worker").info("working", data_dir=str(settings.data_dir), version=__version__)
        service.worker.run()
    finally:
        service.close()


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database's schema to the newest revision."""
    settings = load_settings()
    DataFolder(settings.data_dir)
    database = Database(settings.database_url or f"sqlite:///{settings.sqlite_file}")
    before = database.revision()
    database.migrate()
    after = database.revision()
    database.close()
    if as_json:
        show_json({"before": before, "after": after})
    else:
        show(f"schema {after}" + (" (it was already)" if before == after else f" (was {before or 'empty'})"))


@click.command()
@json_option
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Compare every index with SQL. Exit code 1 on a difference."""
    with _service() as service, progress("verifying", service.consistency.rows()) as done:
        found = service.consistency.verify(done)
    if as_json:
        show_json({"clean": found.clean, **asdict(found)})
    else:
        for difference in found.differences:
            parts = [f"{n} {list(v)}" for n in ("missing", "stale", "surplus") if (v := getattr(difference, n))]
            show(f"[red]{plain(difference.namespace)}[/] {plain(difference.index)}: {', '.join(parts)}")
        for line in found.database:
            show(f"[red]{plain(line)}[/]")
        outcome = "[green]clean[/]" if found.clean else "[red]differs[/]: run `recalld reindex`"
        show(f"{outcome}: {found.rows} memories in {found.namespaces} namespaces")
    if not found.clean:
        context.exit(1)


@click.command()
@json_option
def reindex(as_json: bool) -> None:
    """Rebuild every index from SQL, encoding again, while the old ones serve. Goes on where it was killed."""
    with _service() as service, progress("encoding", service.consistency.rows()) as done:
        rows = service.consistency.reindex(done)
    if as_json:
        show_json({"rows": rows})
    else:
        show(f"rebuilt from {rows} memories")


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `doctor`."""

    name: str
    ok: bool
    detail: str


@click.command()
@click.option("--settings", "settings_only", is_flag=True, help="Print the settings table instead.")
@json_option
@click.pass_context
def doctor(context: click.Context, settings_only: bool, as_json: bool) -> None:
    """Say what works on this machine, what is missing, and how to get it. Exit code 1 if recalld can not serve."""
    if settings_only:
        click.echo(settings_table())
        return
    settings = load_settings()
    required, optional = _required(settings), _optional(settings)
    if as_json:
        show_json({"required": [asdict(c) for c in required], "optional": [asdict(c) for c in optional]})
    else:
        for check in required:
            show(f"{'[green]ok[/]     ' if check.ok else '[red]broken[/] '} {check.name}: {plain(check.detail)}")
        for check in optional:
            show(f"{'[green]ok[/]     ' if check.ok else '[yellow]missing[/]'} {check.name}: {plain(check.detail)}")
    if not all(check.ok for check in required):
        context.exit(1)


def _required(settings: Settings) -> list[Check]:
    try:
        folder = DataFolder(settings.data_dir)
    except ConfigError as error:
        return [Check("data folder", False, error.detail)]
    free = shutil.disk_usage(settings.data_dir).free
    checks = [
        Check("data folder", True, str(settings.data_dir)),
        Check("disk", free >= DISK_FREE_BYTES_MIN, f"{free / 1e9:.1f} GB free"),
    ]
    try:
        database = Database(settings.database_url or f"sqlite:///{settings.sqlite_file}")
        revision, newest = database.revision(), database.newest_revision()
        wrong = database.quick_check()
        detail = f"schema {revision or 'empty'}" + (
            "" if revision == newest else f"; `recalld serve` brings it to {newest}"
        )
        checks.append(Check("database", not wrong, "; ".join(wrong) or detail))
        with_keys = revision is not None and _any_key(database)
        database.close()
    except RecalldError as error:
        return [*checks, Check("database", False, error.detail)]
    exposed = not is_loopback(settings.host) and not with_keys
    keyed = "needs a key: `recalld keys create --namespace NAME`" if exposed else f"{settings.host}:{settings.port}"
    checks.append(Check("address", not exposed, keyed))
    holder = folder.holder()
    checks.append(Check("server", True, f"running at {holder.url}" if holder else "not running: `recalld serve`"))
    try:
        with _service() as service:
            vector = service.encoder.encode(["hello"])[0]
            checks.append(Check("encoder", True, f"{service.encoder.name}, {len(vector)} dimensions"))
            rows = service.vectors.statistics(access.DEFAULT_NAMESPACE).rows
            checks.append(Check("index", True, f"{rows} vectors in namespace {access.DEFAULT_NAMESPACE}"))
    except RecalldError as error:
        checks.append(Check("encoder and index", False, error.detail))
    return checks


def _optional(settings: Settings) -> list[Check]:
    torch = find_spec("torch") is not None and find_spec("gguf") is not None
    checks = [
        Check("local model engine", torch, "torch is installed" if torch else "for chat: pip install 'recalld[llm]'"),
    ]
    if settings.llm == "openai":
        checks.append(Check("language model", bool(settings.llm_url), settings.llm_url or "set RECALLD_LLM_URL"))
    elif settings.llm != "none":
        try:
            checks.append(Check("language model", True, str(path_of(settings.models_dir, settings.llm))))
        except RecalldError as error:
            checks.append(Check("language model", False, error.detail))
    here = [status.name for status in list_models(settings.models_dir) if status.path is not None]
    checks.append(Check("models", bool(here), ", ".join(here) or "none"))
    sdk = find_spec("recalld_client") is not None
    checks.append(Check("Python SDK", sdk, "installed" if sdk else "pip install recalld-client"))
    return checks


def _any_key(database: Database) -> bool:
    with database.read() as connection:
        return access.any_key(connection)


def _check_exposure(service: Service) -> None:
    if not is_loopback(service.settings.host) and not _any_key(service.database):
        raise ConfigError(
            f"host: {service.settings.host} is not loopback, and there is no key:"
            " make one first with `recalld keys create --namespace NAME`"
        )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        reason = error.strerror or "it is in use"
        raise ConfigError(f"port: {settings.host}:{settings.port} can not be listened on: {reason}") from None
    listener.listen(512)
    return listener


@contextmanager
def _service() -> Iterator[Service]:
    service = Service(load_settings())
    try:
        yield service
    finally:
        service.close()


COMMANDS = (serve, worker, migrate, verify, reindex, doctor)
