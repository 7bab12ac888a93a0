"""Small data sets in the formats of upstream."""

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
