"""The files of data sets: where they are looked for, and how they are read. None is ever copied into the project.

A loader takes `--data PATH`, the upstream file (gzipped or not) or a folder that holds it; left out, it looks in
`../shared/data` beside the checkout.
"""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recalld.core.errors import ConfigError

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def folder(name: str) -> Path:
    """Where a data set is without `--data`."""
    return DATA / name


def find(place: Path, name: str, names: Sequence[str], where: str) -> Path:
    """The file that `place` is or holds.

    Raises:
        ConfigError: there is none; says `where` a user gets it.
    """
    if place.is_file():
        return place
    for file in names:
        if (place / file).is_file():
            return place / file
    raise missing(name, where)


def missing(name: str, where: str) -> ConfigError:
    """The error of a data set that is not here."""
    return ConfigError(f"{name} is not here. Get it from {where}, then give the file: --data PATH")


def read(file: Path) -> Any:
    """The JSON in a file; of a `.jsonl` the list of its lines."""
    raw = file.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if ".jsonl" in file.name:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return json.loads(text)
