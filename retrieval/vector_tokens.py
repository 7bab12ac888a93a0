"""Token codes of a snapshot's rows, wherever they are: beside the log, or at the end of a segment."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval import vector_codes
from retrieval.ports import Codes, Rows, TokenCodes
from retrieval.vector_snapshot import Snapshot


def token_codes(snapshot: Snapshot, folder: Path, rows: Rows) -> TokenCodes:
    """The token codes of those of `rows` that live, by row.

    Raises:
        FileNotFoundError: a file is gone.
        IndexDamaged: bytes are missing or changed.
    """
    wanted = np.sort(rows)
    width = vector_codes.width(snapshot.matrix.shape[1])
    held, slots = snapshot.held(wanted)
    entries = snapshot.entries[slots]
    owners, sizes, parts = [held], [entries["codes_bytes"]], []
    if snapshot.manifest is not None:
        parts.append(vector_codes.read(folder / snapshot.manifest.codes, entries).reshape(-1, width))
    for live in snapshot.segments:
        there = live.held(wanted)
        owners.append(live.segment.rows(there))
        sizes.append(live.segment.token_bytes(there))
        parts.append(live.segment.token_codes(there))
    return _by_row(owners, [size // width for size in sizes], parts, width)


def _by_row(
    owners: Sequence[Rows], tokens: Sequence[NDArray[np.int64]], parts: Sequence[Codes], width: int
) -> TokenCodes:
    """Codes that were read file by file, by row."""
    rows, counts = np.concatenate(owners), np.concatenate(tokens).astype(np.int64)
    order = np.argsort(rows, kind="stable")
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts[order])])
    held = [part for part in parts if len(part)]
    bits = held[0] if len(held) == 1 else np.concatenate([np.zeros((0, width), dtype=np.uint8), *held])
    if (np.diff(order) != 1).any():
        bits = bits[vector_codes.spans((np.cumsum(counts) - counts)[order], counts[order])]
    return TokenCodes(rows[order], starts, bits)
