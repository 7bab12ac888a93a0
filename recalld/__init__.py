"""recalld: a memory daemon for AI agents. `ARCHITECTURE.md` says what is where; start at `recalld.bootstrap`."""

from importlib.metadata import version

__version__ = version("recalld")
