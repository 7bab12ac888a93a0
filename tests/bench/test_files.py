"""Files are found where they are said to be, and read in each form that upstream has."""

import gzip
from pathlib import Path

import pytest

from bench import files
from recalld.core.errors import ConfigError


def test_json_lines_and_gzip_are_told_apart(tmp_path: Path) -> None:
    for name, content in (
        ("a.json", b'[{"a": 1}, {"a": 2}]'),
        ("a.jsonl", b'{"a": 1}\n\n{"a": 2}\n'),
        ("a.json.gz", gzip.compress(b'[{"a": 1}, {"a": 2}]')),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n{"a": 2}\n')),
    ):
        (tmp_path / name).write_bytes(content)
        assert files.read(tmp_path / name) == [{"a": 1}, {"a": 2}], name


def test_the_first_of_the_names_that_a_folder_holds_is_taken(tmp_path: Path) -> None:
    for name in ("b.json", "c.json"):
        (tmp_path / name).write_text("[]")
    assert files.find(tmp_path, "it", ("a.json", "b.json", "c.json"), "there") == tmp_path / "b.json"
    assert files.find(tmp_path / "c.json", "it", ("b.json",), "there") == tmp_path / "c.json"
    with pytest.raises(ConfigError, match=r"^it is not here\. Get it from there,"):
        files.find(tmp_path, "it", ("a.json",), "there")
