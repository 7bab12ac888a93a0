"""Files that are swapped whole, locks that are told, headers that are checked, names for any namespace."""

from pathlib import Path

import pytest
from filelock import FileLock

from recalld.core.errors import Unavailable
from recalld.core.files import BESIDE, locked, name_of, seal, swap, unseal


def test_a_swapped_file_is_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.with_suffix(BESIDE).write_bytes(b"what a killed write left")
    for data in (b"one", b"", b"\0" * 5000):
        swap(path, data)
        assert path.read_bytes() == data
        assert [each.name for each in tmp_path.iterdir()] == ["a.bin"]


def test_a_lock_that_another_one_holds_is_told(tmp_path: Path) -> None:
    with (
        locked(FileLock(tmp_path / "lock"), 1.0, "unused"),
        pytest.raises(Unavailable, match="somebody writes"),
        locked(FileLock(tmp_path / "lock"), 0.0, "somebody writes"),
    ):
        raise AssertionError("both hold it")
    after = FileLock(tmp_path / "lock")
    with locked(after, 0.0, "unused"):
        assert after.is_locked
    assert not after.is_locked


def test_a_header_tells_what_it_was_given_and_whether_it_changed() -> None:
    raw = seal({"rows": 3, "name": "é"}, 256)
    assert len(raw) == 256
    assert unseal(raw) == ({"rows": 3, "name": "é"}, True)
    assert unseal(raw.replace(b"3", b"4", 1))[1] is False
    for other in (b"", b"\0" * 256, b"[1]", b"[1, 2]", b'{"a": 1, "b": 2}', b"\xff" * 9, raw[:20]):
        with pytest.raises(ValueError, match=r".+"):
            unseal(other)


def test_namespaces_have_names_of_their_own() -> None:
    names = {name_of(each) for each in ("default", "a/b", "../x", "港", "A", "a")}
    assert len(names) == 6
    assert all(each.isalnum() and len(each) == 32 for each in names)
