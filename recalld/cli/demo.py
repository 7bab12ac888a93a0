"""`recalld demo`: see `recalld.demo`."""

from importlib.util import find_spec

import click

from recalld.bootstrap import local_weights
from recalld.cli.output import console, json_option, show_json
from recalld.core.config import load_settings, server_environment
from recalld.core.errors import FeatureNotInstalled, ModelMissing


@click.command()
@json_option
@click.pass_context
def demo(context: click.Context, as_json: bool) -> None:
    """Watch recalld take a conversation, answer questions over it, and survive being killed.

    It takes about a minute, and leaves nothing behind.
    """
    if find_spec("recalld_client") is None:
        raise FeatureNotInstalled("the demo uses the Python SDK: pip install recalld-client (in a checkout: ./client)")
    from recalld.demo import run

    try:
        local_weights(load_settings())
        chat = True
    except (FeatureNotInstalled, ModelMissing):
        chat = False
    console.quiet = as_json
    lost = run(console, server_environment(), chat)
    if as_json:
        show_json({"lost_or_doubled": lost, "chat": chat})
    if lost:
        context.exit(1)
