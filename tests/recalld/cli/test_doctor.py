"""`recalld doctor`: what works, what is missing and the command that brings it; nothing of the data is changed."""

import hashlib
import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from recalld.cli import doctor as module
from recalld.core.config import Settings, settings_table
from tests.recalld.cli.conftest import CommandLine

Lines = dict[str, tuple[bool, str]]


def lines(recalld: CommandLine, code: int = 0, **settings: str) -> Lines:
    """The checks by name, as JSON tells them; the plain output has the same ones."""
    result = recalld("doctor", "--json", **settings)
    assert (result.exit_code, result.stderr) == (code, "")
    told = json.loads(result.stdout)
    assert list(told) == ["required", "optional"]
    checks = [*told["required"], *told["optional"]]
    assert all(list(check) == ["name", "ok", "detail"] for check in checks)
    marks = {True: "ok", False: "broken"}, {True: "ok", False: "missing"}
    words = [marks[0][c["ok"]] for c in told["required"]] + [marks[1][c["ok"]] for c in told["optional"]]
    shown = recalld("doctor", **settings).stdout.splitlines()
    assert [line.split()[0] for line in shown] == words
    assert [line[8:].strip().split(":")[0] for line in shown] == [check["name"] for check in checks]
    return {check["name"]: (check["ok"], check["detail"]) for check in checks}


def state(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".db-wal", ".db-shm")
    }


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr("recalld.bootstrap.find_spec", lambda name: None)


def test_on_a_new_machine_it_says_what_will_be_made_and_makes_nothing(recalld: CommandLine) -> None:
    found = lines(recalld)
    assert found["database"] == (True, "none yet: `recalld serve` makes it")
    assert found["index"] == (True, "none yet")
    assert found["server"] == (True, "not running: `recalld serve`")
    assert found["encoder"] == (True, "hash-256, 256 dimensions")
    assert [path.name for path in (recalld.folder / "data").iterdir()] == ["server.lock"]


def test_with_data_it_counts_and_changes_nothing(recalld: CommandLine) -> None:
    recalld.ok("add", "one")
    recalld.ok("add", "two", "--namespace", "acme")
    before = state(recalld.folder / "data")
    found = lines(recalld)
    assert found["database"] == (True, "schema 0007")
    assert found["index"] == (True, "2 vectors")
    assert found["address"] == (True, "127.0.0.1:7437")
    assert state(recalld.folder / "data") == before


@pytest.mark.usefixtures("nothing_installed")
def test_with_nothing_optional_installed_it_says_how_to_get_it_and_can_serve(recalld: CommandLine) -> None:
    found = lines(recalld, RECALLD_LLM="smollm2")
    need = "for chat with a local model: pip install 'recalld[llm]' (torch, gguf, jinja2 missing)"
    assert found["local model engine"] == (False, need)
    assert found["language model"][0] is False
    assert "pip install 'recalld[llm]'" in found["language model"][1]
    assert found["Python SDK"] == (False, "pip install recalld-client")


def test_a_missing_model_comes_with_the_command_that_brings_it(recalld: CommandLine) -> None:
    found = lines(recalld, RECALLD_LLM="gemma3-270m")
    assert found["language model"][0] is False
    assert found["language model"][1].endswith("run `recalld models pull gemma3-270m`")
    assert found["models"] == (True, "minilm")


def test_another_language_model_server_needs_its_address(recalld: CommandLine) -> None:
    assert lines(recalld, RECALLD_LLM="openai")["language model"] == (False, "set RECALLD_LLM_URL")
    url = {"RECALLD_LLM_URL": "http://127.0.0.1:8000/v1"}
    assert lines(recalld, RECALLD_LLM="openai", **url)["language model"] == (True, "http://127.0.0.1:8000/v1")


def test_a_damaged_database_is_broken_and_the_rest_is_checked_all_the_same(recalld: CommandLine) -> None:
    (recalld.folder / "data").mkdir()
    (recalld.folder / "data" / "recalld.db").write_bytes(b"not a database " * 1000)
    found = lines(recalld, code=1)
    assert found["database"] == (False, "the database could not be read: file is not a database")
    assert [name for name, (ok, _) in found.items() if not ok and name != "language model"] == ["database"]
    assert found["encoder"][0] is True


def test_an_address_beyond_loopback_needs_a_key(recalld: CommandLine) -> None:
    found = lines(recalld, code=1, RECALLD_HOST="0.0.0.0")
    need = "0.0.0.0 is not loopback: it needs a key: `recalld keys create --namespace NAME`"
    assert found["address"] == (False, need)
    recalld.ok("keys", "create", "--namespace", "acme")
    assert lines(recalld, RECALLD_HOST="0.0.0.0")["address"] == (True, "0.0.0.0:7437")


def test_a_damaged_index_is_broken(recalld: CommandLine) -> None:
    recalld.ok("add", "one")
    for manifest in (recalld.folder / "data" / "index").glob("*/manifest.json"):
        manifest.write_text("{")
    ok, detail = lines(recalld, code=1)["index"]
    assert not ok
    assert "`recalld reindex`" in detail


def test_an_encoder_that_is_not_there_is_broken(recalld: CommandLine) -> None:
    wrong = "encoder: must be minilm, hash, or st:NAME_OR_FOLDER"
    assert lines(recalld, code=1, RECALLD_ENCODER="nonsense")["encoder"] == (False, wrong)


def test_a_full_disk_is_broken(recalld: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 200_000_000))
    assert lines(recalld, code=1)["disk"] == (False, "0.2 GB free")


def test_a_data_folder_that_cannot_be_made_is_broken(recalld: CommandLine) -> None:
    (recalld.folder / "file").write_text("in the way")
    path = recalld.folder / "file" / "data"
    found = lines(recalld, code=1, RECALLD_DATA_DIR=str(path))
    assert found["data folder"] == (False, f"data_dir: {path} cannot be made: Not a directory")


def test_the_settings_are_told_as_a_table_and_as_json(recalld: CommandLine) -> None:
    assert recalld.ok("doctor", "--settings") == settings_table() + "\n"
    items = recalld.json("doctor", "--settings")["items"]
    assert [item["name"] for item in items] == [f"RECALLD_{name.upper()}" for name in Settings.model_fields]
    defaults = {item["name"]: item["default"] for item in items}
    assert (defaults["RECALLD_PORT"], defaults["RECALLD_DATA_DIR"]) == (7437, None)
