"""Exchanges are what BEAM is scored by."""

from pathlib import Path

import pytest

from bench.beam import exchanges, run
from bench.datasets import Turn, beam
from bench.runner import Options


def turns(roles: str) -> list[Turn]:
    return [
        Turn(str(number), "s", "", None, role={"u": "user", "a": "assistant"}[role])
        for number, role in enumerate(roles)
    ]


@pytest.mark.parametrize(
    ("roles", "numbers"), [("uaua", "0011"), ("uuaaua", "000011"), ("aua", "011"), ("uu", "00"), ("", "")]
)
def test_an_exchange_is_a_run_of_the_users_messages_and_the_reply(roles: str, numbers: str) -> None:
    assert "".join(exchanges(turns(roles)).values()) == numbers


def test_a_small_chat_is_scored_by_exchange(beam_folder: Path) -> None:
    found = run("100K", Options(data=beam_folder, encoder="hash"))
    assert exchanges(beam("100K", beam_folder)[0].turns)["3"] == "1"
    ours = found["rows"]["ours"]
    assert ours["by type"]["knowledge_update"] == {"recall@10": 1.0, "ndcg@10": 1.0, "hit@10": 1.0, "n": 1}
    assert ours["fact"] == ours["by type"]["knowledge_update"]
    assert ours["all"] == ours["by chat"]["100K-7"]
    assert (ours["all"]["recall@10"], ours["all"]["n"]) == (1.0, 2)
    assert found["messages"] == {"100K-7": 7}
    assert (found["size"], found["recall_ms"]["n"]) == ("100K", 2)
    assert {"plain dense", "plain bm25", "plain rrf", "previous recipe", "ours - lexical"} < found["rows"].keys()
    assert found["abstention"] == {"auroc": 1.0, "n": 1}
    assert found["intervals"]["ours against plain bm25"].keys() == {"recall@10", "ndcg@10", "hit@10"}
