"""`recalld serve`: the daemon, in the foreground, until SIGTERM or SIGINT."""

import signal
import socket
import sys
import threading

import click
import uvicorn

from api.app import create_app
from recalld import __version__
from recalld.bootstrap import Service
from recalld.cli.output import json_option
from recalld.core import access, log
from recalld.core.addresses import is_loopback
from recalld.core.config import Settings, load_settings
from recalld.core.errors import ConfigError

GRACE_SECONDS = 10


@click.command()
@click.option("--host", help="Address to listen on. Another than loopback needs a key.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0: a free one.")
@json_option
def serve(host: str | None, port: int | None, as_json: bool) -> None:
    """Run the daemon.

    It says on standard error where it listens. SIGTERM ends it when the requests at hand are answered.
    """
    # uvicorn takes the signal while it serves and raises it again when it has ended; this is for then, and for before.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = load_settings(host=host, port=port)
    log.configure(settings.log_level, "json" if as_json else settings.log_format)
    service = Service(settings)
    try:
        _check_exposure(service)
        listener = _listen(settings)
        url = _url(settings.host, listener)
        if service.folder.hold(url):
            service.imports.sweep()
        else:
            log.get("serve").warning("folder_shared", detail="another server holds this data folder as well")
        log.get("serve").info(
            "serving", url=url, host=settings.host, data_dir=str(settings.data_dir), version=__version__
        )
        threading.Thread(target=service.warm, name="recalld-warm", daemon=True).start()
        config = uvicorn.Config(
            create_app(service),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        service.close()


def _check_exposure(service: Service) -> None:
    if is_loopback(service.settings.host):
        return
    with service.database.read() as connection:
        if access.any_key(connection):
            return
    raise ConfigError(
        f"host: {service.settings.host} is not loopback, and there is no key:"
        " make one first with `recalld keys create --namespace NAME`"
    )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off for a socket that names its protocol, and only for one.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        reason = error.strerror or "it is in use"
        raise ConfigError(f"port: {settings.host}:{settings.port} can not be listened on: {reason}") from None
    return listener


def _url(host: str, listener: socket.socket) -> str:
    """Where a command on this machine reaches it: a server on every address is on loopback too."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{listener.getsockname()[1]}"
