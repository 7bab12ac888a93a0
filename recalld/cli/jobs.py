"""Commands on background work: `consolidate`, and `jobs list|show|cancel|retry`."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import click

from recalld.cli.data import scope_options
from recalld.cli.output import json_option, plain, show, show_json
from recalld.cli.transport import open_api
from recalld.core.config import load_settings
from recalld.core.scope import SCOPE_FIELDS

SHOWN = ("state", "task", "scope", "step", "progress", "attempts", "reason", "result", "created_at", "ended_at")
namespace_option = click.option("--namespace", help="Namespace, where no server runs. [default: default]")


@click.command()
@scope_options
@json_option
def consolidate(namespace: str | None, as_json: bool, **given: str | None) -> None:
    """Derive what is new of a scope, or of the whole namespace, in the background.

    A server or a `recalld worker` does it; where none runs, `recalld worker --once`.
    """
    scope = {name: given[name] for name in SCOPE_FIELDS if given.get(name) is not None}
    _send("POST", "/v1/consolidations", namespace, as_json, {"scope": scope})


@click.group()
def jobs() -> None:
    """List, show, cancel and retry jobs."""


@jobs.command("list")
@click.option("--state", "states", multiple=True, help="queued, running, succeeded, failed or cancelled.")
@click.option("--task", "tasks", multiple=True, help="Only these tasks.")
@click.option("--limit", default=20, show_default=True, help="At most so many.")
@namespace_option
@json_option
def list_jobs(
    states: tuple[str, ...], tasks: tuple[str, ...], limit: int, namespace: str | None, as_json: bool
) -> None:
    """The newest jobs, newest first."""
    query = "".join(
        f"&{name}={quote(each, safe='')}" for name, given in (("state", states), ("task", tasks)) for each in given
    )
    with open_api(load_settings(), namespace) as api:
        answer = api.call("GET", f"/v1/jobs?{query}")
    if as_json:
        show_json(answer)
        return
    for job in answer["items"]:
        _show_line(job)


@jobs.command("show")
@click.argument("job_id")
@namespace_option
@json_option
def show_job(job_id: str, namespace: str | None, as_json: bool) -> None:
    """One job, in full."""
    with open_api(load_settings(), namespace) as api:
        job = api.call("GET", _path(job_id))
    if as_json:
        show_json(job)
        return
    for name in SHOWN:
        show(f"{name:12} {plain(str(job[name]))}")


@jobs.command()
@click.argument("job_id")
@namespace_option
@json_option
def cancel(job_id: str, namespace: str | None, as_json: bool) -> None:
    """End a job that has not ended; of the step at work nothing is kept."""
    _send("POST", f"{_path(job_id)}/cancel", namespace, as_json)


@jobs.command()
@click.argument("job_id")
@namespace_option
@json_option
def retry(job_id: str, namespace: str | None, as_json: bool) -> None:
    """Queue a failed or cancelled job again; it goes on where it stopped."""
    _send("POST", f"{_path(job_id)}/retry", namespace, as_json)


def _path(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


def _send(method: str, path: str, namespace: str | None, as_json: bool, body: dict[str, Any] | None = None) -> None:
    with open_api(load_settings(), namespace) as api:
        job = api.call(method, path, body)
    if as_json:
        show_json(job)
    else:
        _show_line(job)


def _show_line(job: Mapping[str, Any]) -> None:
    done, total = job["progress"]["done"], job["progress"]["total"]
    told = f" {plain(job['reason'])}" if job["reason"] else ""
    how_far = f"{done}" if total is None else f"{done}/{total}"
    show(f"{job['id']} [bold]{job['state']:9}[/] {plain(job['task'])} {how_far}{told}")
