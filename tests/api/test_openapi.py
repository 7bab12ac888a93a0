"""The OpenAPI document: complete, valid, committed as it is generated, and kept by the application.

schemathesis makes requests from the document alone, fitting and not fitting, and holds the replies against it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.errors import MEDIA_TYPE
from recalld.bootstrap import Parts
from recalld.llm.scripted import ScriptedModel
from tests.api.conftest import EXPORTED, PUBLIC, SAMPLES, Json, Running, add, operations, running_in

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
EXAMPLES = 30
schemathesis.serializer.alias("application/x-ndjson", "text/plain")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LENIENT = ("create_chat_completion", "create_embeddings", "list_models", *PUBLIC, "get_stats")
"""Operations that take what the document does not list, as OpenAI's clients and monitors expect."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    model = ScriptedModel(lambda messages: messages[-1].content)
    with running_in(tmp_path_factory.mktemp("openapi"), Parts(llm=model)) as run:
        yield run


@pytest.fixture(scope="module")
def document(run: Running) -> Json:
    return run.app.openapi()


def test_every_operation_has_a_sample_request_and_a_name_of_its_own(run: Running) -> None:
    names = [operation.id for operation in operations(run.app)]
    assert sorted(names) == sorted(SAMPLES)
    assert all(name.isidentifier() and name.islower() for name in names)


def test_every_route_of_the_page_of_surfaces_that_is_built_is_there(run: Running) -> None:
    built = {(operation.method, operation.path) for operation in operations(run.app)}
    one = "/v1/memories/{memory_id}"
    assert built == {
        *(
            ("GET", path)
            for path in ("/healthz", "/readyz", "/metrics", "/v1/memories", "/v1/models", "/v1/stats", one)
        ),
        *(("GET", f"{one}/{name}") for name in ("history", "sources", "derived")),
        *(
            ("POST", f"/v1/{name}")
            for name in ("memories", "recall", "context", "procedures", "feedback", "chat/completions", "embeddings")
        ),
        *(("POST", f"{one}/{name}") for name in ("forget", "restore")),
        ("POST", "/v1/erasures"),
        ("GET", "/v1/export"),
        ("POST", "/v1/import"),
        ("GET", "/v1/erasures/{erasure_id}"),
        ("GET", "/v1/facts"),
        ("GET", "/v1/episodes"),
        ("GET", "/v1/workspace"),
        ("GET", "/v1/sessions/{session_id}/state"),
        ("GET", "/v1/changes"),
        ("POST", "/v1/changes/{change_id}/undo"),
        ("PATCH", one),
        ("DELETE", one),
        ("POST", "/v1/consolidations"),
        *(("GET", f"/v1/jobs{rest}") for rest in ("", "/{job_id}", "/{job_id}/events")),
        *(("POST", f"/v1/jobs/{{job_id}}/{name}") for name in ("cancel", "retry")),
    }


def test_the_document_is_valid_openapi(document: Json) -> None:
    schema = schemathesis.openapi.from_dict(document)
    schema.validate()
    assert [type(found).__name__ for found in schema.get_all_operations()] == ["Ok"] * len(SAMPLES)
    assert document["openapi"].startswith("3.1")


def test_the_committed_document_is_the_generated_one(document: Json) -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == document


def test_every_operation_documents_its_errors_as_problems(document: Json) -> None:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    for path in document["paths"].values():
        for operation in path.values():
            assert operation["responses"]["4XX"]["content"] == problem
            assert operation["responses"]["5XX"]["content"] == problem
            assert "HTTPValidationError" not in json.dumps(operation)
    assert document["components"]["schemas"]["ProblemOut"]["required"] == [
        "type", "title", "status", "detail", "code", "retryable", "errors",
    ]  # fmt: skip


def test_every_operation_but_the_public_ones_names_the_key(document: Json) -> None:
    named = {
        operation["operationId"]: operation.get("security")
        for path in document["paths"].values()
        for operation in path.values()
    }
    assert {name for name, security in named.items() if security is None} == PUBLIC
    assert {str(security) for security in named.values()} == {"None", "[{'key': []}]"}
    assert document["components"]["securitySchemes"]["key"] | {"description": ""} == {
        "type": "http", "scheme": "bearer", "description": "",
    }  # fmt: skip


def test_every_reply_has_a_schema(document: Json) -> None:
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                contents = response.get("content", {}).values()
                schemas = [content["schema"] for content in contents]
                assert status == "304" or (schemas and all(schemas)), (operation["operationId"], status)


def without_keys(document: Json) -> Json:
    """The document as if no key were needed: every request is sent with one."""
    bare: Json = json.loads(json.dumps(document))
    for path in bare["paths"].values():
        for operation in path.values():
            operation.pop("security", None)
    return bare


MODES = [
    pytest.param(name, mode, id=f"{name}-{mode.value}")
    for name in SAMPLES
    for mode in schemathesis.GenerationMode
    if mode.is_positive or name not in (*PUBLIC, "list_models", "get_stats")  # what takes nothing can not be wrong
]


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_replies_are_as_documented_whatever_is_sent(
    run: Running, document: Json, name: str, mode: schemathesis.GenerationMode
) -> None:
    key = run.key("schemathesis")
    [memory] = add(run.client(key), "a note")
    recall_id = run.client(key).post("/v1/recall", json={"query": "note", "limit": 100}).json()["recall_id"]
    erasure = run.client(key).post("/v1/erasures", json={"ids": ["mem_x"]}).json()
    job = run.client(key).post("/v1/consolidations", json={}).json()
    run.client(key).post(f"/v1/jobs/{job['id']}/cancel")
    operation = schemathesis.openapi.from_dict(without_keys(document)).find_operation_by_id(name)
    checks = [*CHECKS, negative_data_rejection] if name not in LENIENT else CHECKS
    headers = {"Authorization": f"Bearer {key}"}
    statuses: set[int] = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """The running application: it is not started and stopped for each request."""
        if scope["type"] == "http":
            await run.app(scope, receive, send)

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        if mode.is_positive and "memory_id" in case.path_parameters:
            case.path_parameters["memory_id"] = memory["id"]
        if mode.is_positive and "erasure_id" in case.path_parameters:
            case.path_parameters["erasure_id"] = erasure["id"]
        if mode.is_positive and name == "erase_memories":
            case.body |= {"dry_run": True}
        if mode.is_positive and name == "import_memories":
            case.body = EXPORTED.decode()
        if mode.is_positive and "job_id" in case.path_parameters:
            case.path_parameters["job_id"] = job["id"]
        if mode.is_positive and "change_id" in case.path_parameters:
            run.client(key).post(f"/v1/memories/{memory['id']}/forget")
            forget = run.client(key).get("/v1/changes?kind=forget&limit=1").json()["items"][0]
            case.path_parameters["change_id"] = forget["id"]
        if mode.is_positive and name == "give_feedback":
            case.body |= {"recall_id": recall_id, "memory_id": memory["id"]}
        reply = case.call_and_validate(base_url="http://localhost", app=app, headers=headers, checks=checks)
        statuses.add(reply.status_code)

    holds()
    assert mode.is_negative or min(statuses) < 300
