from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recalld.llm.stops import StopStrings

SMALL = st.text(alphabet="abc", max_size=30)


def run(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    filter_ = StopStrings(stops)
    text = "".join(filter_.push(piece) for piece in pieces)
    return text + filter_.flush(), filter_.found


def plain(text: str, stops: list[str]) -> tuple[str, bool]:
    """The definition: read character by character until the text ends with a stop string."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


@given(SMALL, st.lists(st.text(alphabet="abc", min_size=1, max_size=5), max_size=3), st.lists(st.integers(0, 30)))
def test_however_the_text_is_cut_the_result_is_the_definition(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert run(pieces, stops) == plain(text, stops)


@pytest.mark.parametrize(
    ("pushed", "out"),
    [(["a", "b"], ["a", "b"]), (["x<", "|e", "n"], ["x", "", ""]), (["x<|e", "y"], ["x", "<|ey"])],
)
def test_text_comes_out_as_soon_as_it_cannot_be_a_stop(pushed: list[str], out: list[str]) -> None:
    filter_ = StopStrings(["<|end|>"])
    assert [filter_.push(piece) for piece in pushed] == out


def test_nothing_comes_out_after_a_stop() -> None:
    filter_ = StopStrings(["END"])
    assert [filter_.push("one EN"), filter_.push("D two"), filter_.push("three"), filter_.flush()] == [
        "one ",
        "",
        "",
        "",
    ]
