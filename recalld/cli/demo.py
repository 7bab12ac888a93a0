"""`recalld demo`: see `recalld.demo`."""

from importlib.util import find_spec

import click

from recalld.bootstrap.making import local_weights
from recalld.cli.output import console, json_option, show_json
from recalld.core.config import load_settings, server_environment
from recalld.core.errors import FeatureNotInstalled, ModelMissing, Unavailable


@click.command()
@json_option
@click.pass_context
def demo(context: click.Context, as_json: bool) -> None:
    """Watch recalld take a conversation, answer questions over it, and survive being killed.

    It takes about a minute, and leaves nothing behind.
    """
    if find_spec("recalld_client") is None:
        raise FeatureNotInstalled("the demo uses the Python SDK: pip install recalld-client (in a checkout: ./client)")
    from recalld_client import RecalldError as ClientError

    from recalld.demo import run

    no_chat = _no_chat()
    console.quiet = as_json
    try:
        lost = run(console, server_environment(), no_chat)
    except ClientError as error:
        raise Unavailable(str(error)) from error
    finally:
        console.quiet = False
    if as_json:
        show_json({"lost_or_doubled": lost, "chat": not no_chat})
    if lost:
        context.exit(1)


def _no_chat() -> str:
    """Why the demo's server cannot chat; empty where it can."""
    settings = load_settings()
    try:
        if settings.llm != "openai":
            local_weights(settings)
    except (FeatureNotInstalled, ModelMissing) as error:
        return error.detail
    return ""
