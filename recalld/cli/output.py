"""What the commands print: readable lines, or one JSON document with `--json`. Memory text is escaped for a
terminal."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recalld.core.errors import RecalldError

console = Console(highlight=False, soft_wrap=True)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """`--json` on a command, as its argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def show(line: str) -> None:
    """A line with rich's markup; put what is not ours through `plain` first."""
    console.print(line)


def plain(text: str) -> str:
    """Text that can neither style nor control a terminal."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def fail(error: RecalldError) -> None:
    """One line for an error, and one more for each further field."""
    error_console.print(f"[red]recalld:[/] {plain(error.detail)}")
    for field in error.fields[1:]:
        error_console.print(f"  {plain(field.field)}: {plain(field.message)}")


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; nothing elsewhere. Yields a function that is told how many more are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=total)
        yield lambda more: bar.advance(task, more)
