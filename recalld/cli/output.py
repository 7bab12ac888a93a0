"""What the commands print: readable lines, or one JSON document with `--json`.

Invariant: no memory text reaches a terminal with a character in it that could move the cursor, set a title or turn the
reading direction. In readable lines such characters are spaces; in JSON they are escapes, so the document is exact.
"""

import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recalld.core.errors import FieldError

console = Console(highlight=False, soft_wrap=True, emoji=False)
error_console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

F = TypeVar("F", bound=Callable[..., Any])
_JOINERS = "\u200c\u200d"  # part of how Persian, Indic scripts and emoji are spelt
_NOT_ASCII = re.compile(r"[^\n -~]")


class Failure(click.ClickException):
    """What went wrong, shown as one line, and one more for each further field."""

    def __init__(self, detail: str, fields: Sequence[FieldError] = ()) -> None:
        super().__init__(detail)
        self._fields = fields

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it on standard error."""
        error_console.print(f"[red]recalld:[/] {plain(self.message)}")
        for field in self._fields[1:]:
            error_console.print(f"  {plain(field.field)}: {plain(field.message)}")


def prepare_streams() -> None:
    """A terminal that cannot show a character gets an escape for it, not the end of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def json_option(command: F) -> F:
    """`--json` on a command, as its argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(command)


def show_json(value: Any) -> None:
    """One JSON document on standard output."""
    utf8 = (getattr(sys.stdout, "encoding", None) or "").lower() in ("utf-8", "utf8")
    text = json.dumps(value, ensure_ascii=not utf8, indent=2, default=_written)
    click.echo(_NOT_ASCII.sub(_escaped, text))


def show(line: str) -> None:
    """A line with rich's markup; put what is not ours through `plain` first."""
    console.print(line)


def tame(text: str, kept: str = "") -> str:
    """Text that cannot control a terminal: what is not printable, nor in `kept`, becomes a space."""
    return "".join(c if c.isprintable() or c in _JOINERS or c in kept else " " for c in text)


def plain(text: str) -> str:
    """One line of text that can neither style nor control a terminal."""
    return escape(tame(text))


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; nothing elsewhere. Yields a function that is told how many more are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(title, total=total)
        yield lambda more: bar.advance(task, more)


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _escaped(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]
