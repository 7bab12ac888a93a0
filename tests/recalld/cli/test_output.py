"""What reaches a terminal: no text of a memory, or of anybody else, can control it; JSON stays exact."""

import io
import json
import sys
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalld.cli import output
from tests.recalld.cli.conftest import CommandLine

HOSTILE = (
    "\x1b]0;title\x07",  # OSC: a window's title
    "\x1b[2J\x1b[1;1H",  # clears the screen
    "\x9b31m",  # CSI as one character
    "\x90q\x9c",  # DCS
    "\u202eterces\u202c",  # right-to-left override
    "\u2066x\u2069",  # isolates
    "\r\x08\x7f",
    "\U000e0041",  # a tag character
    "[bold]not bold[/bold] [link=http://x]y[/link] :smile:",  # rich's own markup
)
TEXT = "before " + " ".join(HOSTILE) + " after"
CONTROLS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def controls(text: str, kept: str = "") -> list[str]:
    return [c for c in text if unicodedata.category(c) in CONTROLS and c not in kept and c not in "\u200c\u200d"]


@given(st.text())
def test_tamed_text_has_no_control_character_and_its_length(text: str) -> None:
    tamed = output.tame(text)
    assert controls(tamed) == []
    assert len(tamed) == len(text)
    assert all(new in (old, " ") for old, new in zip(text, tamed, strict=True))


def test_what_is_spelt_with_joiners_and_what_is_kept_by_wish_stays() -> None:
    assert output.tame("می\u200cخواهم 👩\u200d🔬\n", kept="\n") == "می\u200cخواهم 👩\u200d🔬\n"


@pytest.mark.parametrize("options", [["recall", "before after"], ["recall", "before after", "--explain"]])
def test_recall_shows_hostile_text_without_its_effects(recalld: CommandLine, options: list[str]) -> None:
    recalld.json("add", TEXT, "--speaker", "Mallory \x1b[31m[red]", "--user", "u\x1b[2J")
    shown = recalld.ok(*options)
    assert controls(shown, "\n") == []
    assert "[bold]not bold[/bold] [link=http://x]y[/link] :smile:" in shown
    assert "Mallory  [31m[red]:" in shown


def test_context_and_stats_show_hostile_text_without_its_effects(recalld: CommandLine) -> None:
    recalld.json("add", TEXT)
    shown = recalld.ok("context", "before after")
    assert controls(shown, "\n\t") == []
    assert "not bold" in shown
    assert controls(recalld.ok("stats"), "\n") == []


def test_json_is_exact_and_has_no_control_character_either(recalld: CommandLine) -> None:
    shown = recalld.ok("add", TEXT, "--json")
    assert controls(shown, "\n") == []
    assert json.loads(shown)["items"][0]["text"] == TEXT


@given(st.text(), st.text())
def test_json_survives_any_text(key: str, value: str) -> None:
    kept, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        output.show_json({key: [value]})
        sys.stdout.flush()
        shown = sys.stdout.buffer.getvalue().decode()  # type: ignore[attr-defined]
    finally:
        sys.stdout = kept
    assert json.loads(shown) == {key: [value]}
    assert controls(shown, "\n") == []


def test_json_writes_times_and_paths_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_json({"at": datetime(2026, 3, 14, 9, tzinfo=UTC), "in": Path("/a/b"), "no": None})
    assert json.loads(capsys.readouterr().out) == {"at": "2026-03-14T09:00:00+00:00", "in": "/a/b", "no": None}


@pytest.mark.parametrize("arguments", [["models", "verify", "x\x1b[2J"], ["keys", "revoke", "[red]\x1b[2J"]])
def test_an_error_line_is_tame(recalld: CommandLine, arguments: list[str]) -> None:
    assert controls(recalld.error(*arguments)) == []


def test_a_keys_scope_is_shown_tame(recalld: CommandLine) -> None:
    recalld.ok("keys", "create", "--namespace", "acme", "--user-id", "\x1b[2J[red]x")
    assert "user_id= [2J[red]x" in recalld.ok("keys", "list")
