"""The command line as a whole: the table of commands, `--json`, exit codes, what is imported, and no tracebacks."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from recalld import __version__
from recalld.cli import COMMANDS, commands, main
from tests.processes import HASH, environment, run_recalld
from tests.recalld.cli.conftest import CommandLine

SLOW = {"onnxruntime", "fastapi", "uvicorn", "torch", "huggingface_hub", "numpy", "sqlalchemy", "alembic", "httpx2"}


def all_commands() -> dict[str, click.Command]:
    """Every command that does something, by its full name."""
    context = click.Context(commands)
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        command = commands.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= {f"{name} {sub}": below for sub, below in command.commands.items()}
        else:
            found[name] = command
    return found


def test_the_table_says_of_each_command_what_its_help_begins_with() -> None:
    context = click.Context(commands)
    for name, (_, summary) in COMMANDS.items():
        command = commands.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert " ".join((command.help or "").split("\n\n")[0].split()).startswith(summary), name


def test_every_command_that_is_promised_is_there_and_has_json() -> None:
    promised = {
        *("serve", "worker", "demo", "models list", "models pull", "models verify", "models remove", "add", "recall"),
        *(
            "context",
            "state",
            "chat",
            "stats",
            "doctor",
            "keys create",
            "keys list",
            "keys revoke",
            "reindex",
            "verify",
        ),
        *(
            "migrate",
            "erase",
            "export",
            "import",
            "backup",
            "restore",
            "consolidate",
            "jobs list",
            "jobs show",
            "jobs cancel",
            "jobs retry",
        ),
        *("erase", "export", "import", "backup", "restore"),
    }
    found = all_commands()
    assert set(found) == promised
    for name, command in found.items():
        assert "--json" in [option for parameter in command.params for option in parameter.opts], name


@pytest.mark.parametrize("name", sorted(all_commands()))
def test_every_command_has_help_for_itself_and_its_options(name: str) -> None:
    result = CliRunner().invoke(commands, [*name.split(), "--help"], prog_name="recalld")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: recalld {name} [OPTIONS]")
    for parameter in all_commands()[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, (name, parameter.name)


def test_version_and_help() -> None:
    assert CliRunner().invoke(commands, ["--version"]).stdout == f"recalld, version {__version__}\n"
    for arguments in (["--help"], ["-h"]):
        shown = CliRunner().invoke(commands, arguments).stdout
        assert all(f"\n  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "slow"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["models", "list"], set()),
        (["keys", "list"], {"sqlalchemy", "alembic"}),
    ],
)
def test_a_command_does_not_wait_for_what_it_does_not_need(
    arguments: list[str], slow: set[str], tmp_path: Path
) -> None:
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print(*sorted({SLOW!r} & sys.modules.keys()), file=sys.stderr))\n"
        f"sys.argv = ['recalld', *{arguments!r}]\n"
        "from recalld.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stderr.split()) == slow


def test_wrong_usage_ends_with_2_and_an_error_with_1(tmp_path: Path) -> None:
    wrong = run_recalld(tmp_path, "nonsense")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.endswith("Error: No such command 'nonsense'.\n")
    error = run_recalld(tmp_path, "keys", "revoke", "none")
    assert (error.returncode, error.stdout, error.stderr) == (1, "", "recalld: no key has this id or prefix\n")


def test_an_exit_code_of_a_command_is_that_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "recalld.db").write_bytes(b"x" * 10_000)
    assert run_recalld(tmp_path, "doctor", **HASH).returncode == 1


def test_an_argument_that_is_not_utf8_is_wrong_usage(tmp_path: Path) -> None:
    done = subprocess.run(
        [os.fsencode(sys.executable), b"-m", b"recalld", b"add", b"\xff\xfe"],
        env=environment(tmp_path, **HASH), cwd=tmp_path, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"Error: argument 2 is not UTF-8\n")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_that_the_terminal_cannot_show_does_not_end_the_command(tmp_path: Path, encoding: str) -> None:
    text = "Grüße aus 東京 🎈"
    shown = subprocess.run(
        [sys.executable, "-m", "recalld", "add", "-", "--json"],
        env=environment(tmp_path, PYTHONIOENCODING=encoding, **HASH), cwd=tmp_path, input=text.encode(),
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(shown.decode(encoding))["items"][0]["text"] == text
    plain = subprocess.run(
        [sys.executable, "-m", "recalld", "recall", "Grüße"],
        env=environment(tmp_path, PYTHONIOENCODING=encoding, **HASH), cwd=tmp_path, capture_output=True, check=True,
    )  # fmt: skip
    assert plain.stderr == b""
    assert text.encode(encoding, "backslashreplace") in plain.stdout


def test_a_reader_that_went_away_ends_the_command_quietly(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "recalld", "doctor", "--settings"],
        env=environment(tmp_path), cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, b"Traceback" in done.stderr) == (1, False)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"RECALLD_PORT": "many"}, "settings: port: "),
        ({"RECALLD_LOG_LEVEL": "loud"}, "settings: log_level: "),
        ({"RECALLD_CONFIG": "/no/such/file"}, "RECALLD_CONFIG names /no/such/file, which is not a file"),
        ({"RECALLD_DATABASE_URL": "nonsense"}, "database_url: not a database URL"),
        ({"RECALLD_DATABASE_URL": "postgresql://x/y"}, "database_url: this release stores memories in an SQLite file"),
        ({"RECALLD_DATABASE_URL": "sqlite:////dev/null/x.db"}, "File exists: /dev/null"),
        ({"RECALLD_DATA_DIR": "/dev/null/x"}, "data_dir: /dev/null/x cannot be made: Not a directory"),
        ({"RECALLD_ENCODER": "nonsense"}, "encoder: must be minilm, hash, or st:NAME_OR_FOLDER"),
        ({"RECALLD_LLM": "openai"}, "llm: with `openai`, RECALLD_LLM_URL and RECALLD_LLM_MODEL must be set"),
        ({"RECALLD_URL": "nonsense"}, "url: must be like http://127.0.0.1:7437"),
        ({"RECALLD_URL": "http://"}, "url: must be like http://127.0.0.1:7437"),
        ({"RECALLD_URL": "http://[::1"}, "url: must be like http://127.0.0.1:7437"),
        ({"RECALLD_URL": "ftp://127.0.0.1/"}, "url: must be like http://127.0.0.1:7437"),
        ({"RECALLD_URL": "http://127.0.0.1:9"}, "no answer from http://127.0.0.1:9: "),
        ({"RECALLD_URL": "http://127.0.0.1:9", "RECALLD_API_KEY": "ключ"}, "api_key: must be printable ASCII"),
    ],
)
def test_a_wrong_setting_is_one_line(recalld: CommandLine, settings: dict[str, str], says: str) -> None:
    assert recalld.error("chat", "hello", **settings).startswith(says)


def test_a_config_file_that_is_wrong_is_one_line(recalld: CommandLine) -> None:
    (recalld.folder / "recalld.toml").write_text("port = [")
    assert recalld.error("stats").startswith("recalld.toml: ")
    (recalld.folder / "recalld.toml").write_text("prot = 1")
    assert recalld.error("stats").startswith("settings: prot: ")


def test_ctrl_c_ends_with_130(recalld: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recalld.cli.data.open_api", interrupted)
    result = recalld("stats")
    assert (result.exit_code, result.output) == (130, "")


def test_arguments_drawn_at_random_never_end_in_a_traceback(recalld: CommandLine) -> None:
    draw = random.Random(20260314)
    words = [
        *(
            "",
            "-",
            "--",
            "--json",
            "--file",
            "--limit",
            "-1",
            "99999999999999999999",
            "--namespace",
            "--user",
            "\x1b[2J",
        ),
        *("🎈" * 40, "a" * 70_000, "..", "/dev/null", "/", "--expires", "9d", "[red]", "%s", "{}", "\u202e", "--once"),
        *(
            "--kind",
            "turn",
            "--token-budget",
            "1",
            "--as-of",
            "0001-01-01T00:00:00Z",
            "--occurred-at",
            "12",
            "nul\u0000",
        ),
    ]
    tried = sorted(set(all_commands()) - {"serve", "worker", "demo", "models pull", "reindex"})
    give_up = time.monotonic() + 20
    outcomes = set()
    for _ in range(150):
        arguments = [*draw.choice(tried).split(), *draw.choices(words, k=draw.randint(0, 4))]
        result = recalld(*arguments, stdin=draw.choice([b"", b"x", b"\xff"]))
        assert result.exit_code in (0, 1, 2), arguments
        assert "Traceback" not in result.output
        outcomes.add(result.exit_code)
        if time.monotonic() > give_up:
            break
    assert outcomes == {0, 1, 2}


def test_main_runs_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["recalld", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"recalld, version {__version__}\n")
