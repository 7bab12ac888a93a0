"""`recalld models`: the weights in the models folder, from the command line. What they do is tested in `test_models`
of `recalld`."""

import hashlib
from pathlib import Path

import pytest

from tests.recalld.cli.conftest import CommandLine

WEIGHTS = b"weights" * 1000


@pytest.fixture
def mine(recalld: CommandLine) -> Path:
    """A model of the user's own, pulled from a file."""
    source = recalld.folder / "own.gguf"
    source.write_bytes(WEIGHTS)
    path = recalld.folder / "models" / "mine" / "own.gguf"
    assert recalld.json("models", "pull", "mine", "--from", str(source)) == {"name": "mine", "path": str(path)}
    return path


def test_list_says_what_there_is_and_what_is_here(recalld: CommandLine, mine: Path) -> None:
    items = {item["name"]: item for item in recalld.json("models", "list")["items"]}
    assert list(items) == ["minilm", "minilm-st", "smollm2", "gemma3-270m", "mine"]
    assert list(items["mine"]) == [
        *("name", "purpose", "licence", "licence_url", "source", "bytes", "path", "bundled", "must_accept"),
    ]
    assert (items["mine"]["path"], items["mine"]["bytes"]) == (str(mine), len(WEIGHTS))
    assert (items["minilm"]["bundled"], items["smollm2"]["path"]) == (True, None)
    shown = recalld.ok("models", "list").splitlines()
    assert [line.split()[0] for line in shown] == list(items)
    starts = {line.index("MB") for line in shown}
    assert len(starts) == 1, "the columns are below one another"
    assert "not here" in shown[2]


def test_verify_reads_every_byte_and_ends_with_1_on_a_difference(recalld: CommandLine, mine: Path) -> None:
    assert recalld.ok("models", "verify", "mine") == "mine/own.gguf: ok\n"
    mine.write_bytes(WEIGHTS[:-1] + b"x")
    result = recalld("models", "verify", "mine")
    assert (result.exit_code, result.stdout) == (1, "mine/own.gguf: wrong sha256\n")
    assert hashlib.sha256(WEIGHTS).hexdigest() not in result.stdout


def test_verify_without_a_name_is_of_all_that_are_here(recalld: CommandLine, mine: Path) -> None:
    items = recalld.json("models", "verify")["items"]
    assert items == [
        {"model": "minilm", "file": "model.onnx", "state": "ok"},
        {"model": "mine", "file": mine.name, "state": "ok"},
    ]


def test_remove_frees_the_disk(recalld: CommandLine, mine: Path) -> None:
    assert recalld.json("models", "remove", "mine")["freed_bytes"] >= len(WEIGHTS)
    assert not mine.exists()
    assert recalld.error("models", "remove", "mine") == f"the model mine is not in {mine.parent.parent}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "nonsense"], "no model of that name; known are "),
        (["pull", "nonsense"], "no model of that name; known are "),
        (["pull", "../x"], "name: must be 1 to 64 of "),
        (["pull", "x", "--from", "hub:nonsense"], "source: must be hub:OWNER/REPO"),
        (["pull", "x", "--from", "/no/such/file"], "source: is not a file of this machine"),
        (["pull", "gemma3-270m"], "accept_licence: read https://ai.google.dev/gemma/terms (Gemma Terms of Use)"),
    ],
)
def test_what_is_wrong_is_one_line(recalld: CommandLine, arguments: list[str], says: str) -> None:
    assert recalld.error("models", *arguments).startswith(says)
    assert not (recalld.folder / "models" / "x").exists()


def test_a_models_folder_in_the_data_folder_is_refused(recalld: CommandLine) -> None:
    inside = str(recalld.folder / "data" / "models")
    says = "models_dir: must not be inside data_dir, which holds one instance's memories"
    assert recalld.error("models", "list", RECALLD_MODELS_DIR=inside) == says
