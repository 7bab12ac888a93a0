"""`recalld demo` from the command line: its exit code, its JSON, and what it needs. The demo itself: `test_demo` of
`recalld`."""

import json

import pytest
from recalld_client import ConnectionFailed

from recalld.cli import demo as module
from tests.recalld.cli.conftest import CommandLine


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, str], str]]:
    """What the demo was run with; it loses what the setting `RECALLD_LOST` says."""
    seen: list[tuple[dict[str, str], str]] = []

    def run(_: object, environment: dict[str, str], no_chat: str) -> int:
        seen.append((environment, no_chat))
        return int(environment["RECALLD_LOST"])

    monkeypatch.setattr("recalld.demo.run", run)
    return seen


@pytest.mark.parametrize(("lost", "code"), [("0", 0), ("2", 1)])
def test_it_ends_with_1_where_a_memory_was_lost(
    recalld: CommandLine, given: list[tuple[dict[str, str], str]], lost: str, code: int
) -> None:
    result = recalld("demo", "--json", RECALLD_LOST=lost, RECALLD_URL="http://x", RECALLD_API_KEY="rk_x")
    assert (result.exit_code, json.loads(result.stdout)) == (code, {"lost_or_doubled": int(lost), "chat": False})
    [(environment, no_chat)] = given
    assert no_chat == "there is no local model: RECALLD_LLM is `none`"
    assert {"RECALLD_DATA_DIR", "RECALLD_URL", "RECALLD_API_KEY"}.isdisjoint(environment)
    assert environment["RECALLD_ENCODER"] == "hash"


def test_it_chats_with_another_server_where_one_is_named(
    recalld: CommandLine, given: list[tuple[dict[str, str], str]]
) -> None:
    assert recalld.json("demo", RECALLD_LOST="0", RECALLD_LLM="openai") == {"lost_or_doubled": 0, "chat": True}
    assert given[0][1] == ""


def test_what_goes_wrong_with_its_server_is_one_line(recalld: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> int:
        raise ConnectionFailed("the connection was cut")

    monkeypatch.setattr("recalld.demo.run", run)
    assert recalld.error("demo") == "the connection was cut"


def test_it_needs_the_sdk(recalld: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    says = "the demo uses the Python SDK: pip install recalld-client (in a checkout: ./client)"
    assert recalld.error("demo") == says
