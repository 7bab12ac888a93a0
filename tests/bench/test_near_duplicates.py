"""The benchmark of near-duplicates: its pairs are exact, its edits are what they are called, its figures add up."""

import random
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import near_duplicates
from bench.near_duplicates import EDITS, NAME, NUMBER, ORIGINAL, made, pairs
from bench.runner import Options
from memory.minhash import jaccard, shingles
from recalld.core.errors import ConfigError

WORDS = [f"word{number}" for number in range(300)]


def originals(count: int) -> list[str]:
    rng = random.Random(5)
    return [f"we met Maria {rng.randrange(1000)} times, {' '.join(rng.choices(WORDS, k=14))}." for _ in range(count)]


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), max_size=12), st.sampled_from([0.5, 0.7, 1]))
def test_pairs_are_all_that_there_are(texts: list[list[str]], similarity: float) -> None:
    sets = [shingles(one) for one in texts]
    found = {(one, place) for place, earlier in enumerate(pairs(sets, similarity)) for one in earlier}
    assert found == {
        (one, other)
        for one, other in combinations(range(len(sets)), 2)
        if jaccard(sets[one], sets[other]) >= similarity
    }


def test_copies_stand_behind_their_originals_in_the_stated_shares() -> None:
    texts = made(originals(400), 500, random.Random(1))
    count = {kind: sum(text.kind == kind for text in texts) for kind in (*EDITS, NUMBER, NAME, ORIGINAL)}
    assert (len(texts), count[ORIGINAL], count[NUMBER], count[NAME]) == (500, 350, 25, 25)
    told: set[str] = set()
    for text in texts:
        assert text.kind != "again" or text.text in told
        told.add(text.text)


@pytest.mark.parametrize("kind", [kind for kind in EDITS if kind != "again"])
def test_an_edit_changes_a_text(kind: str) -> None:
    text = originals(1)[0]
    assert all(EDITS[kind](text, random.Random(seed)) != text for seed in (1, 4, 9))


def test_too_few_texts_are_told() -> None:
    with pytest.raises(ConfigError, match="70 are needed"):
        made(originals(60), 100, random.Random(1))


def test_figures_of_a_small_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "pieces", lambda: originals(400))
    found: dict[str, Any] = near_duplicates.run(Options(limit=500))
    ours, kinds = found["engines"]["ours"], found["kinds"]
    assert ours["recall"] >= 0.97
    assert kinds["again"]["decided"] == 1.0
    assert kinds[NUMBER]["decided"] == kinds[NAME]["decided"] == 0.0
    assert found["near_duplicates"] == round(sum(of["texts"] * of["near"] for of in kinds.values()))
