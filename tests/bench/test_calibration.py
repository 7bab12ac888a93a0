"""The regression behind `relevance`, on recalls whose best hit is known."""

from pathlib import Path

import numpy as np
import pytest

from bench.calibration import Asked, fit, relevance, run
from bench.runner import Options


def recalls(count: int) -> list[Asked]:
    """Recalls of one real hit and one that is worse in both, answered as often as the weights (-4, 6, 2) say."""
    drawn = np.random.default_rng(5)
    found = []
    for number in range(count):
        cosine, share = drawn.random(2)
        answered = drawn.random() < 1 / (1 + np.exp(-(-4 + 6 * cosine + 2 * share)))
        hits = np.array([[1.0, cosine - 0.5, share - 0.5], [1.0, cosine, share]])
        found.append(Asked("d", f"c{number % 3}", bool(answered), hits))
    return found


def test_the_weights_that_made_the_outcomes_are_found_again() -> None:
    assert fit(recalls(6_000)) == pytest.approx([-4, 6, 2], abs=0.4)


def test_relevance_is_that_of_the_best_hit() -> None:
    asked = [Asked("d", "c", True, np.array([[1.0, 0.0, 0.0], [1.0, 0.5, 0.0]]))]
    assert relevance(asked, np.array([-1.0, 2.0, 0.0])) == pytest.approx([0.5])


def test_each_question_is_asked_of_its_own_store_and_of_another(locomo_file: Path) -> None:
    told = locomo_file.read_text()
    second = told[1:-1].replace("conv-1", "conv-2").replace("canoe", "tractor").replace("Mona", "Rex")
    locomo_file.write_text(f"{told[:-1]},{second}]")
    found = run(Options(data=locomo_file, encoder="hash"))
    assert found["shipped"]["all"]["n"] == found["held out"]["locomo"]["n"] == 2 * 2 * 3
    assert found["fit"].keys() == {"bias", "cosine", "lexical"}
    assert found["shipped"]["all"]["auroc"] > 0.5
