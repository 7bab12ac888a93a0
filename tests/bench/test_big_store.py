"""Large stores for benchmarks: real texts, each encoded once, and indexes as if they had been encoded now."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench import big_store
from bench.big_store import PART_CHARS_MAX, KeptEncoder, parts
from retrieval.ports import Floats, TokenVectors
from retrieval.token_codes import content, pack, thresholds
from tests.conftest import TurnedEncoder


class Counting(TurnedEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def encode_both(self, texts: Sequence[str]) -> tuple[Floats, list[TokenVectors]]:
        self.seen += texts
        return super().encode_both(texts)


TEXTS = ["the dog likes Porto", "rent", "a canoe on the lake", "rent"]


def test_a_kept_text_is_encoded_once_and_indexed_the_same(tmp_path: Path) -> None:
    first = Counting()
    kept = KeptEncoder(first, tmp_path)
    kept.encode_both(TEXTS)
    kept.flush()
    later = Counting()
    again = KeptEncoder(later, tmp_path)
    thresholds(later)
    later.seen.clear()
    vectors, tokens = again.encode_both(TEXTS)
    assert (sorted(set(first.seen)), later.seen) == (sorted(set(TEXTS)), [])
    plain, plain_tokens = TurnedEncoder().encode_both(TEXTS)
    assert np.allclose(vectors, plain, atol=1e-6), "but for what a BLAS does with another batch"
    cuts = thresholds(later)
    for found, wanted in zip(tokens, plain_tokens, strict=True):
        assert found.tokens == wanted.tokens
        assert np.array_equal(pack(content(found).vectors, cuts), pack(content(wanted).vectors, cuts))


def test_parts_are_short_and_distinct() -> None:
    found, repeated = parts(100)
    assert repeated == 0
    assert len({turn.text for turn in found}) == len({(turn.session, turn.id) for turn in found}) == 100
    assert all(0 < len(turn.text) <= 4 * PART_CHARS_MAX for turn in found)


def test_what_repeats_stands_in_other_sessions_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(big_store, "DISTINCT_MAX", 40)
    found, repeated = parts(100)
    assert (len(found), repeated) == (100, 60)
    assert [turn.text for turn in found[:40]] == [turn.text for turn in found[40:80]]
    assert {turn.session for turn in found[:40]}.isdisjoint(turn.session for turn in found[40:])
