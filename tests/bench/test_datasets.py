"""The loaders read upstream's formats, and what is wrong in them does not become evidence."""

import gzip
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench import files
from bench.corpora import hotpot, musique
from bench.datasets import Question, Turn, beam, fitting, locomo, longmemeval, questions, real_turns
from recalld.core.errors import ConfigError
from recalld.demo import conversation


def test_locomo_turns_are_in_order_with_speaker_time_and_photo(locomo_file: Path) -> None:
    (told,) = locomo(locomo_file)
    assert told.name == "conv-1"
    assert [turn.id for turn in told.turns] == ["D1:1", "D1:2", "D2:1", "D2:2", "D10:1"]
    assert told.turns[0] == Turn(
        "D1:1", "session_1", "Look at this! [photo: a lighthouse]", datetime(2023, 5, 8, 13, 56, tzinfo=UTC), "Ann"
    )
    assert told.turns[2].at == datetime(2023, 6, 1, 0, 5, tzinfo=UTC)


def test_locomo_evidence_is_split_cleaned_and_corrected_by_the_audit(locomo_file: Path) -> None:
    (told,) = locomo(locomo_file)
    assert [question.evidence for question in told.questions] == [
        {"D2:2"},
        {"D2:1", "D1:1"},
        {"D1:1"},
        frozenset(),
        {"D2:2"},
    ]
    asked_at = datetime(2023, 8, 2, 9, 30, tzinfo=UTC)
    sessions = frozenset({"session_1", "session_2"})
    assert told.questions[1] == Question("Where does Mona sleep?", "1", asked_at, told.questions[1].evidence, sessions)


def test_a_file_may_be_gzipped_or_given_by_its_folder(locomo_file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "locomo.json.gz").write_bytes(gzip.compress(locomo_file.read_bytes()))
    (packed / "audit.json").write_bytes((tmp_path / "audit.json").read_bytes())
    assert locomo(packed) == locomo(packed / "locomo.json.gz") == locomo(tmp_path) == locomo(locomo_file)


@pytest.mark.parametrize(
    ("load", "where"),
    [
        (locomo, "snap-research/locomo"),
        (longmemeval, "xiaowu0162/LongMemEval"),
        (partial(beam, "100K"), "mohammadtavakoli78/BEAM"),
        (hotpot, "hotpotqa.github.io"),
        (musique, "StonyBrookNLP/musique"),
    ],
)
def test_a_missing_data_set_says_where_to_get_it(
    load: Any, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "DATA", tmp_path / "nothing")
    for data in (None, tmp_path / "absent.json", tmp_path):
        with pytest.raises(ConfigError) as raised:
            load(data)
        assert where in raised.value.detail
        assert "--data PATH" in raised.value.detail


def test_longmemeval_names_sessions_and_where_it_can_turns(haystack: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "longmemeval_s.json"
    file.write_text(json.dumps([haystack]))
    (told,) = longmemeval(file)
    assert [(turn.id, turn.role, turn.session) for turn in told.turns] == [
        ("s1:0", "user", "s1"),
        ("s2:0", "user", "s2"),
    ]
    asked_at = datetime(2023, 5, 30, 23, 40, tzinfo=UTC)
    assert told.questions == (
        Question("What is my cat called?", "multi-session", asked_at, frozenset({"s2:0"}), frozenset({"s2"})),
    )


def test_a_haystack_may_have_several_questions(haystack: dict[str, Any], tmp_path: Path) -> None:
    several = haystack | {"questions": ["one?", "two?"], "answer_session_ids": [["s1"], ["s9"]]}
    file = tmp_path / "several.json"
    file.write_text(json.dumps([several]))
    (told,) = longmemeval(file)
    assert [(question.text, question.sessions) for question in told.questions] == [
        ("one?", frozenset({"s1"})),
        ("two?", frozenset()),
    ]


def test_a_date_that_is_written_otherwise_is_refused(haystack: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps([haystack | {"question_date": "30 May 2023"}]))
    with pytest.raises(ConfigError, match="a date is not written as"):
        longmemeval(file)


def test_beam_messages_have_the_dates_that_can_be_read_and_questions_are_asked_after_the_last(
    beam_folder: Path,
) -> None:
    (told,) = beam("100K", beam_folder)
    last = datetime(2024, 4, 5, tzinfo=UTC)
    assert told.name == "100K-7"
    assert told.turns[0] == Turn(
        "0", "0.0", "My canoe is red.", datetime(2024, 3, 15, tzinfo=UTC), speaker=None, role="user"
    )
    assert [turn.at for turn in told.turns[1:]] == [None, None, None, last, None, None]
    assert [(question.category, question.evidence, question.sessions) for question in told.questions] == [
        ("abstention", frozenset(), frozenset()),
        ("event_ordering", {"0", "3"}, {"0.0"}),
        ("knowledge_update", {"1"}, {"0.0"}),
        ("summarization", frozenset(), frozenset()),
    ]
    assert {question.asked_at for question in told.questions} == {last}


def test_upstreams_files_of_a_beam_chat_give_the_same(beam_folder: Path, beam_upstream: Path) -> None:
    same = beam("100K", beam_folder)
    assert beam("100K", beam_upstream) == beam("100K", beam_upstream / "chats") == same
    assert beam("100K", beam_upstream / "chats" / "100K" / "7" / "chat.json") == same


def test_beam_chats_are_in_the_order_of_their_numbers(beam_folder: Path) -> None:
    chat = (beam_folder / "500K" / "7.json.gz").read_bytes()
    for name in ("10", "9"):
        (beam_folder / "500K" / f"{name}.json.gz").write_bytes(chat)
    assert [told.name for told in beam("500K", beam_folder)] == ["500K-7", "500K-9", "500K-10"]


def test_sessions_of_distinct_chats_are_distinct_among_real_turns(
    beam_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "DATA", beam_folder.parent)
    turns, repeated = real_turns(14)
    assert repeated == 0
    assert [turn.session for turn in turns] == [
        f"{chat}:{session}" for chat in (0, 1) for session in ["0.0"] * 4 + ["0.1"] * 3
    ]


def test_a_text_is_cut_to_what_one_memory_holds() -> None:
    assert fitting("as it is") == "as it is"
    assert fitting("€" * 30_000) == "€" * 21_845


def test_without_data_sets_the_shipped_conversation_is_written_and_repeats_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "DATA", tmp_path)
    shipped = conversation()
    turns, repeated = real_turns(len(shipped) + 3)
    assert repeated == 3
    assert [turn.text for turn in turns] == [turn.text for turn in (*shipped, *shipped[:3])]
    assert turns[-1].session == f"1:{shipped[2].session_id}"
    assert real_turns(5) == (turns[:5], 0)
    asked = questions(20)
    assert len(set(asked)) == 20
    assert all(question.endswith("?") for question in asked)


def test_an_item_is_what_the_api_takes(locomo_file: Path) -> None:
    item = locomo(locomo_file)[0].turns[0].item()
    assert (item.text, item.speaker, item.external_id, item.scope.session_id) == (
        "Look at this! [photo: a lighthouse]",
        "Ann",
        "D1:1",
        "session_1",
    )
