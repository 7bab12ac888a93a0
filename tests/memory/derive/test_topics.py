"""A session that speaks of several things has a summary of each, of its own sentences; one that does not has none."""

from collections.abc import Callable, Sequence

from memory.derive.summaries import SummarySettings
from memory.derive.topics import TopicSummaries
from memory.model import Item, Memory, Selection
from recalld.bootstrap import Parts, Service
from recalld.core.scope import Scope
from retrieval.encode_hash import HashEncoder
from retrieval.ports import Floats
from tests.conftest import WHO, SerialIds, SetClock, erase, make_memory

SESSION = Scope("ann", None, "s1")
BOATS = [f"The boat with the tall mast number {n} sails from the harbour." for n in range(8)]
BREAD = [f"The rye bread of recipe {n} needs yeast, flour and water." for n in range(8)]
SETTINGS = SummarySettings(tokens_max=60)


def words(text: str) -> int:
    return len(text.split())


def encoded(namespace: str, memories: Sequence[Memory]) -> list[Floats | None]:
    assert namespace == "default"
    return list(HashEncoder().encode([memory.item.text for memory in memories]))


def session(texts: Sequence[str], scope: Scope = SESSION) -> list[Memory]:
    return [make_memory(number, text, speaker="Ann", scope=scope) for number, text in enumerate(texts, 1)]


def test_each_thing_that_is_spoken_of_has_a_cited_summary_within_half_the_budget() -> None:
    memories = session([*BOATS, *BREAD])
    boats, bread = TopicSummaries(words, encoded, SETTINGS).derive(memories, frozenset())
    for proposal, said, own in ((boats, "boat", memories[:8]), (bread, "bread", memories[8:])):
        lines = proposal.item.text.split("\n")
        assert all(said in line for line in lines)
        assert words(proposal.item.text) <= 30
        assert set(proposal.sources) <= {memory.id for memory in own}
        assert {cited["memory_id"] for cited in proposal.item.metadata["citations"]} == set(proposal.sources)
        assert (proposal.key, proposal.item.metadata["of"]) == (f"topic:{proposal.sources[0]}", "topic")


def test_one_thing_a_short_session_and_turns_outside_any_have_none() -> None:
    derive = TopicSummaries(words, encoded, SETTINGS).derive
    assert derive(session([*BOATS, *BOATS]), frozenset()) == []
    assert derive(session([*BOATS[:3], *BREAD[:4]]), frozenset()) == []
    assert derive(session([*BOATS, *BREAD], scope=Scope("ann")), frozenset()) == []
    assert derive([], frozenset()) == []


def test_without_vectors_a_session_is_of_one_piece() -> None:
    blind = TopicSummaries(words, lambda namespace, memories: [None] * len(memories), SETTINGS)
    assert blind.derive(session([*BOATS, *BREAD]), frozenset()) == []


def test_they_are_kept_beside_the_session_summary_derived_once_and_erased_with_their_sources(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=HashEncoder()))
    with service.write_store() as store:
        items = [Item(text, speaker="Ann", scope=SESSION) for text in (*BOATS, *BREAD)]
        written = service.memories.add(store, WHO, items)
    service.indexer.apply_all()

    def consolidate() -> list[Memory]:
        with service.write_work() as work:
            work.jobs.put("default", "consolidate", {})
        runner = service.job_runner()
        while runner.advance():
            pass
        return topics()

    def topics() -> list[Memory]:
        with service.read_store() as store:
            found = store.select("default", Selection(kinds=("summary",)), service.clock.now(), 99)
        return [memory for memory in found if memory.deriver is not None and memory.deriver.name == "topics"]

    first = consolidate()
    assert len(first) == 2
    assert consolidate() == first
    gone = next(each for each in first if "boat" in each.item.text).sources
    erase(service, *gone)
    assert [each for each in topics() if "boat" in each.item.text and set(each.sources) & set(gone)] == []
    assert [each.item.text for each in topics() if "bread" in each.item.text] == [
        each.item.text for each in first if "bread" in each.item.text
    ]
    assert written[0].item.text.startswith("The boat")
