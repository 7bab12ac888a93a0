"""Logs: one form for machines, one for people, and no word of what is remembered in either."""

import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from fastapi.testclient import TestClient
from sqlalchemy.exc import IntegrityError

from api.app import create_app
from memory.model import Item
from memory.recall import Question
from recalld.bootstrap import Parts, Service
from recalld.core import log
from recalld.core.errors import RecalldError
from retrieval.encode_hash import HashEncoder
from tests.conftest import WHO, SerialIds, SetClock

SECRET = "xylophone"


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As it was, afterwards."""
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    yield
    structlog.reset_defaults()


def test_json_has_one_event_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    log.get("worker").info("working", rows=3)
    log.get("worker").debug("hidden")
    told = json.loads(capsys.readouterr().err)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", told.pop("timestamp"))
    assert told == {"component": "worker", "event": "working", "level": "info", "rows": 3}


def test_auto_is_json_where_nobody_reads(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    log.configure("info", "auto")
    log.get("a").info("one")
    assert capsys.readouterr().err.startswith("{")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    log.configure("info", "auto")
    log.get("a").info("two")
    assert not capsys.readouterr().err.startswith("{")


def test_the_level_is_the_least_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("error", "json")
    log.get("a").warning("hidden")
    log.get("a").error("told")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["told"]


def test_warnings_of_libraries_go_to_the_same_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log.configure("info", "json")
    logging.getLogger("library").warning("careful")
    logging.getLogger("library").info("hidden")
    assert capsys.readouterr().err == "WARNING library: careful\n"


class Fragile(HashEncoder):
    """Fails with the text in its error, as libraries do."""

    def encode(self, texts: Any) -> Any:
        if any("breaks" in text for text in texts):
            raise RuntimeError(f"can not encode {texts!r}")
        return super().encode(texts)


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_word_of_a_memory_or_a_query_is_logged(
    make_service: Callable[..., Service], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log.configure("debug", form)
    logging.getLogger().setLevel(logging.DEBUG)
    monkeypatch.setattr(logging.getLogger("httpx2"), "disabled", True)  # the test's own client
    service = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=Fragile()))
    with TestClient(
        create_app(service), "http://127.0.0.1", raise_server_exceptions=False, client=("127.0.0.1", 50000)
    ) as client:
        replies = [
            client.post("/v1/memories", json={"items": [{"text": f"{SECRET} one", "metadata": {SECRET: 1}}]}),
            client.post("/v1/memories", json={"items": [{"text": f"{SECRET}\0"}]}),
            client.post("/v1/memories", json={"items": [{"text": "x", SECRET: 1}]}),
            client.post("/v1/memories", content=f'{{"{SECRET}'),
            client.post("/v1/recall", json={"query": SECRET}),
            client.post("/v1/recall", json={"query": f"{SECRET} breaks"}),
            client.get("/v1/memories", params={"text": SECRET, f"metadata.{SECRET}": SECRET}),
            client.get(f"/v1/{SECRET}"),
            client.get(f"/v1/memories/{SECRET}"),
            client.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": SECRET}]}),
            client.post("/v1/memories", json={"items": [{"text": f"{SECRET} breaks"}]}),
        ]
    told = capfd.readouterr()
    assert [reply.status_code // 100 for reply in replies] == [2, 4, 4, 4, 2, 5, 2, 4, 4, 5, 2]
    assert "request" in told.err
    assert "request_failed" in told.err
    assert SECRET not in told.err + told.out


def test_an_error_of_the_database_does_not_hold_what_was_written(service: Service) -> None:
    with service.write_store() as store:
        service.memories.add(store, WHO, [Item(f"{SECRET} one", external_id="e")])
    with pytest.raises(IntegrityError) as failed, service.write_store() as store:
        store.insert("default", store.get("default", ["mem_" + "1".zfill(26)]))
    assert SECRET not in str(failed.value)


def test_an_error_of_ours_does_not_hold_a_query(service: Service) -> None:
    with pytest.raises(RecalldError) as refused, service.read_store() as store:
        service.recaller.recall(store, WHO, Question(f"{SECRET}\0"))
    assert SECRET not in refused.value.detail + repr(refused.value.fields)
