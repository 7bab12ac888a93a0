"""Facts about others: what a parser reads, what it must not, and what becomes of them beside those of the rules."""

from datetime import timedelta

import pytest

from memory.derive import facts, parsed
from memory.facts import CONFIDENT, Statement
from recalld.bootstrap.making import make_knowledge
from recalld.core.config import Settings
from recalld.core.errors import FeatureNotInstalled
from tests.conftest import NOW, SerialIds, SetClock, make_memory

pytestmark = pytest.mark.skipif(not parsed.is_installed(), reason="needs spaCy: pip install 'recalld[parser]'")


def read(text: str, **fields: object) -> list[Statement]:
    return parsed.ParsedFacts().read(
        make_memory(1, text, **{"speaker": "Jo", "role": "user", "occurred_at": NOW} | fields)
    )


def told(text: str, **fields: object) -> list[tuple[str, str, str, bool]]:
    triples = [statement.triple for statement in read(text, **fields)]
    return [(each.subject, each.predicate, each.object, each.negated) for each in triples]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "My sister Ann works at Google in Zurich and lives in Porto.",
            [("Ann", "works at", "Google", False), ("Ann", "lives in", "Porto", False)],
        ),
        ("Melanie has been practicing pottery for seven years.", [("Melanie", "practices", "pottery", False)]),
        ("John doesn't like olives.", [("John", "likes", "olives", True)]),
        ("My brother loves jazz.", [("Jo's brother", "loves", "jazz", False)]),
        ("Ann is allergic to cats.", [("Ann", "is", "allergic to cats", False)]),
        ("Google bought Fitbit for two billion dollars.", [("Google", "bought", "Fitbit", False)]),
    ],
)
def test_what_is_said_of_somebody_by_name_is_read(text: str, wanted: list[tuple[str, str, str, bool]]) -> None:
    assert told(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "…",
        "👍🏽👍🏽",
        "Would Ann like it?",
        "If Tom wins the race, he will be rich.",
        "Bob said that Carla is a dentist.",
        "Ann should see a doctor.",
        "She works at Google.",
        "It broke the window.",
        "NYC is amazing!",
        "That sounds great, Caroline!",
        "I love cats.",
        "My budget is five dollars.",
    ],
)
def test_what_is_asked_supposed_reported_or_of_nobody_is_not(text: str) -> None:
    assert told(text) == []


def test_an_assistants_words_and_a_documents_are_not_read() -> None:
    assert told("Ann works at Google.", role="assistant") == []
    assert told("Ann works at Google.", kind="document") == []
    assert told("Ann works at Google. " * 500) == []


def test_a_time_is_the_facts_and_not_its_objects() -> None:
    (moved,) = read("John moved to Berlin last week.")
    assert moved.triple.object == "Berlin"
    assert moved.time is not None
    assert NOW - timedelta(days=14) < moved.time.start < NOW
    assert "John moved to Berlin last week."[slice(*moved.span)].startswith("John moved to Berlin")


def test_a_negation_is_told_in_words() -> None:
    assert [each.text for each in read("John doesn't like olives.")] == ["John does not like olives"]
    assert [each.text for each in read("Ann hasn't visited Rome.")] == ["Ann has not visited Rome"]


def test_none_of_it_may_supersede_by_itself_and_the_rules_readings_stay() -> None:
    memory = make_memory(1, "I live in Lisbon. My sister Ann works at Google.", speaker="Jo", role="user")
    both = parsed.ParsedFacts().read_both(memory)
    assert both[: len(facts.read(memory))] == facts.read(memory)
    (added,) = both[len(facts.read(memory)) :]
    assert (added.triple.subject, added.extractor) == ("Ann", "parsed/1")
    assert added.confidence < CONFIDENT


def test_a_text_is_parsed_once_and_its_memory_may_change() -> None:
    asked: list[str] = []

    def parse(text: str) -> object:
        asked.append(text)
        return parsed.parse(text)

    reader = parsed.ParsedFacts(parse)
    for number, text in enumerate(["My son loves jazz.", "My son loves jazz.", "My son loves rock."]):
        assert [each.source_id for each in reader.read(make_memory(number, text))] == [make_memory(number).id]
    assert asked == ["My son loves jazz.", "My son loves rock."]


def test_a_setting_turns_it_on_and_reads_everything_again(
    settings: Settings, clock: SetClock, ids: SerialIds, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = settings.model_copy(update={"parser": "spacy"})
    assert make_knowledge(on, clock, ids).made_by != make_knowledge(settings, clock, ids).made_by
    monkeypatch.setattr(parsed, "is_installed", lambda: False)
    with pytest.raises(FeatureNotInstalled, match=r"recalld\[parser\]"):
        make_knowledge(on, clock, ids)
