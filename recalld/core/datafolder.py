"""The data folder: who holds it, and what lies in it.

A server that holds a data folder keeps a lock on `server.lock` for as long as it lives (the operating system lets go of it when
the process ends, however it ends) and says in `server.json` where it listens. Commands on data ask here first: they speak
HTTP to that server, and open the folder themselves only when none holds it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from recalld.core.errors import ConfigError


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
        self._lock = FileLock(path / "server.lock")

    def hold(self, url: str) -> bool:
        """Hold the folder as the server at `url`; False where another server holds it already."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        beside = self.path / "server.json.new"
        beside.write_text(json.dumps(asdict(Holder(url, os.getpid()))), encoding="utf-8")
        beside.replace(self.path / "server.json")
        return True

    def release(self) -> None:
        """Let go of the folder."""
        if self._lock.is_locked:
            (self.path / "server.json").unlink(missing_ok=True)
            self._lock.release()

    def holder(self) -> Holder | None:
        """The server that holds the folder now, if one does."""
        try:
            with self._lock.acquire(timeout=0):
                return None
        except Timeout:
            told = json.loads((self.path / "server.json").read_text(encoding="utf-8"))
            return Holder(told["url"], told["pid"])

    def bytes_on_disk(self, *parts: str) -> int:
        """Size of a part of the folder, files and folders below it included."""
        root = self.path.joinpath(*parts)
        return sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) if root.exists() else 0
