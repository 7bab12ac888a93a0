"""The search of the erasure benchmark finds what `in` finds, wherever it is; it shares nothing with the product's."""

import hypothesis
from hypothesis import strategies as st

from bench.erase import held, pieces

few = st.binary(min_size=8, max_size=14).map(lambda raw: bytes(97 + byte % 2 for byte in raw))


@hypothesis.given(data=st.lists(few, max_size=6).map(b"".join), wanted=st.sets(few, max_size=6))
def test_what_is_held_is_what_in_says(data: bytes, wanted: set[bytes]) -> None:
    wanted |= {data[at : at + 12] for at in range(0, max(0, len(data) - 11), 5)}
    assert held(data, wanted) == {piece for piece in wanted if piece in data}


def test_a_text_is_looked_for_in_each_spelling() -> None:
    text = 'Said "ja" in Zürich, on a Sunday.'
    for spelt in (text.encode(), b'Said \\"ja\\" in Z\\u00fcrich', text.encode("utf-16-le")):
        assert held(b"before" + spelt + b"after", pieces(text))
    assert not held(b"Said nothing at all in Bern, on a Monday", pieces(text))
