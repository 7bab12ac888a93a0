"""Small data sets in the formats of upstream."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

LOCOMO: list[dict[str, Any]] = [
    {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ann",
            "speaker_b": "Bob",
            "session_2_date_time": "12:05 am on 1 June, 2023",
            "session_2": [
                {"speaker": "Ann", "dia_id": "D2:1", "text": "My cat Mona sleeps on the piano."},
                {"speaker": "Bob", "dia_id": "D2:2", "text": "I bought a red canoe yesterday."},
            ],
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ann", "dia_id": "D1:1", "text": "Look at this!", "blip_caption": "a lighthouse"},
                {"speaker": "Bob", "dia_id": "D1:2", "text": "Nice weather today."},
            ],
            "session_10": [{"speaker": "Bob", "dia_id": "D10:1", "text": "The last word."}],
            "session_10_date_time": "9:30 am on 2 August, 2023",
        },
        "session_summary": {"session_1_summary": "never read"},
        "qa": [
            {"question": "What did Bob buy?", "answer": "a canoe", "evidence": ["D2:2"], "category": 4},
            {"question": "Where does Mona sleep?", "evidence": ["D2:1; D1:1", "D9:9", "D2:1 D"], "category": 1},
            {"question": "Which photo did Ann show?", "evidence": ["D10:1"], "category": 2},
            {"question": "What is unknown?", "evidence": ["D:"], "category": 3},
            {"question": "What did Ann buy?", "evidence": ["D2:2"], "category": 5},
        ],
    }
]
AUDIT = [
    {"sample_id": "conv-1", "qa_index": 2, "correct_evidence": ["D1:1"]},
    {"sample_id": "conv-1", "qa_index": 0, "correct_evidence": []},
]


@pytest.fixture
def locomo_file(tmp_path: Path) -> Path:
    """LoCoMo as upstream gives it, with an audit beside it."""
    (tmp_path / "audit.json").write_text(json.dumps(AUDIT))
    file = tmp_path / "locomo10.json"
    file.write_text(json.dumps(LOCOMO))
    return file


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
# Two exchanges of one session, then one of another that the user begins with two messages.
BEAM_CHAT: dict[str, Any] = {
    "name": "7",
    "msgs": [
        {"id": 0, "role": "user", "text": "My canoe is red.", "sess": "0.0", "date": "March-15-2024"},
        {"id": 1, "role": "assistant", "text": "A red canoe is easy to see.", "sess": "0.0", "date": None},
        {"id": 2, "role": "user", "text": "Mona the cat sleeps on the piano.", "sess": "0.0", "date": None},
        {"id": 3, "role": "assistant", "text": "Cats like warm places.", "sess": "0.0", "date": "in spring"},
        {"id": 4, "role": "user", "text": "The lighthouse tour was long.", "sess": "0.1", "date": "April-05-2024"},
        {"id": 5, "role": "user", "text": "And the stairs were steep.", "sess": "0.1", "date": None},
        {"id": 6, "role": "assistant", "text": "Lighthouses often are.", "sess": "0.1", "date": None},
    ],
    "qs": [
        {"id": "a", "type": "abstention", "q": "Which guitar do I play?", "a": "", "ev": [], "rubric": []},
        {"id": "b", "type": "event_ordering", "q": "The canoe and the piano?", "a": "", "ev": [0, 3], "rubric": []},
        {"id": "c", "type": "knowledge_update", "q": "Is my canoe red?", "a": "", "ev": [1], "rubric": []},
        {"id": "d", "type": "summarization", "q": "What of it all?", "a": "", "ev": [], "rubric": []},
    ],
}
# The same chat as upstream has it, in two files; a plan's number ends some messages, evidence is nested in places.
BEAM_UPSTREAM: list[dict[str, Any]] = [
    {
        "batch_number": 1,
        "turns": [
            [
                {"role": "user", "id": 0, "time_anchor": "March-15-2024", "content": "My canoe is red. ->-> 1,1"},
                {"role": "assistant", "id": 1, "content": "A red canoe is easy to see."},
                {"role": "user", "id": 2, "content": "Mona the cat sleeps on the piano."},
                {"role": "assistant", "id": 3, "time_anchor": "in spring", "content": "Cats like warm places."},
            ],
            [
                {"role": "user", "id": 4, "time_anchor": "April-05-2024", "content": "The lighthouse tour was long."},
                {"role": "user", "id": 5, "content": "And the stairs were steep. ->-> 1,12"},
                {"role": "assistant", "id": 6, "content": "Lighthouses often are."},
            ],
        ],
    }
]
BEAM_PROBING: dict[str, list[dict[str, Any]]] = {
    "summarization": [{"question": "What of it all?", "source_chat_ids": None}],
    "knowledge_update": [{"question": "Is my canoe red?", "source_chat_ids": {"updated_info": [1]}}],
    "event_ordering": [{"question": "The canoe and the piano?", "source_chat_ids": [0, 3]}],
    "abstention": [{"question": "Which guitar do I play?"}],
}
HOTPOT: list[dict[str, Any]] = [
    {
        "question": "Which river runs through the city of the red canoe museum?",
        "type": "bridge",
        "supporting_facts": [["Canoe museum", 0], ["Porto", 1]],
        "context": [
            ["Canoe museum", ["The red canoe museum is in Porto.", " It opened in 1950."]],
            ["Porto", ["Porto is a city.", " The Douro river runs through it."]],
            ["Piano", ["A piano has strings."]],
        ],
    },
    {
        "question": "Which has strings, a piano or a lighthouse?",
        "type": "comparison",
        "supporting_facts": [["Piano", 0], ["Lighthouse", 0]],
        "context": [["Piano", ["A piano has strings."]], ["Lighthouse", ["A lighthouse is a tower with a lamp."]]],
    },
]
MUSIQUE: list[dict[str, Any]] = [
    {
        "id": "3hop1__1_2_3",
        "question": "Who sailed the canoe?",
        "paragraphs": [
            {"idx": 0, "title": "Canoe", "paragraph_text": "A boat.", "is_supporting": False},
            {"idx": 1, "title": "Canoe", "paragraph_text": "A film of 1999.", "is_supporting": True},
            {"idx": 2, "title": "Bob", "paragraph_text": "Bob sails.", "is_supporting": True},
        ],
    },
    {
        "id": "2hop__1_2",
        "question": "Who is Bob?",
        "paragraphs": [{"idx": 0, "title": "Bob", "paragraph_text": "Bob sails.", "is_supporting": True}],
    },
]


@pytest.fixture
def beam_folder(tmp_path: Path) -> Path:
    """A folder with one chat of BEAM in each size; beside it nothing else."""
    for size in ("100K", "500K"):
        (tmp_path / "beam" / size).mkdir(parents=True)
        (tmp_path / "beam" / size / "7.json.gz").write_bytes(gzip.compress(json.dumps(BEAM_CHAT).encode()))
    return tmp_path / "beam"


@pytest.fixture
def beam_upstream(tmp_path: Path) -> Path:
    """The same chat as `beam_folder` has, in upstream's folders."""
    chat = tmp_path / "upstream" / "chats" / "100K" / "7"
    (chat / "probing_questions").mkdir(parents=True)
    (chat / "chat.json").write_text(json.dumps(BEAM_UPSTREAM))
    (chat / "probing_questions" / "probing_questions.json").write_text(json.dumps(BEAM_PROBING))
    return tmp_path / "upstream"


@pytest.fixture
def haystack() -> dict[str, Any]:
    """One question of LongMemEval as upstream gives it."""
    return HAYSTACK


@pytest.fixture
def hotpot_file(tmp_path: Path) -> Path:
    """HotpotQA with distractors as upstream gives it."""
    file = tmp_path / "hotpot_dev_distractor_v1.json"
    file.write_text(json.dumps(HOTPOT))
    return file


@pytest.fixture
def musique_file(tmp_path: Path) -> Path:
    """MuSiQue as upstream gives it: a line for each question."""
    file = tmp_path / "musique_ans_v1.0_dev.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in MUSIQUE))
    return file
