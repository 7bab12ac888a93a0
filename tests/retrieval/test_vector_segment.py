"""Segments on disk: every changed byte is seen, what died is zeros, and a cut file is an error."""

from pathlib import Path

import numpy as np
import pytest

from recalld.core.errors import IndexDamaged
from retrieval.ports import VectorChange
from retrieval.vector_faiss import SegmentedVectorIndex
from retrieval.vector_segment import Segment
from tests.retrieval.vector_folder import TINY, D, check_disk, files, gone, opened, put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six rows in one segment, none in the log."""
    folder = tmp_path / "vectors"
    opened(folder, TINY).apply("n", [put(row, row, 2, codes=b"code %d" % row) for row in range(6)])
    assert len(files(folder, ".seg")) == 1
    return folder


def everything(index: SegmentedVectorIndex) -> tuple[list[int], bytes, list[float]]:
    """What an index says of all its rows, each part of a segment read."""
    rows, _ = index.vectors("n", np.arange(10))
    scores = index.search("n", np.ones(D, dtype=np.float32), 10)[1]
    return rows.tolist(), index.codes("n", rows).bits.tobytes(), scores.tolist()


def test_every_changed_byte_of_a_segment_is_seen(folder: Path) -> None:
    [path] = files(folder, ".seg")
    right, wanted = path.read_bytes(), everything(opened(folder, TINY))
    layout = Segment(path, D).layout
    padding = range(layout.product + layout.rows * layout.codec.bytes_vector, layout.vectors)
    header = len(right[:4096].rstrip(b"\0"))
    for place in [*range(header + 2), *range(4096, len(right))]:
        if place in padding:
            continue
        path.write_bytes(right[:place] + bytes([right[place] ^ 0x04]) + right[place + 1 :])
        with pytest.raises(IndexDamaged, match=f"{path.name}.*recalld reindex"):
            everything(opened(folder, TINY))
    path.write_bytes(right)
    assert everything(opened(folder, TINY)) == wanted


@pytest.mark.parametrize("part", ["entries", "product", "vectors"])
def test_a_row_overwritten_with_zeros_that_nobody_deleted_is_damage(folder: Path, part: str) -> None:
    [path] = files(folder, ".seg")
    layout = Segment(path, D).layout
    begin, size = {
        "entries": (layout.entries, 32),
        "product": (layout.product, layout.codec.bytes_vector),
        "vectors": (layout.vectors, 2 * D),
    }[part]
    raw = bytearray(path.read_bytes())
    raw[begin : begin + size] = bytes(size)
    path.write_bytes(raw)
    with pytest.raises(IndexDamaged):
        everything(opened(folder, TINY))


@pytest.mark.parametrize("kept", [0, 100, 4096, 4300, -1])
def test_a_segment_that_is_cut_short_is_damage_whether_or_not_it_is_open(folder: Path, kept: int) -> None:
    index = opened(folder, TINY)
    everything(index)
    [path] = files(folder, ".seg")
    with path.open("r+b") as file:
        file.truncate(kept if kept >= 0 else path.stat().st_size - 1)
    for reader in (index, opened(folder, TINY)):
        with pytest.raises(IndexDamaged, match="recalld reindex"):
            reader.search("n", np.ones(D, dtype=np.float32), 3)


def test_a_missing_segment_is_damage(folder: Path) -> None:
    [path] = files(folder, ".seg")
    path.unlink()
    with pytest.raises(IndexDamaged, match="missing"):
        opened(folder, TINY).states("n")


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Eleven rows in one segment with inverted lists."""
    folder = tmp_path / "listed"
    index = opened(folder, TINY)
    for start in (0, 6):
        index.apply("n", [put(row, row, 2, codes=b"code %d" % row) for row in range(start, start + 6)])
    assert index.merge("n") == 1
    return folder


def test_every_changed_byte_of_the_lists_and_their_centroids_is_seen(listed: Path) -> None:
    [path] = files(listed, ".seg")
    right, layout = path.read_bytes(), Segment(path, D).layout
    assert (layout.lists, layout.end) == (1, len(right))
    for place in range(layout.list_numbers, len(right)):
        path.write_bytes(right[:place] + bytes([right[place] ^ 0x04]) + right[place + 1 :])
        with pytest.raises(IndexDamaged, match=f"{path.name}.*recalld reindex"):
            everything(opened(listed, TINY))


def test_a_row_that_died_leaves_its_list_too(listed: Path) -> None:
    assert len(files(listed, ".seg")) == 1
    before = everything(opened(listed, TINY))
    opened(listed, TINY).apply("n", [gone(3)])
    check_disk(listed)
    after = opened(listed, TINY)
    assert everything(after)[0] == [row for row in before[0] if row != 3]
    assert sorted(after.search("n", np.ones(D, dtype=np.float32), 20)[0].tolist()) == [*range(3), *range(4, 12)]


def test_what_is_deleted_or_replaced_leaves_the_segment_when_apply_returns(folder: Path) -> None:
    secret = put(2, 2, 2)
    assert secret.vector is not None
    [path] = files(folder, ".seg")
    stored = secret.vector.astype(np.float16).tobytes()
    assert stored in path.read_bytes()
    index = opened(folder, TINY)
    index.apply("n", [gone(2), put(3, 9, codes=b"new")])
    raw = path.read_bytes()
    assert stored not in raw
    assert b"code 2" not in raw
    assert b"code 3" not in raw
    check_disk(folder)
    rows, codes, _ = everything(opened(folder, TINY))
    assert rows == [0, 1, 3, 4, 5]
    assert codes == b"code 0code 1newcode 4code 5"


def test_a_segment_all_of_whose_rows_died_is_read_as_empty(folder: Path) -> None:
    opened(folder, TINY).apply("n", [gone(row) for row in range(6)])
    assert len(files(folder, ".seg")) == 1
    assert everything(opened(folder, TINY)) == ([], b"", [])
    opened(folder, TINY).apply("n", [put(9, 9, 2)])
    assert everything(opened(folder, TINY))[0] == [9]


def test_numbers_further_apart_than_four_bytes_hold_are_found(tmp_path: Path) -> None:
    rows = [0, 5, 2**33, 2**62, 2**63 - 1]
    index = opened(tmp_path, TINY)
    index.apply("n", [put(row, number + 1) for number, row in enumerate(rows)])
    assert len(files(tmp_path, ".seg")) == 1
    found, vectors = index.vectors("n", np.array([1, *rows]))
    assert found.tolist() == rows
    assert vectors[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    index.apply("n", [gone(2**62)])
    assert index.search("n", np.ones(D, dtype=np.float32), 9)[0].tolist() == [2**63 - 1, 2**33, 5, 0]


def test_a_segment_of_another_dimension_is_refused(folder: Path) -> None:
    other = SegmentedVectorIndex(folder, D + 3, "encoder-1", TINY)
    with pytest.raises(IndexDamaged, match="recalld reindex"):
        other.apply("n", [VectorChange(1, 1, b"12345678", np.ones(D + 3, dtype=np.float32))])
