"""The loaders read upstream's formats, and what is wrong in them does not become evidence."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench import datasets
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


@pytest.mark.parametrize(("load", "where"), [(locomo, "snap-research/locomo"), (longmemeval, "xiaowu0162/LongMemEval")])
def test_a_missing_data_set_says_where_to_get_it(
    load: Any, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "DATA", tmp_path / "nothing")
    for data in (None, tmp_path / "absent.json", tmp_path):
        with pytest.raises(ConfigError) as raised:
            load(data)
        assert where in raised.value.detail
        assert "--data PATH" in raised.value.detail


HAYSTACK: dict[str, Any] = {
    "question_id": "q1",
    "question_type": "multi-session",
    "question": "What is my cat called?",
    "question_date": "2023/05/30 (Tue) 23:40",
    "answer_session_ids": ["s2"],
    "haystack_session_ids": ["s1", "s2"],
    "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 10:00"],
    "haystack_sessions": [
        [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "  "}],
        [{"role": "user", "content": "My cat is Mona.", "has_answer": True}],
    ],
}


def test_longmemeval_names_sessions_and_where_it_can_turns(tmp_path: Path) -> None:
    file = tmp_path / "longmemeval_s.json"
    file.write_text(json.dumps([HAYSTACK]))
    (told,) = longmemeval(file)
    assert [(turn.id, turn.role, turn.session) for turn in told.turns] == [
        ("s1:0", "user", "s1"),
        ("s2:0", "user", "s2"),
    ]
    asked_at = datetime(2023, 5, 30, 23, 40, tzinfo=UTC)
    assert told.questions == (
        Question("What is my cat called?", "multi-session", asked_at, frozenset({"s2:0"}), frozenset({"s2"})),
    )


def test_a_haystack_may_have_several_questions(tmp_path: Path) -> None:
    several = HAYSTACK | {"questions": ["one?", "two?"], "answer_session_ids": [["s1"], ["s9"]]}
    file = tmp_path / "several.json"
    file.write_text(json.dumps([several]))
    (told,) = longmemeval(file)
    assert [(question.text, question.sessions) for question in told.questions] == [
        ("one?", frozenset({"s1"})),
        ("two?", frozenset()),
    ]


def test_a_date_that_is_written_otherwise_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps([HAYSTACK | {"question_date": "30 May 2023"}]))
    with pytest.raises(ConfigError, match="a date is not written as"):
        longmemeval(file)


def test_beam_chats_keep_their_sessions_apart(tmp_path: Path) -> None:
    for name in ("1", "2"):
        message = {"id": 0, "role": "user", "text": f"text {name}", "sess": 3, "date": None}
        (tmp_path / "100K").mkdir(exist_ok=True)
        (tmp_path / "100K" / f"{name}.json.gz").write_bytes(gzip.compress(json.dumps({"msgs": [message]}).encode()))
    assert [(turn.id, turn.session, turn.text) for turn in beam(tmp_path)] == [
        ("100K-1:0", "100K-1:3", "text 1"),
        ("100K-2:0", "100K-2:3", "text 2"),
    ]


def test_a_text_is_cut_to_what_one_memory_holds() -> None:
    assert fitting("as it is") == "as it is"
    assert fitting("€" * 30_000) == "€" * 21_845


def test_without_data_sets_the_shipped_conversation_is_written_and_repeats_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "DATA", tmp_path)
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
