"""The regression behind `relevance`, on recalls whose best hit is known."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import files
from bench.calibration import ANSWERED, WRONG_STORE, Asked, fit, held_out, relevance, run
from bench.runner import Options
from recalld.core.errors import ConfigError


def recalls(count: int) -> list[Asked]:
    """Recalls of one real hit and one that is worse in both, answered as often as the weights (-4, 6, 2) say."""
    drawn = np.random.default_rng(5)
    found = []
    for number in range(count):
        cosine, share = drawn.random(2)
        answered = drawn.random() < 1 / (1 + np.exp(-(-4 + 6 * cosine + 2 * share)))
        hits = np.array([[1.0, cosine - 0.5, share - 0.5], [1.0, cosine, share]])
        found.append(Asked("locomo", f"c{number % 3}", ANSWERED if answered else WRONG_STORE, hits))
    return found


def test_the_weights_that_made_the_outcomes_are_found_again() -> None:
    assert fit(recalls(6_000)) == pytest.approx([-4, 6, 2], abs=0.4)


def test_relevance_is_that_of_the_best_hit() -> None:
    asked = [Asked("locomo", "c", ANSWERED, np.array([[1.0, 0.0, 0.0], [1.0, 0.5, 0.0]]))]
    assert relevance(asked, np.array([-1.0, 2.0, 0.0])) == pytest.approx([0.5])


def test_only_wrong_stores_are_fitted_on_and_each_conversation_gets_the_weights_of_the_others() -> None:
    asked = recalls(600)
    adversarial = [replace(recall, kind="adversarial") for recall in asked[:300]]
    elsewhere = [replace(recall, data_set="beam", conversation="c9") for recall in asked[300:330]]
    assert fit([*asked, *adversarial, *elsewhere]) == pytest.approx(fit(asked))
    found = held_out([*asked, *elsewhere])
    first = [recall for recall in asked if recall.conversation == "c0"]
    others = fit([recall for recall in asked if recall.conversation != "c0"])
    assert found[:600:3] == pytest.approx(relevance(first, others))
    assert found[600:] == pytest.approx(relevance(elsewhere, fit(asked)))


def two_conversations(file: Path) -> None:
    told = file.read_text()
    second = told[1:-1].replace("conv-1", "conv-2").replace("canoe", "tractor").replace("Mona", "Rex")
    file.write_text(f"{told[:-1]},{second}]")


def test_each_question_is_asked_of_its_own_store_and_of_another(locomo_file: Path) -> None:
    two_conversations(locomo_file)
    found = run(Options(data=locomo_file, encoder="hash"))
    assert found["shipped"].keys() == found["held out"].keys() == {"wrong store", "adversarial"}
    assert found["shipped"]["wrong store"]["all"]["n"] == found["held out"]["wrong store"]["locomo"]["n"] == 2 * 2 * 3
    assert found["shipped"]["adversarial"]["all"]["n"] == 2 * (3 + 1)
    assert found["fit"].keys() == {"bias", "late", "cosine", "lexical", "conflict"}
    figures = found["shipped"]["wrong store"]["all"]
    assert figures["auroc"] > 0.5
    assert sum(point["n"] for point in figures["curve"]) == figures["n"]
    error = sum(point["n"] * abs(point["mean"] - point["observed"]) for point in figures["curve"]) / figures["n"]
    assert figures["ece"] == pytest.approx(error, abs=2e-4)


def test_abstention_is_measured_where_beam_is_there(
    locomo_file: Path,
    beam_folder: Path,
    haystack: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two_conversations(locomo_file)
    assert beam_folder == tmp_path / "beam"
    (tmp_path / "locomo").mkdir()
    locomo_file.rename(tmp_path / "locomo" / "locomo10.json")
    (tmp_path / "longmemeval_mini").mkdir()
    haystacks = [haystack, haystack | {"question_id": "q2"}]
    (tmp_path / "longmemeval_mini" / "mini.json.gz").write_bytes(gzip.compress(json.dumps(haystacks).encode()))
    monkeypatch.setattr(files, "DATA", tmp_path)
    found = run(Options(encoder="hash"))["shipped"]
    assert found["abstention"]["all"] == found["abstention"]["beam"]
    assert found["abstention"]["all"]["n"] == 2 + 1
    assert found["wrong store"]["longmemeval"]["n"] == 2 * 2


def test_one_conversation_is_not_enough(locomo_file: Path) -> None:
    with pytest.raises(ConfigError, match="it needs two"):
        run(Options(data=locomo_file, encoder="hash"))
