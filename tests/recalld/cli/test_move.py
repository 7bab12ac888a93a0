"""`erase`, `export`, `import`: what is asked for goes, and it says so; what is the caller's own can leave."""

import json

import pytest

from tests.recalld.cli.conftest import CommandLine


@pytest.fixture
def filled(recalld: CommandLine) -> CommandLine:
    recalld.ok("add", "The quokka sleeps in the pantry.", "--user", "ann")
    recalld.ok("add", "The walrus sings.", "--user", "bob")
    return recalld


def count(recalld: CommandLine) -> int:
    return int(recalld.json("stats")["memories"].get("active", 0))


def test_a_scope_is_counted_and_then_erased(filled: CommandLine) -> None:
    assert filled.json("erase", "--user", "ann", "--dry-run")["memories"] == 1
    assert count(filled) == 2
    receipt = filled.json("erase", "--user", "ann", "--yes")
    assert (receipt["state"], receipt["removed"]["memories"], receipt["rescan"]["clean"]) == ("succeeded", 1, True)
    data = filled.folder / "data"
    assert [path for path in data.rglob("*") if path.is_file() and b"quokka" in path.read_bytes()] == []
    assert "none is left" in filled.ok("erase", "--filter", '{"user_id": "bob"}', "--yes")
    assert count(filled) == 0


def test_everything_needs_a_word_where_nobody_can_be_asked(filled: CommandLine) -> None:
    refused = filled("erase", "--everything")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert count(filled) == 2
    assert filled.json("erase", "--everything", "--yes")["memories"] == 2


@pytest.mark.parametrize("given", [[], ["mem_x", "--everything"], ["--user", "ann", "--filter", "{}"]])
def test_not_exactly_one_target_is_a_usage_error(filled: CommandLine, given: list[str]) -> None:
    assert filled("erase", "--yes", *given).exit_code == 2
    assert count(filled) == 2


def test_a_file_goes_out_and_into_another_instance(filled: CommandLine) -> None:
    file = filled.folder / "out.ndjson"
    told = filled.json("export", str(file), "--vectors")
    assert told == {"file": str(file), "bytes": file.stat().st_size}
    elsewhere = {"RECALLD_DATA_DIR": str(filled.folder / "elsewhere")}
    done = filled.json("import", str(file), **elsewhere)
    assert (done["added"], done["unchanged"]) == (2, 0)
    assert filled.ok("import", str(file), **elsewhere) == "2 unchanged\n"
    assert filled.json("verify", **elsewhere)["clean"]
    lines = [json.loads(line) for line in filled.ok("export", "--user", "ann").splitlines()]
    assert [line["memory"]["scope"] for line in lines if "memory" in line] == [{"user_id": "ann"}]


def test_a_broken_file_is_one_line_with_its_place(filled: CommandLine) -> None:
    file = filled.folder / "out.ndjson"
    filled.ok("export", str(file))
    file.write_bytes(file.read_bytes()[:-30])
    assert filled.error("import", str(file)).startswith("line 6: ")


def test_an_export_replaces_no_file(filled: CommandLine) -> None:
    file = filled.folder / "out.ndjson"
    file.write_text("mine")
    assert "exists" in filled.error("export", str(file))
    assert file.read_text() == "mine"
