"""`/metrics`: counts by route template, and nothing that names anybody."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from api.metrics import Metrics
from tests.api.conftest import Running, add

Sample = tuple[str, tuple[tuple[str, str], ...]]


def read(text: str) -> dict[Sample, float]:
    """The samples of a page, but for the times at which something was created."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def requests(page: dict[Sample, float]) -> dict[tuple[str, str, str], float]:
    """Requests by method, route and status."""
    return {
        (dict(labels)["method"], dict(labels)["route"], dict(labels)["status"]): value
        for (name, labels), value in page.items()
        if name == "recalld_requests_total"
    }


def test_requests_are_counted_by_route_template_and_status(run: Running) -> None:
    client = run.client()
    ids = [memory["id"] for memory in add(client, "one", "two")]
    for memory_id in (*ids, "mem_x"):
        client.get(f"/v1/memories/{memory_id}")
    client.get("/v1/one/of/many/paths")
    client.request("BREW", "/v1/coffee")
    client.request("BREW", "/v1/memories")
    reply = client.get("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert requests(read(reply.text)) == {
        ("POST", "/v1/memories", "201"): 1,
        ("GET", "/v1/memories/{memory_id}", "200"): 2,
        ("GET", "/v1/memories/{memory_id}", "404"): 1,
        ("any", "unmatched", "404"): 2,
        ("any", "/v1/memories", "405"): 1,
    }


def test_times_fall_into_buckets(run: Running) -> None:
    metrics = Metrics(lambda: 0, dict)
    for took_s in (0.0005, 0.004, 3.0, 60.0):
        metrics.request("GET", "/healthz", 200, took_s)
    page = read(metrics.render().decode())
    of = {"method": "GET", "route": "/healthz"}
    buckets = {
        dict(labels)["le"]: value for (name, labels), value in page.items() if name == "recalld_request_seconds_bucket"
    }
    assert buckets == {
        "0.001": 1, "0.0025": 1, "0.005": 2, "0.01": 2, "0.025": 2, "0.05": 2, "0.1": 2, "0.25": 2, "0.5": 2,
        "1.0": 2, "2.5": 2, "10.0": 3, "+Inf": 4,
    }  # fmt: skip
    assert page["recalld_request_seconds_sum", tuple(sorted(of.items()))] == pytest.approx(63.0045)


def test_what_waits_to_be_encoded_is_counted_over_all_namespaces(run: Running) -> None:
    add(run.client(run.key("one")), "a", "b")
    add(run.client(run.key("two")), "c")
    assert read(run.client().get("/metrics").text)["recalld_outbox_entries", ()] == 3
    run.service.indexer.apply_all()
    assert read(run.client().get("/metrics").text)["recalld_outbox_entries", ()] == 0


def test_nothing_on_the_page_names_a_namespace_a_user_a_key_or_a_text(run: Running) -> None:
    key = run.key("tenant-seven", user_id="alice-seven")
    client = run.client(key)
    memory = add(client, "a secret of seven", metadata={"k": "seven"})[0]
    client.get("/v1/memories?metadata.k=seven")
    client.post("/v1/recall", json={"query": "seven"})
    page = run.client(peer="192.0.2.7").get("/metrics").text
    assert not [name for name in ("seven", "secret", key, key[:11], memory["id"]) if name in page]
