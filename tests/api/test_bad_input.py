"""Bad input at every route: a 4xx that names the field, repeats nothing of the input and leaves nothing behind.

The values that are sent hold a word that no reply may contain. What is tried is taken from the OpenAPI document, so
that a new route or field is tried as well.
"""

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from recalld.bootstrap import Parts
from recalld.llm.scripted import ScriptedModel
from tests.api.conftest import SAMPLES, Json, Operation, Running, add, operations, problem, running_in

WORD = "sesame"
JSON = {"Content-Type": "application/json"}
BODIES = [name for name, sample in SAMPLES.items() if sample is not None]
NATIVE = [name for name in BODIES if not name.startswith("create_")]
LISTS = (
    "list_memories",
    "list_versions",
    "list_sources",
    "list_derived",
    "list_facts",
    "list_changes",
    "list_episodes",
    "get_workspace",
)
ITEM: Json = {"text": "a note"}


class World:
    """A running service with one memory."""

    def __init__(self, run: Running) -> None:
        self.run = run
        self.client = run.client()
        self.operations = {operation.id: operation for operation in operations(run.app)}
        self.memory_id = add(self.client, "a note", kind="fact", frame={"a": 1})[0]["id"]
        self.document = run.app.openapi()

    def refused(self, name: str, **request: Any) -> tuple[int, list[str]]:
        """Call an operation; returns status and fields, having checked that nothing was repeated or written."""
        before = self.run.dump()
        request.setdefault("memory_id", self.memory_id)
        reply: httpx2.Response = self.operations[name].call(self.client, **request)
        status, _, fields = problem(reply)
        assert 400 <= status < 500, reply.text
        assert WORD not in reply.text
        assert self.run.dump() == before
        return status, fields


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    model = ScriptedModel(lambda messages: "never said")
    with running_in(tmp_path_factory.mktemp("bad-input"), Parts(llm=model)) as run:
        yield World(run)
        assert model.calls == []


# --- what is not JSON at all

NOT_JSON = {
    "empty": b"",
    "blank": b" \n",
    "cut off": b'{"sesame": "sesame',
    "more after it": b'{"sesame": 1} sesame',
    "bare word": b"sesame",
    "single quotes": b"{'sesame': 'sesame'}",
    "comment": b'{"sesame": 1 /* sesame */}',
    "trailing comma": b'{"sesame": 1,}',
    "control character": b'{"sesame": "sesame\n"}',
    "invalid UTF-8": b'{"sesame": "sesame\xff"}',
    "cut UTF-8": b'{"sesame": "sesame\xc3"}',
    "UTF-8 of a surrogate": b'{"sesame": "sesame\xed\xa0\x80"}',
    "overlong UTF-8": b'{"sesame": "sesame\xc0\xaf"}',
    "lone surrogate": b'{"sesame": "sesame\\ud800"}',
    "lone low surrogate": b'{"sesame": "sesame\\udc00 sesame"}',
    "surrogates the wrong way round": b'{"sesame": "\\udc00\\ud800"}',
    "lone surrogate in a name": b'{"sesame\\ud800": 1}',
    "byte order mark": b'\xef\xbb\xbf{"sesame": 1}',
    "UTF-16": '{"sesame": "sesame"}'.encode("utf-16"),
    "NaN": b'{"sesame": NaN}',
    "Infinity": b'{"sesame": Infinity}',
    "-Infinity": b'{"sesame": -Infinity}',
    "leading zero": b'{"sesame": 007}',
    "100,000 arrays deep": b"[" * 100_000 + b"]" * 100_000,
    "100,000 arrays never closed": b"[" * 100_000,
    "100,000 objects deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "5,000 digits": b'{"sesame": ' + b"9" * 5000 + b"}",
    "form": b"sesame=sesame&b=1",
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_not_json_is_refused(world: World, name: str, case: str) -> None:
    assert world.refused(name, content=NOT_JSON[case], headers=JSON) == (400, ["body"])


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("body", [b"null", b"true", b"7", b'"sesame"', b"[]", b'[{"sesame": "sesame"}]'])
def test_what_is_not_an_object_is_refused(world: World, name: str, body: bytes) -> None:
    assert world.refused(name, content=body, headers=JSON) == (422, ["body"])


# --- wrong types and unknown fields, in every field of every body

VALUES: dict[str, Any] = {
    "string": WORD,
    "integer": 7,
    "number": 7.5,
    "boolean": True,
    "array": [WORD],
    "object": {WORD: WORD},
}


def resolved(document: Json, schema: Json) -> list[Json]:
    """The alternatives that a schema allows."""
    if "$ref" in schema:
        return resolved(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return [found for part in schema["anyOf"] for found in resolved(document, part)] if "anyOf" in schema else [schema]


def fields_of(document: Json, schema: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, list[Json]]]:
    """Every field of a schema: its path, with 0 for the place in an array, and its alternatives."""
    for form in resolved(document, schema):
        for name, inner in form.get("properties", {}).items():
            yield (*path, name), resolved(document, inner)
            yield from fields_of(document, inner, (*path, name))
        if isinstance(form.get("items"), dict):
            yield (*path, 0), resolved(document, form["items"])
            yield from fields_of(document, form["items"], (*path, 0))


def body_schema(document: Json, operation: Operation) -> Json:
    described = document["paths"][operation.path][operation.method.lower()]
    schema: Json = described["requestBody"]["content"]["application/json"]["schema"]
    return schema


def wrong_values(forms: list[Json]) -> list[Any]:
    """Values of the types that none of the alternatives allows."""
    types = {form.get("type", type_of(form)) for form in forms}
    if types & {"number", "integer"}:
        types |= {"integer", "boolean"}
    return [value for kind, value in VALUES.items() if kind not in types and None not in types]


def type_of(form: Json) -> str | None:
    """The type of a schema that states only values."""
    values = [form["const"]] if "const" in form else form.get("enum", [])
    names = {str: "string", bool: "boolean", int: "integer"}
    return names[type(values[0])] if values else None


def sample_with(name: str, path: tuple[str | int, ...], value: Any) -> Json:
    """The operation's sample with `value` at `path`; what lies on the way is made."""
    body: Any = json.loads(json.dumps(SAMPLES[name]))
    at = body
    for step, following in pairwise(path):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            at.extend([empty] if step >= len(at) else [])
        elif not isinstance(at.get(step), type(empty)):
            at[step] = empty
        at = at[step]
    if isinstance(path[-1], int):
        at[path[-1] : path[-1] + 1] = [value]
    else:
        at[path[-1]] = value
    made: Json = body
    return made


@pytest.mark.parametrize("name", BODIES)
def test_a_value_of_the_wrong_type_is_refused_in_every_field(world: World, name: str) -> None:
    tried = 0
    for path, forms in fields_of(world.document, body_schema(world.document, world.operations[name])):
        for value in wrong_values(forms):
            status, fields = world.refused(name, json=sample_with(name, path, value))
            assert status == 422
            named = ".".join(map(str, path))
            assert any(field == named or field.startswith(f"{named}.") for field in fields), (named, value, fields)
            tried += 1
    assert tried >= 10


@pytest.mark.parametrize("name", NATIVE)
def test_an_unknown_field_is_refused_at_every_level(world: World, name: str) -> None:
    schema = body_schema(world.document, world.operations[name])
    levels = {path[:-1] for path, _ in fields_of(world.document, schema) if isinstance(path[-1], str)}
    for level in levels:
        path = (*level, "txet")
        assert world.refused(name, json=sample_with(name, path, WORD)) == (422, [".".join(map(str, path))])
    assert () in levels


@pytest.mark.parametrize("name", BODIES)
def test_a_field_that_is_missing_is_named(world: World, name: str) -> None:
    required = {
        "add_memories": ["items"],
        "create_chat_completion": ["messages"],
        "create_embeddings": ["input"],
        "erase_memories": ["body"],
        "find_procedures": ["task"],
        "give_feedback": ["recall_id", "memory_id", "useful"],
    }
    if name == "update_memory":
        assert world.operations[name].call(world.client, world.memory_id, json={}).status_code == 200
    elif name == "consolidate":
        assert world.operations[name].call(world.client, json={}).status_code == 202
    else:
        assert world.refused(name, json={}) == (422, required.get(name, ["query"]))


@pytest.mark.parametrize("name", BODIES)
def test_json_a_hundred_levels_deep_is_refused_where_it_stands(world: World, name: str) -> None:
    deep: Any = WORD
    for _ in range(100):
        deep = [deep]
    for path, forms in fields_of(world.document, body_schema(world.document, world.operations[name])):
        if {form.get("type") for form in forms} <= {"string", "object", "null"}:
            value = {"a": deep} if name in NATIVE and any(form.get("type") == "object" for form in forms) else deep
            status, fields = world.refused(name, json=sample_with(name, path, value))
            named = ".".join(map(str, path))
            assert (status, any(field.startswith(named) for field in fields)) == (422, True), (path, fields)


# --- values out of their range

LONG = WORD * 11_000
TIMES = (
    "2026-03-14T09:00:00", "2026-03-14", "09:00:00Z", "1773478800", "yesterday sesame", "", "2026-13-01T00:00:00Z",
    "2026-02-30T00:00:00Z", "2026-03-14T25:00:00Z", "2026-03-14T09:61:00Z", "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
    "2026-03-14T09:00:00+24:00", "2026-03-14T09:00:00+99:99", "2026-03-14T09:00Z", "20260314T090000Z",
    "2026-W11-6T09:00:00Z", "2026-03-14T09:00:00 Z", "2026-03-14T09:00:00Zsesame", "２０２６-03-14T09:00:00Z",
    " 2026-03-14T09:00:00Z",
)  # fmt: skip
TIME_FIELDS = (
    ("add_memories", "items.0.occurred_at"), ("add_memories", "items.0.expires_at"), ("update_memory", "occurred_at"),
    ("update_memory", "expires_at"), ("recall", "as_of"), ("recall", "known_at"), ("recall", "now"),
    ("context", "as_of"), ("context", "now"),
)  # fmt: skip


def path_of(field: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in field.split("."))


@pytest.mark.parametrize(("name", "field"), TIME_FIELDS)
def test_a_time_that_is_none_is_refused(world: World, name: str, field: str) -> None:
    for time in TIMES:
        assert world.refused(name, json=sample_with(name, path_of(field), time)) == (422, [field]), time


@pytest.mark.parametrize("parameter", ["since", "until"])
def test_a_time_in_a_query_that_is_none_is_refused(world: World, parameter: str) -> None:
    for time in TIMES:
        assert world.refused("list_memories", params={parameter: time}) == (422, [parameter]), time


@pytest.mark.parametrize(
    "time",
    [
        "2026-03-14T09:00:00Z", "2026-03-14t09:00:00z", "2026-03-14 09:00:00+00:00", "2026-03-14T10:30:00.000+01:30",
        "2026-03-13T23:00:00.0000-10:00",
    ],
)  # fmt: skip
def test_a_time_with_a_zone_is_taken_in_all_its_forms(world: World, time: str) -> None:
    [memory] = add(world.client, "a note", occurred_at=time)
    assert memory["occurred_at"] == "2026-03-14T09:00:00Z"


def nested(levels: int) -> Json:
    value: Json = {"a": 1}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


ITEM_VALUES: list[tuple[str, Any]] = [
    ("text", ""),
    ("text", "é" * 32_768 + "a"),
    ("text", f"{WORD}\x00"),
    ("text", "\x00"),
    ("kind", "note"),
    ("kind", "summary"),
    ("kind", "profile"),
    ("kind", ""),
    ("kind", "Turn"),
    ("role", ""),
    ("role", LONG[:65]),
    ("role", f"{WORD}\x00"),
    ("speaker", ""),
    ("speaker", LONG[:257]),
    ("speaker", f"{WORD}\x00"),
    ("external_id", ""),
    ("external_id", LONG[:513]),
    ("external_id", f"{WORD}\x00"),
    ("scope.user_id", ""),
    ("scope.user_id", LONG[:257]),
    ("scope.agent_id", f"{WORD}\x00"),
    ("scope.session_id", f"\x00{WORD}"),
    ("metadata", {WORD: LONG[:16_384]}),
    ("metadata", {LONG[:16_384]: 1}),
    ("metadata", {WORD: f"{WORD}\x00"}),
    ("metadata", {f"{WORD}\x00": 1}),
    ("metadata", nested(33)),
    ("frame", {WORD: WORD}),
]


@pytest.mark.parametrize("number", range(len(ITEM_VALUES)))
def test_an_item_out_of_its_limits_is_refused_and_with_it_all_the_others(world: World, number: int) -> None:
    field, value = ITEM_VALUES[number]
    item = sample_with("add_memories", ("items", 0, *path_of(field)), value)["items"][0]
    assert world.refused("add_memories", json={"items": [ITEM, item, ITEM]}) == (422, [f"items.1.{field}"])


@pytest.mark.parametrize("field", ["metadata", "frame"])
@pytest.mark.parametrize("raw", ["1e999", "-1e999", "[[1e400]]", '{"a": {"b": -1e1000}}'])
def test_a_number_that_json_can_not_hold_is_refused(world: World, field: str, raw: str) -> None:
    body = f'{{"items": [{{"text": "a", "kind": "fact", "{field}": {{"a": {raw}}}}}]}}'.encode()
    assert world.refused("add_memories", content=body, headers=JSON) == (422, [f"items.0.{field}"])
    patch = f'{{"{field}": {{"a": {raw}}}}}'.encode()
    assert world.refused("update_memory", content=patch, headers=JSON) == (422, [field])


def test_metadata_as_large_and_as_deep_as_allowed_comes_back_as_it_went(world: World) -> None:
    large = {
        "key": "x" * (16_384 - len('{"key":""}')),
    }
    for metadata in (large, nested(32), {"n": 10**4000, "é": [1e308, -0.0, 5e-324, True, None, {}, []], "": ""}):
        [memory] = add(world.client, "a note", metadata=metadata)
        assert memory["metadata"] == metadata
        assert world.client.get(f"/v1/memories/{memory['id']}").json()["metadata"] == metadata


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("add_memories", {"items": []}, "items"),
        ("add_memories", {"items": [ITEM] * 1001}, "items"),
        ("add_memories", {"items": [ITEM] * 1000 + [{"text": WORD * 20_000}]}, "items"),
        ("create_embeddings", {"input": [WORD] * 1001}, "input"),
        ("create_embeddings", {"input": [WORD, LONG]}, "input.1"),
        ("create_chat_completion", {"messages": [{"role": "user", "content": WORD}] * 1001}, "messages"),
        ("create_chat_completion", {"messages": [{"role": "user", "content": LONG}], "user": "ann"}, "messages"),
        ("recall", {"query": ""}, "query"),
        ("recall", {"query": LONG}, "query"),
        ("recall", {"query": f"{WORD}\x00"}, "query"),
        ("context", {"query": LONG}, "query"),
        ("context", {"query": "\x00"}, "query"),
        ("recall", {"query": WORD, "limit": 10**30}, "limit"),
        ("recall", {"query": WORD, "limit": -(10**30)}, "limit"),
        ("context", {"query": WORD, "token_budget": 10**30}, "token_budget"),
        ("recall", {"query": WORD, "scope": {"user_id": f"{WORD}\x00"}}, "scope.user_id"),
        ("context", {"query": WORD, "scope": {"session_id": LONG[:257]}}, "scope.session_id"),
        ("create_chat_completion", {"messages": [{"role": "user", "content": WORD}], "max_tokens": 0}, "max_tokens"),
        ("create_chat_completion", {"messages": [{"role": "user", "content": WORD}], "seed": 10**30}, "seed"),
        ("create_chat_completion", {"messages": [{"role": "user", "content": WORD}], "top_p": 10**30}, "top_p"),
        ("give_feedback", {"recall_id": "", "memory_id": WORD, "useful": True}, "recall_id"),
        ("give_feedback", {"recall_id": WORD, "memory_id": LONG[:65], "useful": True}, "memory_id"),
        ("give_feedback", {"recall_id": f"{WORD}\x00", "memory_id": WORD, "useful": None}, "recall_id"),
        ("update_memory", {"text": LONG}, "text"),
        ("update_memory", {"text": ""}, "text"),
        ("update_memory", {"text": None}, "text"),
        ("update_memory", {"metadata": {WORD: LONG[:16_384]}}, "metadata"),
        ("update_memory", {"metadata": nested(33)}, "metadata"),
        ("update_memory", {"speaker": f"{WORD}\x00"}, "speaker"),
    ],
)  # fmt: skip
def test_what_is_too_long_too_many_or_out_of_range_is_refused(world: World, name: str, body: Json, field: str) -> None:
    assert world.refused(name, json=body) == (422, [field])


@pytest.mark.parametrize("name", ["recall", "context"])
def test_a_filter_that_is_none_is_refused_by_path_whatever_is_in_it(world: World, name: str) -> None:
    cases: dict[str, tuple[str, ...]] = {
        "filter.metadata.a": (
            '{"metadata.a": 1e999}',
            '{"metadata.a": ' + "9" * 400 + "}",
            '{"metadata.a": ["sesame"]}',
        ),
        "filter.metadata.a.gt": ('{"metadata.a": {"gt": -1e999}}', '{"metadata.a": {"gt": {"sesame": "sesame"}}}'),
        "filter.metadata.a.contains": ('{"metadata.a": {"contains": "sesame\\u0000"}}',),
        "filter.text": ('{"text": "' + LONG + '"}', '{"text": {}}', '{"text": null, "text": 1}'),
        "filter.and.1.occurred_at.lt": ('{"and": [{"kind": "turn"}, {"occurred_at": {"lt": "sesame"}}]}',),
        "filter": ("[]", '"sesame"', "7", "{}"),
        "filter.or": ('{"or": []}', '{"or": "sesame"}', '{"or": {"kind": "sesame"}}'),
        "filter.or.100.kind": ('{"or": [' + '{"kind": "sesame"}, ' * 5000 + "{}]}",),
        "filter.not" + ".not" * 7: ('{"not": ' * 40 + '{"kind": "sesame"}' + "}" * 40,),
    }
    for field, filters in cases.items():
        for wanted in filters:
            body = f'{{"query": "a", "filter": {wanted}}}'.encode()
            assert world.refused(name, content=body, headers=JSON) == (422, [field]), field
    for time in TIMES:
        wrong = {"query": "a", "filter": {"expires_at": {"in": ["2026-03-14T09:00:00Z", time]}}}
        assert world.refused(name, json=wrong) == (422, ["filter.expires_at.in.1"]), time


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("limit", ["0", "-1", "501", "sesame", "", "1.5", "1e1", str(10**30), "9" * 5000, "0x10"])
def test_a_limit_out_of_range_is_refused_by_every_list(world: World, name: str, limit: str) -> None:
    assert world.refused(name, params={"limit": limit}) == (422, ["limit"])


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("cursor", ["sesame", "", "AAAA", "é", "\x00", "AAAAAAAAAAAAAAAAAAAAAA", "=" * 8, "A" * 65])
def test_a_cursor_that_no_list_gave_is_refused_by_every_list(world: World, name: str, cursor: str) -> None:
    assert world.refused(name, params={"cursor": cursor}) == (422, ["cursor"])


def test_an_id_that_is_none_is_not_found_by_any_route(world: World) -> None:
    for operation in world.operations.values():
        if "{memory_id}" in operation.path:
            for memory_id in (
                "sesame",
                "%00",
                "mem_%00sesame",
                "..%2Fsesame",
                "%F0%9F%98%80",
                "%27%20OR%201=1--",
                "a" * 64,
            ):
                status, _ = world.refused(operation.id, memory_id=memory_id)
                assert status == 404, (operation.id, memory_id)
            assert world.refused(operation.id, memory_id="sesame" * 11) == (422, ["memory_id"])
            assert world.refused(operation.id, memory_id="%ff") == (422, ["path"])


@pytest.mark.parametrize("name", ["update_memory", "erase_memory", "forget_memory", "restore_memory"])
@pytest.mark.parametrize("tag", ["sesame", '"sesame"', '""', "", "W/", '"0"', '"-1"', "1", ",,,", '"1', '"1";"1"'])
def test_a_version_that_there_is_not_is_refused_by_every_write(world: World, name: str, tag: str) -> None:
    status, _ = world.refused(name, headers={"If-Match": tag})
    assert status == 412
