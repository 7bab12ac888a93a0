"""Files of the data folder: swapped whole and durably, held by one process at a time, with checked headers."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from recalld.core.errors import Unavailable

BESIDE = ".tmp"
"""The suffix of what is written to take a file's place; a write that was killed leaves it."""
_POLL_SECONDS = 0.005


def swap(path: Path, data: bytes) -> None:
    """Let a file hold these bytes, durably: it is what it was or what it is to be, whatever happens."""
    beside = path.with_suffix(BESIDE)
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(lock: FileLock, seconds: float, refused: str) -> Iterator[None]:
    """Hold a lock for the block.

    Raises:
        Unavailable: with the text `refused`, another process held it for so many seconds.
    """
    try:
        lock.acquire(timeout=seconds, poll_interval=_POLL_SECONDS)
    except Timeout as error:
        raise Unavailable(refused) from error
    try:
        yield
    finally:
        lock.release()


def seal(told: Mapping[str, Any], size: int) -> bytes:
    """A header of `size` bytes: what it tells and its checksum as one line of JSON, then zeros."""
    line = json.dumps(told)
    return json.dumps([line, zlib.crc32(line.encode())]).encode().ljust(size, b"\0")


def unseal(raw: bytes) -> tuple[dict[str, Any], bool]:
    """What a header tells, and whether its checksum is right.

    Raises:
        ValueError: it is not a header.
    """
    try:
        line, check = json.loads(raw.rstrip(b"\0"))
        told: dict[str, Any] = json.loads(line)
        return told, zlib.crc32(line.encode()) == check
    except (TypeError, AttributeError) as error:
        raise ValueError("not a header") from error


def name_of(namespace: str) -> str:
    """A file's name for a namespace, which may hold any characters."""
    return hashlib.blake2b(namespace.encode(), digest_size=16).hexdigest()
