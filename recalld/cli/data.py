"""Commands on data: `add`, `recall`, `context`, `state`, `chat`, `stats`."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import click

from recalld.cli.exchange import RemoteError
from recalld.cli.output import json_option, plain, progress, show, show_json, tame
from recalld.cli.transport import Api, open_api
from recalld.core.config import load_settings
from recalld.core.errors import FieldError, InvalidInput

BATCH_ITEMS_MAX = 200
BATCH_BYTES_MAX = 4 << 20
F = TypeVar("F", bound=Callable[..., Any])
Line = tuple[int, dict[str, Any]]
"""An item and the number of its line, from 1; 0 where it is from no file."""


def scope_options(command: F) -> F:
    """`--user`, `--agent`, `--session` and `--namespace`."""
    for option in (
        click.option("--namespace", help="Namespace, where no server runs. [default: default]"),
        click.option("--session", "session_id", help="Session id."),
        click.option("--agent", "agent_id", help="Agent id."),
        click.option("--user", "user_id", help="User id."),
    ):
        command = option(command)
    return command


def filter_option(command: F) -> F:
    """`--filter`."""
    told = """Only memories for which it holds, as JSON: '{"metadata.topic": "home"}'."""
    return click.option("--filter", "filter", metavar="JSON", help=told)(command)


@click.command()
@click.argument("text", required=False)
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Items, one JSON object a line.",
)
@click.option("--kind", help="turn (default), document, fact, episode, procedure or rationale.")
@click.option("--role", help="Who spoke: user, assistant, ...")
@click.option("--speaker", help="The speaker's name.")
@click.option("--occurred-at", help="When it happened: RFC 3339 with a zone.")
@scope_options
@json_option
def add(text: str | None, file: Path | None, namespace: str | None, as_json: bool, **given: str | None) -> None:
    """Keep a memory: TEXT, `-` for standard input, or the lines of --file.

    Lines are sent in batches, each kept whole or not at all; an error names the line, and how many were kept before.
    """
    scope = {name: value for name in ("user_id", "agent_id", "session_id") if (value := given.pop(name)) is not None}
    shared = {name: value for name, value in given.items() if value is not None} | ({"scope": scope} if scope else {})
    if (text is None) == (file is None):
        raise click.UsageError("give a TEXT or a --file")
    if file is not None:
        lines = _read_items(file)
    else:
        lines = [(0, {"text": _read_text() if text == "-" else text})]
    kept: list[dict[str, Any]] = []
    with open_api(load_settings(), namespace) as api, progress("adding", len(lines)) as done:
        for batch in _batches([(number, _filled_in(item, shared)) for number, item in lines]):
            kept += _add_batch(api, batch, len(kept))
            done(len(batch))
    if as_json:
        show_json({"items": kept})
    else:
        show(f"kept {len(kept)}: {', '.join(memory['id'] for memory in kept[:3])}{' ...' if len(kept) > 3 else ''}")


@click.command()
@click.argument("query")
@click.option("--limit", default=5, show_default=True, help="At most so many.")
@click.option("--kind", "kinds", multiple=True, help="Only these kinds.")
@click.option("--as-of", help="What was so at this time.")
@filter_option
@click.option("--explain", is_flag=True, help="Show each result's signals.")
@scope_options
@json_option
def recall(query: str, namespace: str | None, as_json: bool, explain: bool, **given: Any) -> None:
    """Ask what is remembered about QUERY."""
    with open_api(load_settings(), namespace) as api:
        answer = api.call("POST", "/v1/recall", _question(query, given) | {"explain": explain})
    if as_json:
        show_json(answer)
        return
    if not answer["relevant"]:
        show(
            "[yellow]nothing here answers that[/]; the nearest:" if answer["results"] else "nothing is remembered here"
        )
    for hit in answer["results"]:
        memory = hit["memory"]
        when = (memory["occurred_at"] or "")[:10]
        who = memory["speaker"] or memory["role"] or memory["kind"]
        show(
            f"[bold]{hit['relevance']:.2f}[/] {when} {plain(who)}: {plain(memory['text'][:300])} [dim]{memory['id']}[/]"
        )
        for other in hit["disagrees_with"]:
            show(f"     [yellow]disagrees with[/] {'a newer' if other['newer'] else 'an older'} {other['memory_id']}")
        if explain:
            show("     " + ", ".join(f"{name} {value:+.2f}" for name, value in hit["signals"].items()))
    show(f"[dim]{answer['took_ms']:.1f} ms, {answer['pending']} pending[/]")


@click.command()
@click.argument("query")
@click.option("--token-budget", type=int, help="At most so many tokens.")
@filter_option
@scope_options
@json_option
def context(query: str, token_budget: int | None, namespace: str | None, as_json: bool, **given: Any) -> None:
    """Print a prompt-ready text about QUERY, within a token budget."""
    body = _question(query, given) | ({} if token_budget is None else {"token_budget": token_budget})
    with open_api(load_settings(), namespace) as api:
        answer = api.call("POST", "/v1/context", body)
    if as_json:
        show_json(answer)
    else:
        click.echo(tame(answer["text"], kept="\n\t"), nl=False)


@click.command()
@click.argument("session")
@click.option("--user", "user_id", help="User id.")
@click.option("--agent", "agent_id", help="Agent id.")
@click.option("--namespace", help="Namespace, where no server runs. [default: default]")
@json_option
def state(session: str, namespace: str | None, as_json: bool, **given: str | None) -> None:
    """Print what to keep in mind of a session, in a size that does not grow."""
    params = {name: value for name, value in given.items() if value is not None}
    path = f"/v1/sessions/{quote(session, safe='')}/state"
    with open_api(load_settings(), namespace) as api:
        answer = api.call("GET", f"{path}?{urlencode(params)}" if params else path)
    if as_json:
        show_json(answer)
    else:
        click.echo(tame(answer["text"], kept="\n\t"), nl=False)


@click.command()
@click.argument("message")
@click.option("--no-remember", is_flag=True, help="Do not keep the exchange.")
@scope_options
@json_option
def chat(message: str, no_remember: bool, namespace: str | None, as_json: bool, **given: Any) -> None:
    """Say MESSAGE to the model, with what is remembered of the scope."""
    scope = {name: value for name, value in given.items() if value is not None}
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": message}],
        "recalld": {"scope": scope, "remember": not no_remember},
    }
    with open_api(load_settings(), namespace) as api:
        if as_json:
            show_json(api.call("POST", "/v1/chat/completions", body))
            return
        citations: list[dict[str, Any]] = []
        for line in api.lines("/v1/chat/completions", body | {"stream": True}):
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                click.echo()
                raise RemoteError(event["error"]["detail"])
            citations = event.get("recalld", {}).get("citations", citations)
            for choice in event.get("choices", []):
                click.echo(tame(choice["delta"].get("content", ""), kept="\n\t"), nl=False)
    click.echo()
    for citation in citations[:5]:
        show(f"[dim]{plain(citation['text'].strip()[:160])}[/]")


@click.command()
@click.option("--namespace", help="Namespace, where no server runs. [default: default]")
@json_option
def stats(namespace: str | None, as_json: bool) -> None:
    """Say how much is kept, and where."""
    with open_api(load_settings(), namespace) as api:
        answer = api.call("GET", "/v1/stats")
    if as_json:
        show_json(answer)
        return
    for name, value in answer.items():
        told = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        show(f"{name:18} {plain(str(told))}")


def _question(query: str, given: dict[str, Any]) -> dict[str, Any]:
    """A recall's body from the options that were given."""
    scope = {name: given[name] for name in ("user_id", "agent_id", "session_id") if given.get(name) is not None}
    body: dict[str, Any] = {"query": query, "scope": scope}
    for name in ("limit", "as_of"):
        if given.get(name) is not None:
            body[name] = given[name]
    if given.get("kinds"):
        body["kinds"] = list(given["kinds"])
    if given["filter"] is not None:
        body["filter"] = strict_json(given["filter"], "filter")
    return body


def strict_json(text: str, field: str) -> Any:
    """The JSON that a text holds, if it can be sent."""
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise InvalidInput.of(field, "is not JSON") from None
    return found


def _filled_in(item: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """An item with what the options say; its own fields, and those of its own scope, win."""
    scope = item.get("scope")
    if isinstance(scope, dict) and "scope" in shared:
        item = item | {"scope": shared["scope"] | scope}
    return shared | item


def _batches(lines: list[Line]) -> Iterator[list[Line]]:
    batch: list[Line] = []
    size = 0
    for line in lines:
        more = len(json.dumps(line[1], ensure_ascii=False).encode(errors="replace"))
        if batch and (len(batch) == BATCH_ITEMS_MAX or size + more > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += more
    yield batch


def _add_batch(api: Api, batch: list[Line], kept: int) -> list[dict[str, Any]]:
    """Send items; an error that names one of them names its line instead."""
    try:
        answer = api.call("POST", "/v1/memories", {"items": [item for _, item in batch]})
    except RemoteError as error:
        if batch[0][0] == 0:
            raise
        fields = [_on_its_line(field, batch) for field in error.fields]
        detail = f"{fields[0].field}: {fields[0].message}" if fields else error.detail
        raise RemoteError(f"{detail} ({kept} kept before)", fields) from error
    items: list[dict[str, Any]] = answer["items"]
    return items


def _on_its_line(field: FieldError, batch: list[Line]) -> FieldError:
    """`items.3.text` -> `line 17: text`."""
    match = re.fullmatch(r"items\.(\d+)(?:\.(.+))?", field.field)
    if match is None:
        return field
    return replace(field, field=f"line {batch[int(match[1])][0]}" + (f": {match[2]}" if match[2] else ""))


def _read_text() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidInput.of("standard input", f"is not UTF-8 at byte {error.start}") from None


def _read_items(file: Path) -> list[Line]:
    """The items of a file of one JSON object a line, each with its line's number."""
    items = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise InvalidInput.of(f"line {number}", f"is not UTF-8 at byte {error.start}") from None
            item = strict_json(text, f"line {number}")
            if not isinstance(item, dict):
                raise InvalidInput.of(f"line {number}", "is not a JSON object")
            items.append((number, item))
    if not items:
        raise InvalidInput.of("file", "holds no items", 1)
    return items
