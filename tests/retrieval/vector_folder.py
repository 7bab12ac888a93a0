"""What the tests of the vector index share: short changes, and a look at the files."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from retrieval.ports import VectorChange
from retrieval.vector_faiss import IndexSettings, SegmentedVectorIndex
from retrieval.vector_format import PUT, named_by, record_type
from retrieval.vector_log import LogSettings
from retrieval.vector_merge import MergeSettings
from retrieval.vector_segment import Segment

D = 5
DIGEST = b"12345678"
SMALL = IndexSettings(lock_seconds_max=5, log=LogSettings(dead_records_min=6))
# Everything soon is in segments, and those are soon merged.
TINY = replace(
    SMALL, log=LogSettings(dead_records_min=6, head_rows_max=4), merge=MergeSettings(fanout=2, lists_rows_min=9)
)


def opened(folder: Path, settings: IndexSettings = SMALL) -> SegmentedVectorIndex:
    return SegmentedVectorIndex(folder, D, "encoder-1", settings)


def put(row: int, *values: float, codes: bytes = b"") -> VectorChange:
    vector = np.zeros(D, dtype=np.float32)
    vector[: len(values)] = values
    if not vector.any():
        vector[-1] = 2**-14  # a vector has a direction
    return VectorChange(row, 1, DIGEST, vector, np.frombuffer(codes, dtype=np.uint8).reshape(-1, 1))


def gone(row: int) -> VectorChange:
    return VectorChange(row, 1, DIGEST, None)


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*/*{suffix}"))


def check_disk(folder: Path) -> None:
    """Files hold committed bytes only, and nothing but zeros in the body and codes of a record that another one killed.

    Live codes are never 0 here, so every byte of the codes is accounted for.
    """
    check_segments(folder)
    manifests = [manifest for path in files(folder, ".json") if (manifest := named_by(path)) is not None]
    assert {path.name for path in files(folder, ".log")} == {manifest.log for manifest in manifests}
    assert {path.name for path in files(folder, ".codes")} == {manifest.codes for manifest in manifests}
    for path in files(folder, ".log"):
        manifest = next(manifest for manifest in manifests if manifest.log == path.name)
        data, codes = path.read_bytes(), (path.parent / manifest.codes).read_bytes()
        assert (len(data), len(codes)) == (manifest.committed, manifest.codes_committed)
        records = np.frombuffer(data, dtype=record_type(D))
        live = np.count_nonzero(records["operation"] == PUT)
        for killed in records["killed"][records["killed"] >= 0].tolist():
            dead = records[killed // records.dtype.itemsize]
            live -= dead["operation"] == PUT
            assert not dead["vector"].any()
            assert (dead["digest"], dead["version"], dead["check_body"], dead["codes_check"]) == (0, 0, 0, 0)
            assert not any(codes[dead["codes_at"] :][: dead["codes_bytes"]])
        assert live == manifest.rows


def check_segments(folder: Path) -> None:
    """Segments are those that manifests name, and hold nothing but zeros where a row died."""
    manifests = [manifest for path in files(folder, ".json") if (manifest := named_by(path)) is not None]
    named = {entry.name: entry.live for manifest in manifests for entry in manifest.segments}
    assert {path.name for path in files(folder, ".seg")} == set(named)
    for path in files(folder, ".seg"):
        segment = Segment(path, D)
        dead = np.flatnonzero(segment.entries(np.arange(segment.layout.rows))["check"] == 0)
        assert segment.layout.rows - len(dead) == named[path.name]
        raw = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        layout, width = segment.layout, segment.layout.codec.bytes_vector
        for place in dead.tolist():
            before, own = segment.token_bytes(np.arange(place)).sum(), segment.token_bytes(np.array([place]))[0]
            for at, size in (
                (layout.entries + 32 * place, 32),
                (layout.product + width * place, width),
                (layout.vectors + 2 * D * place, 2 * D),
                (layout.tokens + int(before), int(own)),
            ):
                assert not raw[at : at + size].any()
