"""`recalld demo`: what it shows is true, with chat and without, and it leaves nothing behind."""

import re
import tempfile
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from recalld_client import Recalld

from recalld import demo
from recalld.bootstrap.making import local_weights
from recalld.core.config import load_settings
from recalld.core.errors import FeatureNotInstalled, ModelMissing, Unavailable
from tests.processes import environment, run_recalld

SETTINGS = load_settings()


def why_not_chat() -> str:
    """What is missing for the chat answer; empty where nothing is."""
    try:
        local_weights(SETTINGS)
    except (FeatureNotInstalled, ModelMissing) as error:
        return error.detail
    return ""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary folders; afterwards it is empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert list(folder.iterdir()) == []


def check_shown(shown: str) -> None:
    """What every run has to show."""
    added = re.search(r"added (\d+) turns of (\d+) sessions in [\d.]+ s: durable, and searchable at once", shown)
    assert added is not None
    turns = demo.conversation()
    assert added.groups() == (str(len(turns)), str(len({turn.session_id for turn in turns})))
    assert "a high-energy show, playing at the Teatro Brancaccio." in shown
    assert "an average of 3 hours a day scrolling" in shown
    assert "I think I'll go with the Snake Plant." in shown
    for question in demo.QUESTIONS:
        answer = shown.partition(f"\n{question}")[2].split("\n\n")[0].splitlines()
        assert re.fullmatch(r"  \d+ ms", answer[0])
        assert "nothing here answers that" not in answer[1]
        assert len(answer) == 4, "three cited memories"
        assert all(re.fullmatch(r"  [01]\.\d\d \d{4}-\d\d-\d\d (user|assistant): .+ mem_\w{26}", a) for a in answer[1:])
    unanswered = shown.partition(f"\n{demo.UNANSWERED}")[2].split("\n\n")[0].splitlines()
    assert unanswered[1] == "  nothing here answers that; the nearest is:"
    killed = re.search(r"SIGKILL in the middle of a write burst, after (\d+) acknowledged writes", shown)
    assert killed is not None
    count = killed[1]
    assert int(count) > 0
    assert f"{count} of {count} acknowledged memories are there, 0 lost, 0 doubled" in shown
    assert 'recalld add "I moved to Lisbon in March." --user alice' in shown.splitlines()[-2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_shows_recall_honesty_and_durability_without_chat(tmp_path: Path, temporary: Path) -> None:
    done = run_recalld(tmp_path, "demo", RECALLD_LLM="none", seconds_max=600)
    assert (done.returncode, done.stderr) == (0, "")
    check_shown(done.stdout)
    assert "chat is left out: there is no local model: RECALLD_LLM is `none`" in done.stdout
    assert not (tmp_path / "data").exists(), "the user's data folder is not touched"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(why_not_chat() != "", reason=why_not_chat())
def test_it_shows_a_cited_chat_answer_where_it_can(tmp_path: Path, temporary: Path) -> None:
    done = run_recalld(tmp_path, "demo", RECALLD_MODELS_DIR=str(SETTINGS.models_dir), seconds_max=600)
    assert (done.returncode, done.stderr) == (0, "")
    check_shown(done.stdout)
    told = done.stdout.partition(f"chat: {demo.CHAT}")[2]
    answer = re.match(r"(.+?)\n  first words after ([\d.]+) s, from (\d+) cited memories", told, re.DOTALL)
    assert answer is not None
    assert len(answer[1].split()) >= 3
    assert float(answer[2]) > 0
    assert int(answer[3]) > 0


def test_the_conversation_is_whole() -> None:
    turns = demo.conversation()
    assert len(turns) == 413
    assert {turn.role for turn in turns} == {"user", "assistant"}
    assert all(turn.occurred_at.tzinfo is UTC and turn.text.strip() for turn in turns)
    first = turns[0].item()
    assert first["scope"] == {"session_id": turns[0].session_id}
    assert (first["text"], first["role"], first["occurred_at"]) == (turns[0].text, turns[0].role, turns[0].occurred_at)


def test_its_server_writes_to_its_own_folder_whatever_the_users_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    users = tmp_path / "users.db"
    (tmp_path / "recalld.toml").write_text(
        f'database_url = "sqlite:///{users}"\nhost = "0.0.0.0"\nworker = false\nencoder = "hash"\n'
    )
    folder = tmp_path / "demo"
    folder.mkdir()
    server = demo.Server(folder)
    given = {name: value for name, value in environment(tmp_path).items() if name != "RECALLD_DATA_DIR"}
    try:
        with Recalld(server.start(given)) as client:
            assert client.add("one").text == "one"
            assert client.stats().encoder["name"] == "hash-256", "the rest of the file counts"
        assert (folder / "recalld.db").exists()
        assert not users.exists()
    finally:
        server.stop()


def test_a_server_that_does_not_start_is_told_with_its_last_line(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    server = demo.Server(folder)
    try:
        with pytest.raises(Unavailable, match="the server did not start: recalld: encoder: must be minilm, hash, or"):
            server.start(environment(tmp_path, RECALLD_ENCODER="nonsense"))
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Short, and  with\nthe cat's name: Miso.", "Short, and with the cat's name: Miso."),
        ("Filler words here. " * 20 + "My cat is called Miso. More.", "My cat is called Miso. More."),
        ("My cat is Miso. " + "Filler words here. " * 20, "My cat is Miso. " + "Filler words here. " * 9 + "Filler …"),
    ],
)
def test_an_excerpt_shows_the_sentence_that_fits_the_question(text: str, shown: str) -> None:
    assert demo._excerpt(text, "What is my cat called?") == shown
