"""The derivers against llama.cpp's server with SmolLM2-135M: real HTTP, real replies, held to the schema."""

from collections.abc import Callable

import pytest

from bench.local_server import CONTEXT_TOKENS, local_server
from memory.model import Item, Selection
from recalld.bootstrap import Parts, Service
from recalld.core.errors import ConfigError, RecalldError
from recalld.core.scope import Scope
from recalld.demo import conversation
from retrieval.encode_hash import HashEncoder
from tests.conftest import WHO

TURNS = 6


@pytest.mark.slow
def test_a_small_model_over_http_proposes_and_what_it_invents_is_dropped(make_service: Callable[..., Service]) -> None:
    items = [Item(turn.text, speaker="Ann", scope=Scope("ann", None, "s1")) for turn in conversation()[:TURNS]]
    try:
        with local_server() as url:
            service = make_service(
                Parts(encoder=HashEncoder()), llm="openai", llm_url=url, llm_model="smollm2",
                llm_context_tokens=CONTEXT_TOKENS, derive_llm=("facts",), derive_llm_tokens=600,
                derive_llm_reply_tokens=300,
            )  # fmt: skip
            with service.write_store() as store:
                written = service.memories.add(store, WHO, items)
            with service.write_work() as work:
                work.jobs.put("default", "consolidate", {})
            runner = service.job_runner()
            for _ in range(100):
                try:
                    if not runner.advance():
                        break
                except RecalldError as error:
                    runner.failed(error)
            with service.read_work() as work:
                jobs = work.jobs.select("default", 10, tasks=["read"])
            with service.read_store() as store:
                made = store.select("default", Selection(kinds=("fact",), derived=True), service.clock.now(), 999)
    except ConfigError as error:
        pytest.skip(error.detail)
    ids = {memory.id for memory in written}
    assert {job.arguments["deriver"] for job in jobs} == {"facts"}
    for job in jobs:
        counts = job.result or (job.cursor or {})["counts"]
        assert job.state == "succeeded" or (job.reason or "").startswith("unusable_reply")
        assert 1 <= counts["calls"] < TURNS
        assert counts["prompt_tokens"] > 100 * (counts["calls"] - counts.get("unusable", 0))
    assert all(set(row.sources) <= ids for row in made)
    texts = {memory.id: memory.item.text for memory in written}
    for row in made:
        for source, (start, end) in row.item.metadata.get("spans", {}).items():
            assert texts[source][start:end]
