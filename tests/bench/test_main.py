"""The command line, and the frame that every result is written in."""

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.registry import BENCHMARKS
from bench.runner import ROOT, Benchmark, Options, commit, machine, run, versions


def test_list_names_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BENCHMARKS)


def test_a_missing_data_set_is_exit_code_2_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert main(["locomo", "--data", str(tmp_path / "none"), "--out", str(out)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "snap-research/locomo" in told[0]
    assert not out.exists()


@pytest.mark.parametrize("limit", ["0", "-1", "all"])
def test_a_limit_that_is_not_a_count_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["locomo", "--limit", limit])
    assert "argument --limit" in capsys.readouterr().err


def test_a_run_is_written_with_its_frame_and_no_path(locomo_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "locomo.json"
    assert main(["locomo", "--data", str(locomo_file), "--encoder", "hash", "--seed", "7", "--out", str(out)]) == 0
    text = out.read_text()
    report = json.loads(text)
    assert (report["benchmark"], report["options"]["seed"], report["options"]["encoder"]) == ("locomo", 7, "hash")
    assert {"at", "took_s", "machine", "versions", "commit", "changed", "results"} <= report.keys()
    assert str(tmp_path) not in text
    assert str(ROOT) not in text
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(("clean", "status"), [(True, 0), (False, 1)])
def test_a_check_that_fails_is_exit_code_1(
    clean: bool, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BENCHMARKS, "durability", Benchmark("a stand-in", lambda _: {"clean": clean}))
    assert main(["durability", "--out", str(tmp_path / "out.json")]) == status


def test_a_report_holds_what_the_benchmark_returned() -> None:
    report = run("one", Benchmark("about it", lambda options: {"rounds": options.rounds}), Options(rounds=3))
    assert (report["benchmark"], report["about"], report["results"]) == ("one", "about it", {"rounds": 3})
    assert report["options"] == {
        "seed": 1,
        "encoder": "minilm",
        "rounds": 3,
        "memories": (1_000, 10_000),
        "vectors": (10_000, 100_000, 1_000_000),
        "limit": None,
        "ablations": True,
    }


def test_the_machine_and_versions_are_those_of_this_process() -> None:
    assert machine()["cores"] >= 1
    assert versions()["numpy"] == __import__("numpy").__version__
    assert set(commit()) == {"commit", "changed"}
