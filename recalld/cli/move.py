"""Commands that take memories away or elsewhere: `erase`, `export`, `import`."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import click

from recalld.cli.data import scope_options, strict_json
from recalld.cli.output import json_option, plain, progress, show, show_json
from recalld.cli.transport import Api, open_api
from recalld.core.config import load_settings
from recalld.core.scope import SCOPE_FIELDS

CHUNK_BYTES = 1 << 20
POLL_S = 0.5


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--filter", "filter", metavar="JSON", help="All memories for which it holds.")
@click.option("--everything", is_flag=True, help="All memories of the namespace, or of the key's scope.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@scope_options
@json_option
def erase(
    ids: tuple[str, ...],
    filter: str | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
    namespace: str | None,
    as_json: bool,
    **given: str | None,
) -> None:
    """Erase memories, what was derived from them and every trace of both, and look for what is left.

    By IDS, by a scope, by a filter, or --everything: exactly one. It can not be undone; on a terminal it says how many
    there are and asks. --everything without a terminal needs --yes.
    """
    asked = _asked(ids, {name: value for name, value in given.items() if value is not None}, filter, everything)
    with open_api(load_settings(), namespace) as api:
        if dry_run or not yes:
            counted = api.call("POST", "/v1/erasures", {**asked, "dry_run": True})
            if dry_run:
                _tell(counted, as_json)
                return
            _confirm(counted["memories"], everything)
        receipt = _wait(api, api.call("POST", "/v1/erasures", asked))
    _tell(receipt, as_json)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--vectors", is_flag=True, help="With vectors and token codes: importing then encodes nothing.")
@scope_options
@json_option
def export(file: Path | None, vectors: bool, namespace: str | None, as_json: bool, **given: str | None) -> None:
    """Write memories with their history into FILE (a new one), or to standard output."""
    scope = {name: value for name, value in given.items() if value is not None}
    path = f"/v1/export?{urlencode({**scope, 'vectors': str(vectors).lower()})}"
    size = 0
    with open_api(load_settings(), namespace) as api:
        if file is None:
            for chunk in api.download(path):
                sys.stdout.buffer.write(chunk)
            return
        with file.open("xb") as out, progress("exporting", None) as done:
            for chunk in api.download(path):
                size += out.write(chunk)
                done(len(chunk))
    if as_json:
        show_json({"file": str(file), "bytes": size})
    else:
        show(f"{size} bytes in {plain(str(file))}")


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--restore-erased", is_flag=True, help="Bring back what was erased here as well.")
@click.option("--namespace", help="Namespace, where no server runs. [default: default]")
@json_option
def import_(file: Path, restore_erased: bool, namespace: str | None, as_json: bool) -> None:
    """Keep the memories of an exported FILE, under their own ids: all of them, or none. Again, it changes nothing."""
    path = f"/v1/import?{urlencode({'restore_erased': str(restore_erased).lower()})}"
    bar = progress("importing", file.stat().st_size)
    with open_api(load_settings(), namespace) as api, bar as done, file.open("rb") as source:
        told = api.upload(path, _chunks(source, done))
    if as_json:
        show_json(told)
        return
    counts = {name: told[name] for name in ("added", "advanced", "unchanged", "conflicts", "erased", "changes")}
    show(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing is in it")


def _asked(ids: tuple[str, ...], scope: dict[str, str], filter: str | None, everything: bool) -> dict[str, Any]:
    """The request's body."""
    found: dict[str, Any] = {}
    if ids:
        found["ids"] = list(ids)
    if scope:
        found["scope"] = {name: scope[name] for name in SCOPE_FIELDS if name in scope}
    if filter is not None:
        found["filter"] = strict_json(filter, "filter")
    if everything:
        found["all"] = True
    if len(found) != 1:
        raise click.UsageError("give exactly one of IDS, a scope (--user, --agent, --session), --filter, --everything")
    return found


def _confirm(memories: int, everything: bool) -> None:
    if not sys.stdin.isatty():
        if everything:
            raise click.UsageError("--everything needs --yes where nobody can be asked")
        return
    if not click.confirm(f"Erase {memories} memories for good?", err=True):
        raise click.Abort


def _wait(api: Api, receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt once it is no longer running, or nobody here would carry it on."""
    ids = receipt["memory_ids"]
    with progress("erasing", receipt["memories"]) as done:
        seen = 0
        while receipt["state"] == "running" and receipt["rescan"] is None:
            time.sleep(POLL_S)
            receipt = api.call("GET", f"/v1/erasures/{receipt['id']}")
            removed = receipt["removed"].get("memories", 0)
            done(removed - seen)
            seen = removed
    return {**receipt, "memory_ids": ids}


def _tell(receipt: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(receipt)
        return
    removed = ", ".join(f"{count} {name}" for name, count in receipt["removed"].items() if count)
    show(f"{receipt['state']}: {removed or 'nothing'}")
    rescan = receipt["rescan"]
    if rescan is not None:
        places = ", ".join(map(plain, rescan["places"]))
        left = "none is left" if rescan["clean"] else f"[red]{rescan['found']} are left[/], in {places}"
        show(f"looked for {rescan['windows']} pieces of text in {rescan['files']} files: {left}")
    if receipt["id"] is not None:
        show(f"[dim]{receipt['id']} {receipt['digest']}[/]")


def _chunks(source: IO[bytes], done: Any) -> Iterator[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk
        done(len(chunk))
