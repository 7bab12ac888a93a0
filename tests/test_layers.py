"""The layers hold: import-linter's contracts (`.importlinter`), and what it can not see by itself.

import-linter does not notice a package that nobody listed (`exhaustive` needs one container, and the roots are
several), so a test does. Each contract is also run on a small tree that breaks it: one that can not fail is none.
"""

import configparser
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / ".importlinter"
TOP_LEVEL = ("memory", "retrieval", "compress", "api", "recalld")
NOT_SERVER = {"tests", "bench", "client", "alembic", "docs"}
"""Folders that no layer may import (see `test_house_rules.py`): they are not shipped with the server."""


def layers(config: Path) -> list[set[str]]:
    """Each layer's modules, the top one first."""
    parser = configparser.ConfigParser()
    parser.read_string(config.read_text())
    lines = parser["importlinter:contract:layers"]["layers"].split("\n")
    return [{name.strip(" ()") for name in line.split("|")} for line in lines if line.strip()]


def packages_in(root: Path) -> set[str]:
    """The packages of a folder that hold code, by name."""
    folders = (path for path in root.iterdir() if path.is_dir() and path.name.isidentifier())
    return {path.name for path in folders if any(path.rglob("*.py"))}


def unlisted(root: Path, listed: set[str]) -> set[str]:
    """Top-level packages, and children of `recalld`, that no layer names."""
    modules = {path.stem for path in (root / "recalld").glob("*.py")} - {"__init__", "__main__"}
    children = {f"recalld.{name}" for name in modules | packages_in(root / "recalld")}
    return (packages_in(root) - NOT_SERVER - {"recalld"} | children) - listed


def lint(folder: Path, config: Path) -> tuple[int, str]:
    """Exit status and output of import-linter, run in `folder`."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = ["--config", str(config), "--no-cache", "--no-logo"]
    run = subprocess.run(
        [sys.executable, "-c", command, *options], cwd=folder, capture_output=True, text=True, check=False
    )
    return run.returncode, run.stdout + run.stderr


def test_every_package_is_in_a_layer() -> None:
    assert unlisted(ROOT, set().union(*layers(CONFIG))) == set()


def test_a_package_that_is_in_no_layer_is_noticed(tmp_path: Path) -> None:
    for path in (
        "memory/a.py",
        "tests/a.py",
        "recalld/__init__.py",
        "recalld/core/a.py",
        "recalld/new.py",
        "extra/a/b.py",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert unlisted(tmp_path, {"memory", "recalld.core"}) == {"extra", "recalld.new"}


def test_the_import_contracts_hold() -> None:
    status, output = lint(ROOT, CONFIG)
    assert status == 0, output


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """Empty modules for every name in the configuration: a tree that keeps all contracts."""
    exceptions = re.findall(r"^    ([a-z_.]+)(?:\.\*\*)? -> ", CONFIG.read_text(), re.MULTILINE)
    for name in {*set().union(*layers(CONFIG)), *(name.rstrip(".*") for name in exceptions)}:
        folder = tmp_path
        for part in name.split("."):
            folder /= part
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").touch()
    return tmp_path


BREACHES = {
    "imports go down only": ("recalld/core", "import memory"),
    "torch, triton and gguf only": ("compress", "import torch.nn"),
    "faiss only in": ("retrieval", "import faiss"),
    "FastAPI only in": ("recalld/jobs", "from starlette.responses import Response"),
    "SQL only in": ("recalld/bootstrap", "from sqlalchemy import text"),
    "the server does not import its own client": ("api", "import recalld_client"),
}


def test_each_contract_can_fail_and_none_does_without_a_breach(skeleton: Path) -> None:
    status, output = lint(skeleton, CONFIG)
    assert (status, output.count(" KEPT")) == (0, len(BREACHES)), output
    for folder, statement in BREACHES.values():
        (skeleton / folder / "__init__.py").write_text(f"{statement}\n")
    status, output = lint(skeleton, CONFIG)
    assert (status, output.count(" BROKEN")) == (1, len(BREACHES)), output


def test_what_the_contracts_allow_is_allowed(skeleton: Path) -> None:
    for folder, statement in {
        "compress/kv": "import torch",
        "recalld/llm": "import torch",
        "retrieval/encode_st": "import sentence_transformers",
        "retrieval/vector_faiss": "import faiss",
        "api": "import fastapi, memory, recalld.bootstrap",
        "recalld/jobs/queue": "import sqlalchemy",
        "recalld/core/db": "import sqlalchemy, alembic",
        "recalld/demo": "import recalld_client, recalld.core",
        "recalld/cli": "import recalld_client, recalld.demo, api",
    }.items():
        (skeleton / folder / "__init__.py").write_text(f"{statement}\n")
    status, output = lint(skeleton, CONFIG)
    assert status == 0, output


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("recalld.cli", "api"),
        ("api", "recalld.bootstrap"),
        ("recalld.bootstrap", "recalld.jobs"),
        ("recalld.jobs", "memory"),
        ("memory", "retrieval"),
        ("retrieval", "compress"),
        ("recalld.llm", "compress"),
        ("compress", "recalld.core"),
        ("recalld.bootstrap", "recalld.models"),
        ("recalld.models", "recalld.core"),
    ],
)
def test_the_layers_are_in_the_order_of_the_design(above: str, below: str) -> None:
    level = {name: number for number, names in enumerate(layers(CONFIG)) for name in names}
    assert level[above] < level[below]


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_a_top_level_name_is_ours_and_nobody_elses(name: str) -> None:
    """Such plain names can be taken by another distribution: then half of the server would be foreign code."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None, f"{name} has no __init__.py"
    origin = Path(spec.origin).resolve()
    if origin.is_relative_to(ROOT):
        assert origin == ROOT / name / "__init__.py"
        return
    shipped = importlib.metadata.files("recalld") or []
    assert origin in {Path(str(path.locate())).resolve() for path in shipped}


def test_the_wheel_ships_the_top_level_packages_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(TOP_LEVEL)
    assert set().union(*layers(CONFIG)) >= set(TOP_LEVEL) - {"recalld"}
