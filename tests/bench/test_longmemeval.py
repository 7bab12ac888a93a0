"""Sessions are what LongMemEval is scored by."""

import json
from pathlib import Path
from typing import Any

from bench.longmemeval import run
from bench.runner import Options


def test_the_session_that_answers_is_found_and_a_question_without_one_is_left_out(
    haystack: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "longmemeval_s.json"
    file.write_text(json.dumps([haystack, haystack | {"question_id": "q2", "answer_session_ids": ["s9"]}]))
    found = run(Options(data=file, encoder="hash", ablations=False))
    assert found["rows"]["ours"] == {
        "session recall@1": 1.0,
        "session recall@5": 1.0,
        "session mrr": 1.0,
        "turn recall@10": 1.0,
        "n": 1,
    }
    assert list(found["rows"]) == ["ours", "previous recipe", "plain dense", "plain bm25", "plain rrf"]
    assert (found["left out"], found["turns"]) == (1, {"q1": 2, "q2": 2})
