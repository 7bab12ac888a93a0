"""Jobs through both clients: asked for, listed, watched, cancelled, retried."""

import httpx2
import pytest

from recalld_client import Conflict, ConnectionFailed, NotFound


def test_a_consolidation_is_asked_for_with_its_scope_and_listed(client, fake):
    job = client.scope(user_id="alice").consolidate(idempotency_key="mine")
    assert (job.id, job.task, job.state, job.ended) == ("job_0", "consolidate", "queued", False)
    assert fake.bodies == [{"scope": {"user_id": "alice"}}]
    assert fake.requests[0].headers["idempotency-key"] == "mine"
    client.consolidate()
    assert fake.bodies[-1] == {}
    assert [each.id for each in client.jobs()] == ["job_1", "job_0"]
    assert client.job("job_1").state == "queued"


def test_the_list_sends_its_filters(client, fake):
    client.scope(session_id="s1").jobs(state=["failed", "queued"], task="consolidate", limit=7)
    assert list(fake.requests[0].url.params.multi_items()) == [
        ("session_id", "s1"),
        ("state", "failed"),
        ("state", "queued"),
        ("task", "consolidate"),
        ("limit", "7"),
    ]


def test_a_job_is_cancelled_and_retried(client):
    job = client.consolidate()
    with pytest.raises(Conflict):
        client.retry_job(job.id)
    assert client.cancel_job(job.id).state == "cancelled"
    assert client.retry_job(job.id).state == "queued"


def test_events_come_until_the_job_has_ended(client):
    job = client.consolidate()
    assert [each.state for each in client.job_events(job.id)] == ["queued", "running", "succeeded"]
    assert [each.revision for each in client.job_events(job.id, after=4)] == [5]


def test_a_stream_that_is_cut_is_an_error_and_not_an_end(client, fake):
    job = client.consolidate()
    half = f'data: {{"id": "{job.id}", "task": "t", "state": "running", "created_at": "2026-03-14T09:00:00Z"}}\n\n'
    fake.script.append(httpx2.Response(200, content=half.encode()))
    with pytest.raises(ConnectionFailed, match="cut off"):
        client.job_events(job.id)


@pytest.mark.parametrize("name", ["job", "job_events", "cancel_job", "retry_job"])
def test_an_unknown_job_is_not_found(client, name):
    with pytest.raises(NotFound, match="no job has this id"):
        getattr(client, name)("job_99")
