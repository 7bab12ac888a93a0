"""The benchmark of recalls beside encodings, with a real server and few memories."""

from pathlib import Path

import pytest

from bench import end_to_end
from bench.runner import Options


@pytest.mark.slow
def test_a_small_run_measures_each_side_as_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(end_to_end, "ASKED", 8)
    monkeypatch.setattr(end_to_end, "WARM", 2)
    monkeypatch.setattr(end_to_end, "ADDS", 6)
    found = end_to_end.run(Options(encoder="hash", memories=(150, 60)))
    assert [stage["memories"] for stage in found["stages"]] == [60, 150]
    assert (found["texts"], found["texts_repeated"]) == (150 + 2 * 6, 0)
    for stage in found["stages"]:
        sides = ("http_ms", "encode_ms", "embed_http_ms", "server_ms", "again_ms")
        assert [stage["recall"][side]["n"] for side in sides] == [8] * 5
        assert stage["recall"]["http_ms"]["p50"] > stage["recall"]["server_ms"]["p50"] > 0
        assert [stage["add"][side]["n"] for side in ("ours_ms", "bare_ms")] == [6, 6]
        assert stage["add"]["times_bare"] > 0
