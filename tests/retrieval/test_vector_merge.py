"""Which segments are merged, and that no copy outlives the row that it was made of."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from recalld.core.errors import IndexDamaged
from retrieval import vector_merge
from retrieval.vector_faiss import SegmentedVectorIndex
from retrieval.vector_merge import to_merge
from retrieval.vector_segment_write import write_segment
from tests.retrieval.vector_folder import TINY, check_disk, files, gone, opened, put


@pytest.mark.parametrize(
    ("sizes", "chosen"),
    [
        ([], []),
        ([(8, 8)] * 3, []),
        ([(8, 8)] * 4, [0, 1, 2, 3]),
        # Smaller ones go with the class that is full, larger ones stay.
        ([(128, 128), (32, 32), (32, 32), (8, 8), (32, 32), (32, 32)], [1, 2, 3, 4, 5]),
        ([(512, 512), (32, 32), (8, 8), (8, 8), (8, 8)], []),
        # More dead than alive: written anew by itself.
        ([(128, 128), (50, 128), (3, 8)], [1]),
        ([(0, 8)], [0]),
        ([(4, 8)], []),
    ],
)
def test_a_class_that_is_full_is_merged_with_all_smaller_ones(sizes: list[tuple[int, int]], chosen: list[int]) -> None:
    assert to_merge(sizes, head_rows=8, fanout=4) == chosen


def test_merging_ends_and_takes_few_steps() -> None:
    """However rows come: a row is copied about once a class."""
    segments: list[int] = []
    copied = 0
    for _ in range(1000):
        segments.append(8)
        while chosen := to_merge([(size, size) for size in segments], head_rows=8, fanout=4):
            rows = sum(segments[number] for number in chosen)
            copied += rows
            segments = [size for number, size in enumerate(segments) if number not in chosen] + [rows]
    assert sum(segments) == 8000
    assert copied <= 8000 * np.log(1000) / np.log(4)
    assert len(segments) <= 4 * 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three segments that are to be merged."""
    index = opened(tmp_path, TINY)
    for start in (0, 10, 20):
        index.apply("n", [put(row, row + 1, 2, 3, codes=b"code %d" % row) for row in range(start, start + 5)])
    assert len(files(tmp_path, ".seg")) == 3
    return tmp_path


def everywhere(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_what_is_erased_during_a_merge_is_in_no_file_when_apply_returns(folder: Path) -> None:
    secret = put(12, 13, 2, 3)
    assert secret.vector is not None
    stored, seen = secret.vector.astype(np.float16).tobytes(), []

    def overtaken(*given: Any) -> None:
        write_segment(*given)
        seen.append(stored in everywhere(folder))
        if len(seen) == 1:
            opened(folder, TINY).apply("n", [gone(12)])
            assert stored not in everywhere(folder)
            assert b"code 12" not in everywhere(folder)

    with patch.object(vector_merge, "write_segment", overtaken):
        assert opened(folder, TINY).merge("n") == 1
    assert seen == [True, False]
    assert len(files(folder, ".seg")) == 1
    assert set(opened(folder, TINY).states("n")) == {*range(5), 10, 11, 13, 14, *range(20, 25)}
    check_disk(folder)


def test_the_copies_of_a_merge_that_was_killed_go_with_the_next_row_that_dies(folder: Path) -> None:
    def killed(*given: Any) -> None:
        write_segment(*given)
        raise KeyboardInterrupt

    index = opened(folder, TINY)
    with patch.object(vector_merge, "write_segment", killed), pytest.raises(KeyboardInterrupt):
        index.merge("n")
    assert len(files(folder, ".new")) == 1
    opened(folder, TINY).apply("n", [gone(3)])
    assert files(folder, ".new") == files(folder, "merge.json") == []
    assert opened(folder, TINY).merge("n") == 1
    check_disk(folder)


def test_a_rebuild_that_ends_during_a_merge_wins(folder: Path) -> None:
    def overtaken(*given: Any) -> None:
        write_segment(*given)
        if len(files(folder, ".seg")) == 3:
            with opened(folder, TINY).rebuild("n") as rebuild:
                rebuild.add([put(1, 7)])
                rebuild.finish()

    index = opened(folder, TINY)
    with patch.object(vector_merge, "write_segment", overtaken):
        assert index.merge("n") == 0
    for reader in (index, opened(folder, TINY)):
        assert set(reader.states("n")) == {1}
    check_disk(folder)


def test_two_do_not_merge_at_the_same_time(folder: Path) -> None:
    other: list[int] = []

    def overtaken(*given: Any) -> None:
        other.append(opened(folder, TINY).merge("n"))
        write_segment(*given)

    with patch.object(vector_merge, "write_segment", overtaken):
        assert opened(folder, TINY).merge("n") == 1
    assert other == [0]


def test_a_damaged_row_is_not_copied(folder: Path) -> None:
    index: SegmentedVectorIndex = opened(folder, TINY)
    path = files(folder, ".seg")[0]
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IndexDamaged, match=path.name):
        index.merge("n")
    assert len(files(folder, ".seg")) == 3
    assert files(folder, ".new") == files(folder, "merge.json") == []
    assert set(index.states("n")) == {row for start in (0, 10, 20) for row in range(start, start + 5)}


def test_rows_are_after_a_merge_what_they_were_before(folder: Path) -> None:
    index = opened(folder, TINY)
    assert index.merge("n") == 1
    for reader in (index, opened(folder, TINY)):
        rows, vectors = reader.vectors("n", np.arange(30))
        assert rows.tolist() == [row for start in (0, 10, 20) for row in range(start, start + 5)]
        assert vectors.tolist() == [[row + 1.0, 2.0, 3.0, 0.0, 0.0] for row in rows.tolist()]
        assert reader.codes("n", rows).bits.tobytes() == b"".join(b"code %d" % row for row in rows.tolist())
