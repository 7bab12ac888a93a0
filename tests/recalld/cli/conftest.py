"""A command line on an instance of its own, with the reference encoder, called in this process."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from recalld.cli import commands
from tests.processes import HASH


class CommandLine:
    """Calls `recalld` over the instance in `folder`, as one who typed the arguments."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings: dict[str, str | None] = {
            "RECALLD_DATA_DIR": str(folder / "data"),
            "RECALLD_MODELS_DIR": str(folder / "models"),
            **HASH,
        }

    def __call__(self, *arguments: str, stdin: str | bytes = "", **settings: str) -> Result:
        return CliRunner().invoke(
            commands, arguments, input=stdin, env=self.settings | settings, prog_name="recalld", catch_exceptions=False
        )

    def ok(self, *arguments: str, stdin: str | bytes = "", **settings: str) -> str:
        """The output of a command that succeeds."""
        result = self(*arguments, stdin=stdin, **settings)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    def json(self, *arguments: str, stdin: str | bytes = "", **settings: str) -> Any:
        """The document of a command that succeeds."""
        return json.loads(self.ok(*arguments, "--json", stdin=stdin, **settings))

    def error(self, *arguments: str, code: int = 1, stdin: str | bytes = "", **settings: str) -> str:
        """The one line of a command that fails."""
        result = self(*arguments, stdin=stdin, **settings)
        assert (result.exit_code, result.stdout) == (code, "")
        line = result.stderr.removesuffix("\n")
        assert line.startswith("recalld: ")
        assert "\n" not in line
        return line.removeprefix("recalld: ")


@pytest.fixture
def recalld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    monkeypatch.chdir(tmp_path)
    handlers = logging.root.handlers[:]
    yield CommandLine(tmp_path)
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
