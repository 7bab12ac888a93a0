"""Answers of newer and older servers are read; nothing in them can be changed."""

import json

import pytest
from pydantic import ValidationError

from recalld_client import Chat, Disagrees, Memory, Passage, Recall, calls
from recalld_client.models import Readiness

MEMORY = {
    "id": "mem_1",
    "namespace": "default",
    "version": 1,
    "state": "active",
    "text": "hello",
    "kind": "turn",
    "recorded_at": "2026-03-14T09:00:00Z",
}


def test_fields_of_a_newer_server_are_kept_and_read_by_name():
    newer = MEMORY | {"kind": "dream", "state": "asleep", "mood": {"now": "calm"}, "scope": {"team_id": "t"}}
    memory = calls.read_model(Memory, json.dumps(newer))
    assert (memory.kind, memory.state, memory.mood, memory.scope.team_id) == ("dream", "asleep", {"now": "calm"}, "t")


def test_what_an_older_server_does_not_say_is_none():
    memory = calls.read_model(Memory, json.dumps(MEMORY))
    assert (memory.created_at, memory.metadata, memory.sources, memory.deriver) == (None, {}, (), None)


def test_a_time_without_a_zone_is_not_read():
    with pytest.raises(calls.UnexpectedReply, match=r"\(recorded_at: "):
        calls.read_model(Memory, json.dumps(MEMORY | {"recorded_at": "2026-03-14T09:00:00"}))


def test_models_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        calls.read_model(Memory, json.dumps(MEMORY)).text = "other"


def test_a_recall_is_its_hits_and_can_still_be_dumped():
    hits = [{"memory": MEMORY | {"id": f"mem_{n}"}, "score": n, "relevance": 0.5} for n in (2, 1)]
    hits[0] |= {"passage": {"start": 3, "end": 9}}
    hits[1] |= {"passage": None}
    other = {"memory_id": "mem_1", "kind": "conflict", "newer": False, "change_id": "chg_1"}
    hits[0] |= {"disagrees_with": [other]}
    told = {"recall_id": "rec_1", "results": hits, "relevant": True, "pending": 3, "took_ms": 4}
    recall = calls.read_model(Recall, json.dumps(told))
    assert [hit.memory.id for hit in recall] == ["mem_2", "mem_1"]
    assert (recall[1].score, recall[-1], len(recall)) == (1.0, recall[1], 2)
    assert (recall[0].passage, recall[1].passage) == (Passage(start=3, end=9), None)
    assert (recall[0].disagrees_with, recall[1].disagrees_with) == ((Disagrees(**other),), ())
    assert Recall.model_validate(recall.model_dump()) == recall
    assert json.loads(recall.model_dump_json())["results"][0]["memory"]["id"] == "mem_2"
    assert repr(recall).startswith("Recall(recall_id='rec_1', results=(Hit(")


def test_an_answer_without_memory_or_words_is_still_an_answer():
    reply = Chat.model_validate({"id": "c", "model": "m", "choices": [{"message": {"content": None}}]})
    assert (reply.text, reply.citations, reply.recall_id, reply.usage) == ("", (), None, None)


def test_readiness_is_its_own_truth():
    assert [bool(Readiness(ready=ready)) for ready in (True, False)] == [True, False]
