"""Commands on data: `add`, `recall`, `context`, `chat`, `stats`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from recalld.cli.output import json_option, plain, progress, show, show_json
from recalld.cli.transport import open_api
from recalld.core.config import load_settings
from recalld.core.errors import InvalidInput

BATCH_ITEMS = 200
F = TypeVar("F", bound=Callable[..., Any])


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
    """Keep a memory: TEXT, `-` for standard input, or the lines of --file."""
    scope = {name: value for name in ("user_id", "agent_id", "session_id") if (value := given.pop(name)) is not None}
    shared = {name: value for name, value in given.items() if value is not None} | ({"scope": scope} if scope else {})
    if (text is None) == (file is None):
        raise click.UsageError("give a TEXT or a --file")
    if file is not None:
        items = [shared | item for item in _read_items(file)]
    else:
        items = [shared | {"text": sys.stdin.read() if text == "-" else text}]
    kept: list[dict[str, Any]] = []
    with open_api(load_settings(), namespace) as api, progress("adding", len(items)) as done:
        for start in range(0, len(items), BATCH_ITEMS):
            batch = items[start : start + BATCH_ITEMS]
            kept += api.call("POST", "/v1/memories", {"items": batch})["items"]
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
        if explain:
            show("     " + ", ".join(f"{name} {value:+.2f}" for name, value in hit["signals"].items()))
    show(f"[dim]{answer['took_ms']:.1f} ms, {answer['pending']} pending[/]")


@click.command()
@click.argument("query")
@click.option("--token-budget", type=int, help="At most so many tokens.")
@scope_options
@json_option
def context(query: str, token_budget: int | None, namespace: str | None, as_json: bool, **given: Any) -> None:
    """A prompt-ready text about QUERY, within a token budget."""
    body = _question(query, given) | ({} if token_budget is None else {"token_budget": token_budget})
    with open_api(load_settings(), namespace) as api:
        answer = api.call("POST", "/v1/context", body)
    if as_json:
        show_json(answer)
    else:
        click.echo(answer["text"], nl=False)


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
            citations = event.get("recalld", {}).get("citations", citations)
            for choice in event.get("choices", []):
                click.echo(
                    "".join(c for c in choice["delta"].get("content", "") if c.isprintable() or c in "\n\t"), nl=False
                )
    click.echo()
    for citation in citations[:5]:
        show(f"[dim]{plain(citation['text'].strip()[:160])}[/]")


@click.command()
@click.option("--namespace", help="Namespace, where no server runs. [default: default]")
@json_option
def stats(namespace: str | None, as_json: bool) -> None:
    """How much is kept, and where."""
    with open_api(load_settings(), namespace) as api:
        answer = api.call("GET", "/v1/stats")
    if as_json:
        show_json(answer)
        return
    for name, value in answer.items():
        show(f"{name:18} {value if not isinstance(value, dict) else ', '.join(f'{k} {v}' for k, v in value.items())}")


def _question(query: str, given: dict[str, Any]) -> dict[str, Any]:
    """A recall's body from the options that were given."""
    scope = {name: given[name] for name in ("user_id", "agent_id", "session_id") if given.get(name) is not None}
    body: dict[str, Any] = {"query": query, "scope": scope}
    for name in ("limit", "as_of"):
        if given.get(name) is not None:
            body[name] = given[name]
    if given.get("kinds"):
        body["kinds"] = list(given["kinds"])
    return body


def _read_items(file: Path) -> list[dict[str, Any]]:
    items = []
    with file.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
            except ValueError:
                raise InvalidInput.of(f"line {number}", "is not JSON") from None
            if not isinstance(item, dict):
                raise InvalidInput.of(f"line {number}", "is not a JSON object")
            items.append(item)
    if not items:
        raise InvalidInput.of("file", "holds no items", 1)
    return items


COMMANDS = (add, recall, context, chat, stats)
