"""Rows are made from the settings, whatever signals these hold and at whatever depth."""

from dataclasses import asdict, dataclass, field, replace

from bench.ablation import FIRST_RELEASE, Answer, alone, ask, baselines, rows, weighted
from bench.datasets import Question
from bench.instance import temporary_instance
from memory.model import Item
from retrieval.weights import SIGNALS, PipelineSettings, Weights

PROFILES = ("people", "assistant", "documents")
SWITCHES = ("first_person", "names_out", "hops", "distinct")
NOTHING = Weights(**dict.fromkeys(SIGNALS, 0.0))


@dataclass(frozen=True)
class Profile:
    dense: float = 2.0
    other: int = 7


@dataclass(frozen=True)
class Nested:
    lexical: float = 0.4
    turns: Profile = Profile()
    documents: Profile = field(default_factory=lambda: Profile(dense=3.0))


def test_weights_are_set_at_every_depth_and_keep_their_types() -> None:
    assert weighted(Nested(), {"dense": 0, "lexical": 1, "other": 5.0}) == Nested(1.0, Profile(0.0, 5), Profile(0.0, 5))
    assert weighted(PipelineSettings(), {"first_person": 0.0}).first_person is False
    assert weighted(Nested(), {}) == Nested()


def test_each_signal_and_switch_of_the_settings_has_a_row_without_it() -> None:
    settings = PipelineSettings()
    found = rows(settings)
    assert found["ours"] == settings
    for name in SIGNALS:
        without = {profile: replace(getattr(settings, profile), **{name: 0.0}) for profile in PROFILES}
        assert found[f"ours - {name}"] == replace(settings, **without)
    for switch in SWITCHES:
        assert found[f"ours - {switch.replace('_', ' ')}"] == replace(settings, **{switch: False})
    assert len(found) == 2 + len(SIGNALS) + len(SWITCHES)
    assert list(rows(settings, ablations=False)) == ["ours", "previous recipe"]


def test_the_previous_recipe_is_the_first_releases_weights_and_no_other_signal() -> None:
    settings = PipelineSettings(people=Weights(dense=9.0, date=9.0, late=9.0), pool_rows=7)
    found = rows(settings)["previous recipe"]
    weights = {name: weight for name, weight in FIRST_RELEASE.items() if name in SIGNALS}
    for profile in PROFILES:
        assert asdict(getattr(found, profile)) == dict.fromkeys(SIGNALS, 0.0) | weights
    assert {name: getattr(found, name) for name in SWITCHES} == dict.fromkeys(SWITCHES, False) | {"first_person": True}
    assert (found.pool_rows, found.relevant_from) == (7, settings.relevant_from)


def test_a_plain_baseline_has_one_signal() -> None:
    plain = baselines(PipelineSettings())
    for profile in PROFILES:
        assert getattr(plain["plain bm25"], profile) == replace(NOTHING, lexical=1.0)
    assert plain["plain dense"] == alone(PipelineSettings(), {"dense": 1.0})
    assert not any(getattr(plain["plain dense"], switch) for switch in SWITCHES)


def test_rows_ask_their_own_namespace_and_the_plain_ones_are_fused() -> None:
    texts = {"c": "the red canoe", "p": "a piano", "l": "the lighthouse and the canoe"}
    questions = [Question("red canoe", "", None, frozenset(), frozenset())]
    compared = {"ours": PipelineSettings()} | baselines(PipelineSettings())
    with temporary_instance("hash") as instance:
        instance.add("one", [Item(text, external_id=name) for name, text in texts.items()])
        instance.add("two", [Item("a canoe", external_id="only")])
        found = ask(instance, compared, {"ours": "one", "plain bm25": "two"}, questions, 2)
    assert {row: [answer.ranking for answer in answers] for row, answers in found.items()} == {
        "ours": [("c", "l")],
        "plain dense": [("c", "l")],
        "plain bm25": [("only",)],
        "plain rrf": [("c", "only")],
    }
    assert found["plain rrf"] == [Answer(("c", "only"), 0.0, 0.0)]
    assert 0 < found["ours"][0].relevance <= 1
