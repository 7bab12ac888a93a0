"""The command `recalld`. Every command has `--json`; errors are one line on standard error and exit code 1 (2: wrong
usage)."""

import sys

import click

from recalld import __version__
from recalld.cli import data, demo, keys, models, operate
from recalld.cli.output import fail
from recalld.core.errors import RecalldError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="recalld")
def commands() -> None:
    """A memory daemon for AI agents: write what happened, ask what matters now.

    Begin with `recalld serve`, or `recalld demo` to see it at work. Settings: RECALLD_* variables or recalld.toml.
    """


for module in (operate, data, keys, models, demo):
    for command in module.COMMANDS:
        commands.add_command(command)


def main() -> None:
    """Run a command; an error of recalld becomes one line."""
    try:
        commands(standalone_mode=False)
    except RecalldError as error:
        fail(error)
        sys.exit(1)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
