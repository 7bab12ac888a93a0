"""What is looked for of a text is found wherever it lies, however it is spelt, and nothing else is."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.remains import ALIGNED, CHUNK_BYTES, LONG_FROM, Fingerprints, Search, strings_of, windows_of
from tests.conftest import make_memory

KEY = bytes(range(32))
TEXT = 'The quokka of number 4417 said "naïve" and left\nfor the lighthouse at seven.'


def searching(text: str, **fields: object) -> Search:
    return Search(Fingerprints.of(KEY, windows_of(make_memory(1, text, **fields))))


@pytest.mark.parametrize(
    "spelt",
    [
        TEXT.encode(),
        json.dumps(TEXT)[1:-1].encode(),
        json.dumps(TEXT, ensure_ascii=False)[1:-1].encode(),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
    ],
    ids=["utf-8", "json ascii", "json", "utf-16-le", "utf-16-be"],
)
@pytest.mark.parametrize("place", range(ALIGNED))
def test_a_fragment_is_found_in_every_spelling_and_at_every_place(spelt: bytes, place: int) -> None:
    search = searching(TEXT)
    for start in range(0, len(spelt) - LONG_FROM, 5):
        assert search.in_bytes(bytes(place) + spelt[start : start + LONG_FROM], narrow=False), start


@pytest.mark.parametrize("text", ["Lisbon", "PIN 4417", "in the harbour", "x" * 22])
@pytest.mark.parametrize("place", range(9))
def test_a_short_text_is_found_where_words_can_be(text: str, place: int) -> None:
    search = searching(text)
    assert search.in_bytes(b"\xff" * place + text.encode() + b"\xff", narrow=True)


def test_the_tail_of_a_term_is_found_without_its_beginning() -> None:
    search = searching("The quokka and the narwhal")
    assert search.in_bytes(b"\x00\x05uokka\x01", narrow=True)
    assert search.in_bytes(b"\x03rwhal\x02", narrow=True)
    assert not search.in_bytes(b"\x03walrus\x02", narrow=True)


def test_metadata_speaker_and_frame_are_looked_for_too() -> None:
    place, name = "at the old customs house", "Persephone Quill"
    search = searching("x", metadata={"where": [place]}, speaker=name, external_id="a" * 30)
    for said in (place, name, "a" * 30):
        assert search.in_bytes(said.encode(), narrow=True), said


def test_what_lies_across_two_parts_of_a_file_is_found(tmp_path: Path) -> None:
    search = searching(TEXT)
    for shift in range(-len(TEXT), 1, 7):
        path = tmp_path / "file"
        path.write_bytes(bytes(CHUNK_BYTES + shift) + TEXT.encode() + bytes(100))
        size, found = search.in_file(path, narrow=False)
        assert size == CHUNK_BYTES + shift + len(TEXT.encode()) + 100
        assert found


def test_chance_finds_nothing() -> None:
    search = searching(TEXT)
    assert search.in_bytes(os.urandom(4 << 20), narrow=False) == set()


def test_a_long_text_is_found_by_some_of_it() -> None:
    long = " ".join(f"word{number}" for number in range(9_000))
    wanted = Fingerprints.of(KEY, windows_of(make_memory(1, long)))
    assert Search(wanted).in_bytes(long.encode()[:2000], narrow=False)
    assert Search(wanted).in_bytes(long.encode()[-2000:], narrow=False)


@given(st.lists(st.binary(min_size=16, max_size=16) | st.binary(min_size=8, max_size=8), max_size=20))
def test_what_is_written_is_read_back(windows: list[bytes]) -> None:
    wanted = Fingerprints.of(KEY, set(windows))
    again = Fingerprints.read(KEY, [wanted.write(), wanted.write()])
    assert again.records.tolist() == sorted(wanted.records.tolist())


def test_the_digests_do_not_hold_the_text() -> None:
    written = Fingerprints.of(KEY, windows_of(make_memory(1, TEXT))).write()
    assert not searching(TEXT).in_bytes(written, narrow=True)


def test_the_ids_that_a_derived_memory_holds_are_nothing_that_it_says() -> None:
    source = make_memory(1).id
    derived = make_memory(
        2, "She bought a canoe.", external_id=f"~episodes:{source}:0", metadata={"citations": [{"memory_id": source}]}
    )
    told = list(strings_of(derived))
    assert "She bought a canoe." in told
    assert not any(source[-8:] in each for each in told)
    assert "~episodes:" in told
