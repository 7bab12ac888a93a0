"""What the tests of the exact vector index share: short changes, and a look at the files."""

from pathlib import Path

import numpy as np

from retrieval.ports import VectorChange
from retrieval.vector_exact import ExactIndexSettings, ExactVectorIndex
from retrieval.vector_format import PUT, named_by, record_type

D = 5
DIGEST = b"12345678"
SMALL = ExactIndexSettings(lock_seconds_max=5, dead_records_min=6)


def opened(folder: Path) -> ExactVectorIndex:
    return ExactVectorIndex(folder, D, "encoder-1", SMALL)


def put(row: int, *values: float) -> VectorChange:
    vector = np.zeros(D, dtype=np.float32)
    vector[: len(values)] = values
    return VectorChange(row, 1, DIGEST, vector)


def gone(row: int) -> VectorChange:
    return VectorChange(row, 1, DIGEST, None)


def files(folder: Path, suffix: str) -> list[Path]:
    return sorted(folder.glob(f"*/*{suffix}"))


def check_disk(folder: Path) -> None:
    """Logs hold committed bytes only, and nothing but zeros in the body of a record that another one killed."""
    manifests = [manifest for path in files(folder, ".json") if (manifest := named_by(path)) is not None]
    assert {path.name for path in files(folder, ".log")} == {manifest.log for manifest in manifests}
    for path in files(folder, ".log"):
        manifest = next(manifest for manifest in manifests if manifest.log == path.name)
        data = path.read_bytes()
        assert len(data) == manifest.committed
        records = np.frombuffer(data, dtype=record_type(D))
        live = np.count_nonzero(records["operation"] == PUT)
        for killed in records["killed"][records["killed"] >= 0].tolist():
            dead = records[killed // records.dtype.itemsize]
            live -= dead["operation"] == PUT
            assert not dead["vector"].any()
            assert (dead["digest"], dead["version"], dead["check_body"]) == (0, 0, 0)
        assert live == manifest.rows
