"""The benchmark over HTTP, with a real server and few memories."""

import pytest

from bench.ingest import run
from bench.runner import Options


@pytest.mark.slow
def test_a_small_run_counts_what_it_wrote() -> None:
    found = run(Options(encoder="hash", memories=(250, 120)))
    assert [stage["memories"] for stage in found["stages"]] == [120, 250]
    assert [stage["write"]["memories"] for stage in found["stages"]] == [120, 130]
    assert [stage["write"]["batch_ms"]["n"] for stage in found["stages"]] == [2, 2]
    assert all(stage["vectors"]["rows"] >= stage["memories"] for stage in found["stages"]), "a vector a passage"
    assert all(stage["recall"]["http_ms"]["n"] > 0 for stage in found["stages"])
    assert found["stages"][1]["text_bytes"] > found["stages"][0]["text_bytes"] > 0
    assert (found["texts"], found["texts_repeated"]) == (250, 0)
