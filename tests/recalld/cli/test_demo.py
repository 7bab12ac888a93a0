"""`recalld demo` from the command line: its exit code, its JSON, and what it needs. The demo itself: `test_demo` of
`recalld`."""

import json

import pytest

from recalld.cli import demo as module
from tests.recalld.cli.conftest import CommandLine


@pytest.mark.parametrize(("lost", "code"), [(0, 0), (2, 1)])
def test_it_ends_with_1_where_a_memory_was_lost(
    recalld: CommandLine, monkeypatch: pytest.MonkeyPatch, lost: int, code: int
) -> None:
    given: list[tuple[dict[str, str], bool]] = []

    def run(_: object, environment: dict[str, str], chat: bool) -> int:
        given.append((environment, chat))
        return lost

    monkeypatch.setattr("recalld.demo.run", run)
    result = recalld("demo", "--json", RECALLD_URL="http://x", RECALLD_API_KEY="rk_x")
    assert (result.exit_code, json.loads(result.stdout)) == (code, {"lost_or_doubled": lost, "chat": False})
    [(environment, chat)] = given
    assert not chat, "there is no model"
    assert {"RECALLD_DATA_DIR", "RECALLD_URL", "RECALLD_API_KEY"}.isdisjoint(environment)
    assert environment["RECALLD_ENCODER"] == "hash"


def test_it_needs_the_sdk(recalld: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    says = "the demo uses the Python SDK: pip install recalld-client (in a checkout: ./client)"
    assert recalld.error("demo") == says
