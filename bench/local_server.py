"""A real OpenAI-compatible server with a real, small model: llama.cpp (`xllamacpp`) over weights that recalld pulls."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from recalld.core.config import load_settings
from recalld.core.errors import ConfigError, ModelMissing
from recalld.models.folder import path_of

CONTEXT_TOKENS = 4096
# llama.cpp's threads wait for each other by spinning: two of them on two busy cores are many times slower than one.
THREADS = 1


@contextmanager
def local_server(name: str = "smollm2") -> Iterator[str]:
    """The server's base URL, ending in /v1, while it runs.

    Raises:
        ConfigError: the package or the weights are missing; says how to get them.
    """
    if find_spec("xllamacpp") is None:
        raise ConfigError("no llama.cpp server: pip install 'recalld[server]'")
    try:
        path = path_of(load_settings().models_dir, name)
    except ModelMissing as error:
        raise ConfigError(error.detail) from None
    xllamacpp = import_module("xllamacpp")
    given = xllamacpp.CommonParams()
    given.model.path = str(path)
    given.n_ctx = CONTEXT_TOKENS
    given.n_parallel = 1
    given.cpuparams.n_threads = THREADS
    server = xllamacpp.Server(given)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server
