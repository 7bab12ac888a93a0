"""The data folder: who holds it, and what lies in it.

A server that holds a data folder keeps a lock on `server.lock` for as long as it lives (the operating system lets go
of it when the process ends, however it ends) and says in `server.json` where it listens. Commands on data ask here
first: they speak HTTP to that server, and open the folder themselves only when none holds it.

The server's lock is exclusive and whoever asks takes a shared one for a moment, so that two who ask at once do not
take each other for a server. Invariant: while the lock is held, `server.json` tells of its holder or is not there yet;
what a killed server left is removed before the lock is taken.
"""

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from recalld.core.errors import ConfigError, Conflict, Unavailable

WAIT_SECONDS_MAX = 5.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Holder:
    """A running server."""

    url: str
    pid: int


class DataFolder:
    """One instance's folder."""

    def __init__(self, path: Path) -> None:
        """Make the folder, readable by its owner only, if it is not there.

        Raises:
            ConfigError: it cannot be made or written.
        """
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"data_dir: {path} cannot be made: {error.strerror}") from None
        if not os.access(path, os.W_OK | os.X_OK):
            raise ConfigError(f"data_dir: {path} cannot be written to")
        self._told = path / "server.json"
        self._held: int | None = None

    def hold(self, url: str) -> bool:
        """Hold the folder as the server at `url`; False where another server holds it already."""
        give_up = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < give_up:
            with self._locked(fcntl.LOCK_SH) as shared:
                if shared is None:
                    return False
                self._told.unlink(missing_ok=True)
            descriptor = self._lock(fcntl.LOCK_EX)
            if descriptor is not None:
                beside = self.path / "server.json.new"
                beside.write_text(json.dumps(asdict(Holder(url, os.getpid()))), encoding="utf-8")
                beside.replace(self._told)
                self._held = descriptor
                return True
            time.sleep(_POLL_SECONDS)
        return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep servers out of the folder for the length of the block.

        Raises:
            Conflict: a server holds it.
        """
        descriptor = self._lock(fcntl.LOCK_EX)
        if descriptor is None:
            raise Conflict(f"a server holds {self.path}: stop it first")
        try:
            yield
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Let go of the folder."""
        if self._held is not None:
            self._told.unlink(missing_ok=True)
            os.close(self._held)
            self._held = None

    def holder(self) -> Holder | None:
        """The server that holds the folder now, if one does.

        Raises:
            Unavailable: one does, and does not say where it listens.
        """
        give_up = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < give_up:
            with self._locked(fcntl.LOCK_SH) as shared:
                if shared is not None:
                    return None
            try:
                return Holder(**json.loads(self._told.read_text(encoding="utf-8")))
            except FileNotFoundError:
                time.sleep(_POLL_SECONDS)
        raise Unavailable(f"another process keeps {self.path / 'server.lock'} locked, and no server says that it does")

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait for one's turn among all threads and processes that share the folder, and have it for the block."""
        descriptor = os.open(self.path / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def bytes_on_disk(self, *parts: str) -> int:
        """Size of a part of the folder, files and folders below it included."""
        return sum(_size(file) for file in self.path.joinpath(*parts).rglob("*"))

    @contextmanager
    def _locked(self, kind: int) -> Iterator[int | None]:
        descriptor = self._lock(kind)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _lock(self, kind: int) -> int | None:
        """A descriptor that keeps a lock of this kind until it is closed; None where another lock forbids it."""
        descriptor = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return descriptor


def _size(path: Path) -> int:
    """Of a file; 0 of anything else, and of a file that another process has just removed."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
