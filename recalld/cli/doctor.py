"""`recalld doctor`: what works on this machine, what is missing, and how to get it. It changes nothing in the data.

Each check is a function from the settings to lines; one that fails does not keep the others from being made.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.util import find_spec

import click

from recalld.bootstrap.making import local_weights, make_encoder
from recalld.cli.output import json_option, plain, show, show_json
from recalld.core import access
from recalld.core.addresses import is_loopback
from recalld.core.config import Settings, load_settings, settings_table
from recalld.core.datafolder import DataFolder
from recalld.core.db import Database
from recalld.core.errors import RecalldError
from recalld.models.folder import list_models
from retrieval.token_codes import fingerprint
from retrieval.vector_faiss import SegmentedVectorIndex

DISK_FREE_BYTES_MIN = 500 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `doctor`."""

    name: str
    ok: bool
    detail: str


@click.command()
@click.option("--settings", "settings_only", is_flag=True, help="Print the table of settings instead.")
@json_option
@click.pass_context
def doctor(context: click.Context, settings_only: bool, as_json: bool) -> None:
    """Say what works on this machine, what is missing, and how to get it. Exit code 1 if recalld can not serve."""
    if settings_only:
        if as_json:
            show_json({"items": [_setting(name) for name in Settings.model_fields]})
        else:
            click.echo(settings_table())
        return
    settings = load_settings()
    required, optional = list(_required(settings)), list(_optional(settings))
    if as_json:
        show_json({"required": [asdict(c) for c in required], "optional": [asdict(c) for c in optional]})
    else:
        for check in required:
            show(f"{'[green]ok[/]     ' if check.ok else '[red]broken[/] '} {check.name}: {plain(check.detail)}")
        for check in optional:
            show(f"{'[green]ok[/]     ' if check.ok else '[yellow]missing[/]'} {check.name}: {plain(check.detail)}")
    if not all(check.ok for check in required):
        context.exit(1)


def _required(settings: Settings) -> Iterator[Check]:
    try:
        folder = DataFolder(settings.data_dir)
        holder = folder.holder()
    except RecalldError as error:
        yield Check("data folder", False, error.detail)
        return
    yield Check("data folder", True, str(settings.data_dir))
    free = shutil.disk_usage(settings.data_dir).free
    yield Check("disk", free >= DISK_FREE_BYTES_MIN, f"{free / 1e9:.1f} GB free")
    yield from _database(settings)
    yield from _encoder(settings)
    yield Check("server", True, f"running at {holder.url}" if holder else "not running: `recalld serve`")


def _database(settings: Settings) -> Iterator[Check]:
    keyed = False
    if settings.database_url is None and not settings.sqlite_file.exists():
        yield Check("database", True, "none yet: `recalld serve` makes it")
    else:
        try:
            with closing(Database(settings.database_url or f"sqlite:///{settings.sqlite_file}")) as database:
                wrong = database.quick_check()
                revision, newest = database.revision(), database.newest_revision()
                migrates = "" if revision == newest else f"; `recalld serve` brings it to {newest}"
                yield Check("database", not wrong, "; ".join(wrong) or f"schema {revision or 'empty'}{migrates}")
                if revision is not None:
                    with database.read() as connection:
                        keyed = access.any_key(connection)
        except RecalldError as error:
            yield Check("database", False, error.detail)
    if is_loopback(settings.host) or keyed:
        yield Check("address", True, f"{settings.host}:{settings.port}")
    else:
        need = f"{settings.host} is not loopback: it needs a key: `recalld keys create --namespace NAME`"
        yield Check("address", False, need)


def _encoder(settings: Settings) -> Iterator[Check]:
    try:
        encoder = make_encoder(settings)
        dimensions = len(encoder.encode(["hello"])[0])
    except RecalldError as error:
        yield Check("encoder", False, error.detail)
        return
    yield Check("encoder", True, f"{encoder.name}, {dimensions} dimensions")
    if not settings.index_dir.exists():
        yield Check("index", True, "none yet")
        return
    try:
        index = SegmentedVectorIndex(settings.index_dir, encoder.dimensions, fingerprint(encoder))
        rows = sum(index.statistics(namespace).rows for namespace in index.namespaces())
        yield Check("index", True, f"{rows} vectors")
    except RecalldError as error:
        yield Check("index", False, error.detail)


def _optional(settings: Settings) -> Iterator[Check]:
    missing = [name for name in ("torch", "gguf", "jinja2") if find_spec(name) is None]
    need = f"for chat with a local model: pip install 'recalld[llm]' ({', '.join(missing)} missing)"
    yield Check("local model engine", not missing, need if missing else "torch is installed")
    try:
        if settings.llm == "openai":
            yield Check("language model", bool(settings.llm_url), settings.llm_url or "set RECALLD_LLM_URL")
        else:
            yield Check("language model", True, str(local_weights(settings)))
    except RecalldError as error:
        yield Check("language model", False, error.detail)
    here = [status.name for status in list_models(settings.models_dir) if status.path is not None]
    yield Check("models", bool(here), ", ".join(here) or "none; `recalld models list` says what there is")
    sdk = find_spec("recalld_client") is not None
    yield Check("Python SDK", sdk, "installed" if sdk else "pip install recalld-client")


def _setting(name: str) -> dict[str, object]:
    field = Settings.model_fields[name]
    default = None if field.default_factory is not None else field.default
    return {"name": f"RECALLD_{name.upper()}", "default": default, "meaning": field.description}
