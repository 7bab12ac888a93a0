"""What says nothing to keep, what does, and what becomes of it."""

import pytest

from memory.ingest import row_traits
from memory.noise import CHARS_MAX, is_noise
from retrieval.traits import Trait
from tests.conftest import make_memory


@pytest.mark.parametrize(
    "text",
    [
        "Thanks!",
        "Take care! Can't wait to catch up. Talk soon!",
        "That’s good to hear, I’m glad.",
        "Wow, that sounds amazing!",
        "No worries, you've got this! 👍🏽",
        "OK",
    ],
)
def test_small_talk_is_noise(text: str) -> None:
    assert is_noise(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "👍🏽",
        "...",
        "Thanks, Caroline!",
        "Yes, in Lisbon.",
        "Great, 5 of them.",
        "Sounds good [photo: a dog]",
        "Are you sure?",
        "Thanks for the lamp.",
        "Спасибо",
        "ありがとう",
        "I love pottery.",
        "sure " * CHARS_MAX,
    ],
)
def test_what_holds_a_name_a_number_a_photo_a_question_or_any_other_word_is_not(text: str) -> None:
    assert not is_noise(text)


def test_only_a_turn_is_flagged_whatever_else_it_is() -> None:
    assert row_traits(make_memory(1, "Thanks, talk soon!")) & Trait.NOISE
    assert not row_traits(make_memory(1, "Thanks, talk soon!", kind="document")) & Trait.NOISE
    assert not row_traits(make_memory(1, "I moved to Lisbon.")) & Trait.NOISE
