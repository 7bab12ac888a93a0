"""The command `recalld`. Every command has `--json`; an error is one line on standard error and exit code 1 (2: wrong
usage, 130: interrupted), never a traceback.

A command's module is imported when the command is called: `recalld --version` must not wait for an encoder. So the
commands stand in a table here, each with its module and what `recalld --help` says of it.
"""

import errno
import sys
from importlib import import_module

import click

from recalld import __version__
from recalld.cli.output import Failure, prepare_streams
from recalld.core.errors import RecalldError

COMMANDS = {
    "serve": ("serve", "Run the daemon."),
    "demo": ("demo", "Watch recalld take a conversation, answer questions over it, and survive being killed."),
    "add": ("data", "Keep a memory: TEXT, `-` for standard input, or the lines of --file."),
    "recall": ("data", "Ask what is remembered about QUERY."),
    "context": ("data", "Print a prompt-ready text about QUERY, within a token budget."),
    "state": ("data", "Print what to keep in mind of a session, in a size that does not grow."),
    "chat": ("data", "Say MESSAGE to the model, with what is remembered of the scope."),
    "stats": ("data", "Say how much is kept, and where."),
    "consolidate": ("jobs", "Derive what is new of a scope, or of the whole namespace, in the background."),
    "jobs": ("jobs", "List, show, cancel and retry jobs."),
    "erase": ("move", "Erase memories, what was derived from them and every trace of both, and look for what is left."),
    "export": ("move", "Write memories with their history into FILE (a new one), or to standard output."),
    "import": ("move", "Keep the memories of an exported FILE, under their own ids: all of them, or none."),
    "backup": ("backup", "Copy the whole instance into the new folder PATH, while it serves"),
    "restore": ("backup", "Put the backup at PATH in the place of this instance's data"),
    "models": ("models", "List, pull, verify and remove model weights."),
    "keys": ("keys", "Create, list and revoke API keys."),
    "doctor": ("doctor", "Say what works on this machine, what is missing, and how to get it."),
    "worker": (
        "operate",
        "Apply the outbox and do jobs in a process of its own, beside servers and other workers.",
    ),
    "verify": ("operate", "Compare every index with the database."),
    "reindex": ("operate", "Rebuild every index from the database, while the old ones serve."),
    "migrate": ("operate", "Bring the database's schema to the newest revision."),
}
"""Name -> the module in this package that has it, and the first sentence of its help."""

FUNCTIONS = {"import": "import_"}
"""Commands whose names Python keeps for itself."""
INTERRUPTED = 130


class Commands(click.Group):
    """The table as a group."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, from its module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(
            import_module(f"recalld.cli.{COMMANDS[cmd_name][0]}"), FUNCTIONS.get(cmd_name, cmd_name)
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing the modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; what goes wrong becomes one line."""
        try:
            return super().invoke(ctx)
        except RecalldError as error:
            raise Failure(error.detail, error.fields) from error
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # `recalld ... | head`: click ends quietly
            raise Failure(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}") from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="recalld")
def commands() -> None:
    """A memory daemon for AI agents: write what happened, ask what matters now.

    Begin with `recalld serve`, or `recalld demo` to see it at work. Settings: RECALLD_* variables or recalld.toml.
    """


def main() -> None:
    """Run the command line of this process."""
    prepare_streams()
    wrong = [number for number, argument in enumerate(sys.argv[1:], 1) if not _is_unicode(argument)]
    if wrong:
        click.UsageError(f"argument {wrong[0]} is not UTF-8").show()
        sys.exit(click.UsageError.exit_code)
    commands(prog_name="recalld")


def _is_unicode(argument: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in argument)
