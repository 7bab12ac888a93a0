"""README.md tells the truth: its Python runs as it stands, and every `recalld` and `make` command in it exists."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from click.testing import CliRunner

from api.app import create_app
from recalld.bootstrap import Parts, Service
from recalld.cli import commands
from recalld.core.config import load_settings
from recalld.llm.scripted import ScriptedModel

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    settings = load_settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", encoder="hash")
    service = Service(settings, Parts(llm=ScriptedModel(["You live in Lisbon."])))
    server = uvicorn.Server(uvicorn.Config(create_app(service), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_its_python_runs_and_says_what_it_promises(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    for code in blocks("python"):
        exec(code.replace("http://127.0.0.1:7437", url), names)
    printed = capsys.readouterr().out
    for name in ("client", "openai"):
        names[name].close()  # type: ignore[attr-defined]
    assert "I moved to Lisbon in March." in printed
    assert printed.endswith("You live in Lisbon.\n")


def test_every_recalld_command_in_it_exists() -> None:
    used = set(re.findall(r"(?:^|`|^  )recalld ([a-z]+)(?: ([a-z]+))?", README, re.MULTILINE))
    assert len(used) > 10
    for command, following in used:
        group = commands.get_command(None, command)  # type: ignore[arg-type]
        assert group is not None, command
        wanted = [command, following] if hasattr(group, "commands") else [command]
        assert CliRunner().invoke(commands, [*wanted, "--help"]).exit_code == 0, wanted


def test_every_make_target_in_it_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = set(re.findall(r"make ([a-z-]+)", README))
    assert {"demo", "test", "check", "bench"} <= used
    assert used <= targets
