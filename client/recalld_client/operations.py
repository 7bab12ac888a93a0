"""The one table of operations: each is a pure function from arguments to the request that carries them out.

Both clients have a method of the same name, arguments and defaults for each (a test holds them together), so that what
a call sends is decided here alone. `bound` is the scope to fill in; empty for an unbound client. What each does and
means is said once, on the methods.

Writes carry an `Idempotency-Key`, the caller's or a new one, so that trying one again never does it twice. Chat has
none: what it remembers is written after the reply, so it is only tried again when the server refused it untouched.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict, Unpack

from recalld_client import wire
from recalld_client.batches import batches, body_of, item_json
from recalld_client.calls import Call, Listing, Reply, T, query, read_jobs, read_memories, read_readiness, reads
from recalld_client.errors import InvalidValue
from recalld_client.frame_models import Procedures, WorkspacePage
from recalld_client.job_models import Job
from recalld_client.models import (
    Change,
    ChangePage,
    Chat,
    Context,
    Embeddings,
    Feedback,
    Health,
    Imported,
    Memory,
    Page,
    Readiness,
    Recall,
    Receipt,
    SessionState,
    Stats,
)
from recalld_client.scopes import Bound, narrowed

Messages = str | Sequence[Mapping[str, object]]
Items = Iterable[str | Mapping[str, object]]

JSON = ("Content-Type", "application/json")
LINES = ("Content-Type", "application/x-ndjson")
PATCH = ("Content-Type", "application/merge-patch+json")
MEMORIES, JOBS, ERASURES = "/v1/memories", "/v1/jobs", "/v1/erasures"
ITEMS_MAX = 1000


class Changes(TypedDict, total=False):
    """What `update` can change; None removes."""

    text: str
    metadata: Mapping[str, Any] | None
    occurred_at: wire.Time | None
    expires_at: wire.Time | None
    speaker: str | None
    frame: Mapping[str, Any] | None


CHANGEABLE = tuple(Changes.__annotations__)


def add(
    bound: Bound,
    text: str,
    *,
    kind: str | None = None,
    role: str | None = None,
    speaker: str | None = None,
    occurred_at: wire.Time | None = None,
    external_id: str | None = None,
    metadata: Mapping[str, object] | None = None,
    expires_at: wire.Time | None = None,
    frame: Mapping[str, object] | None = None,
    idempotency_key: str | None = None,
) -> Call[Memory]:
    """`POST /v1/memories` with one item."""
    item = _given(
        text=wire.text(text, "text"),
        kind=kind,
        role=role,
        speaker=speaker,
        occurred_at=occurred_at,
        external_id=external_id,
        metadata=metadata,
        expires_at=expires_at,
        frame=frame,
    )
    many = read_memories(1)
    return _write(
        "POST", MEMORIES, lambda reply: many(reply)[0], body_of([item_json(item, bound, "")]), key=idempotency_key
    )


def add_many(
    bound: Bound, items: Items, *, items_max: int = 200, idempotency_key: str | None = None
) -> Iterator[Call[list[Memory]]]:
    """`POST /v1/memories`, as many as it takes; a caller's key gets the number of the batch."""
    if isinstance(items, str | bytes | Mapping):
        raise InvalidValue.of("items", "must be an iterable of items, not one item: use add")
    wire.at_least(items_max, "items_max", 1, ITEMS_MAX)
    return (
        _write(
            "POST",
            MEMORIES,
            read_memories(batch.items),
            batch.body,
            key=f"{idempotency_key}-{number}" if idempotency_key is not None else None,
        )
        for number, batch in enumerate(batches(items, bound, items_max=items_max))
    )


def get(memory_id: str) -> Call[Memory]:
    """`GET /v1/memories/{id}`"""
    return Call("GET", _memory(memory_id), reads(Memory))


def listing(
    bound: Bound,
    *,
    kind: str | Sequence[str] | None = None,
    state: str | Sequence[str] | None = None,
    since: wire.Time | None = None,
    until: wire.Time | None = None,
    metadata: Mapping[str, str | int | float | bool | None] | None = None,
    text: str | None = None,
    limit: int | None = None,
) -> Listing[Page]:
    """`GET /v1/memories`, page by page."""
    some = [(name, each) for name, given in (("kind", kind), ("state", state)) for each in wire.any_of(given, name)]
    found = query(since=_time(since, "since"), until=_time(until, "until"), text=text)
    return _listing(MEMORIES, bound, limit, (*some, *found, *wire.metadata(metadata or {})))


def update(
    memory_id: str,
    *,
    if_match: int | None = None,
    idempotency_key: str | None = None,
    **changes: Unpack[Changes],
) -> Call[Memory]:
    """`PATCH /v1/memories/{id}`, a JSON merge patch (RFC 7396): None removes, what is left out stays."""
    for name in changes:
        if name not in CHANGEABLE:
            raise InvalidValue.of(name, f"cannot be changed; these can: {', '.join(CHANGEABLE)}")
    if not changes:
        raise InvalidValue.of("changes", f"give at least one of {', '.join(CHANGEABLE)}")
    body = wire.encode(wire.to_json(changes, ""))
    return _write("PATCH", _memory(memory_id), reads(Memory), body, key=idempotency_key, if_match=if_match, kind=PATCH)


def delete(memory_id: str, *, if_match: int | None = None, idempotency_key: str | None = None) -> Call[Receipt]:
    """`DELETE /v1/memories/{id}`"""
    return _write("DELETE", _memory(memory_id), reads(Receipt), key=idempotency_key, if_match=if_match)


def erase(
    bound: Bound,
    *,
    ids: Sequence[str] | None = None,
    filter: Mapping[str, object] | None = None,
    everything: bool = False,
    dry_run: bool = False,
    idempotency_key: str | None = None,
) -> Call[Receipt]:
    """`POST /v1/erasures`; a bound scope is what is erased, or what a filter is narrowed to."""
    if sum((ids is not None, filter is not None, everything)) > 1:
        raise InvalidValue.of("erase", "give one of ids, filter, everything")
    if everything and bound:
        raise InvalidValue.of("everything", "is for a client that is bound to no scope: erase() erases this scope")
    asked: dict[str, object] = {"dry_run": True} if dry_run else {}
    if ids is not None:
        asked["ids"] = wire.strings(ids, "ids")
    elif filter is not None:
        asked["filter"] = {"and": [filter, *({name: value} for name, value in bound.items())]} if bound else filter
    elif bound:
        asked["scope"] = dict(bound)
    elif everything:
        asked["all"] = True
    else:
        raise InvalidValue.of("everything", "must be True to erase all that the key may see; or bind a scope first")
    body = wire.encode(wire.to_json(asked, ""))
    return replace(_write("POST", ERASURES, reads(Receipt), body, key=idempotency_key), generates=True)


def erasure(erasure_id: str) -> Call[Receipt]:
    """`GET /v1/erasures/{id}`"""
    return Call("GET", f"{ERASURES}/{wire.path_part(erasure_id, 'erasure_id')}", reads(Receipt))


def export(bound: Bound, path: str | Path, *, vectors: bool = False) -> Call[None]:
    """`GET /v1/export`; its lines are written to `path` by `files`."""
    params = (*bound.items(), *((("vectors", "true"),) if vectors else ()))
    if Path(path).exists():
        raise InvalidValue.of("path", "is there already: an export is a new file")
    return Call("GET", "/v1/export", lambda reply: None, params=params, streams=True)


def import_(path: str | Path, *, restore_erased: bool = False) -> Call[Imported]:
    """`POST /v1/import`. A second arrival changes nothing."""
    params = (("restore_erased", "true"),) if restore_erased else ()
    if not Path(path).is_file():
        raise InvalidValue.of("path", "is no file")
    return Call("POST", "/v1/import", reads(Imported), params=params, headers=(LINES,), file=Path(path), generates=True)


def forget(memory_id: str, *, if_match: int | None = None, idempotency_key: str | None = None) -> Call[Memory]:
    """`POST /v1/memories/{id}/forget`"""
    return _write("POST", f"{_memory(memory_id)}/forget", reads(Memory), key=idempotency_key, if_match=if_match)


def restore(memory_id: str, *, if_match: int | None = None, idempotency_key: str | None = None) -> Call[Memory]:
    """`POST /v1/memories/{id}/restore`"""
    return _write("POST", f"{_memory(memory_id)}/restore", reads(Memory), key=idempotency_key, if_match=if_match)


def history(bound: Bound, memory_id: str, *, limit: int | None = None) -> Listing[Page]:
    """`GET /v1/memories/{id}/history`"""
    return _listing(f"{_memory(memory_id)}/history", bound, limit)


def sources(bound: Bound, memory_id: str, *, limit: int | None = None) -> Listing[Page]:
    """`GET /v1/memories/{id}/sources`"""
    return _listing(f"{_memory(memory_id)}/sources", bound, limit)


def derived(bound: Bound, memory_id: str, *, limit: int | None = None) -> Listing[Page]:
    """`GET /v1/memories/{id}/derived`"""
    return _listing(f"{_memory(memory_id)}/derived", bound, limit)


def facts(
    bound: Bound,
    *,
    subject: str | None = None,
    predicate: str | None = None,
    as_of: wire.Time | None = None,
    known_at: wire.Time | None = None,
    limit: int | None = None,
) -> Listing[Page]:
    """`GET /v1/facts`, page by page."""
    moments = query(as_of=_time(as_of, "as_of"), known_at=_time(known_at, "known_at"))
    return _listing("/v1/facts", bound, limit, (*query(subject=subject, predicate=predicate), *moments))


def episodes(
    bound: Bound,
    *,
    actor: str | None = None,
    place: str | None = None,
    since: wire.Time | None = None,
    until: wire.Time | None = None,
    as_of: wire.Time | None = None,
    known_at: wire.Time | None = None,
    limit: int | None = None,
) -> Listing[Page]:
    """`GET /v1/episodes`, page by page."""
    moments = query(since=_time(since, "since"), until=_time(until, "until"))
    known = query(as_of=_time(as_of, "as_of"), known_at=_time(known_at, "known_at"))
    return _listing("/v1/episodes", bound, limit, (*query(actor=actor, place=place), *moments, *known))


def workspace(
    bound: Bound,
    *,
    actor: str | None = None,
    place: str | None = None,
    as_of: wire.Time | None = None,
    known_at: wire.Time | None = None,
    limit: int | None = None,
) -> Listing[WorkspacePage]:
    """`GET /v1/workspace`, page by page."""
    known = query(as_of=_time(as_of, "as_of"), known_at=_time(known_at, "known_at"))
    remaining = None if limit is None else wire.at_least(limit, "limit", 1)
    given = (*bound.items(), *query(actor=actor, place=place), *known)
    return Listing("/v1/workspace", WorkspacePage, given, remaining)


def procedures(
    bound: Bound,
    task: str,
    *,
    parameters: Mapping[str, object] | None = None,
    limit: int = 5,
    as_of: wire.Time | None = None,
    known_at: wire.Time | None = None,
    filter: Mapping[str, object] | None = None,
) -> Call[Procedures]:
    """`POST /v1/procedures`"""
    asked = _given(
        task=wire.text(task, "task"),
        parameters=parameters,
        scope=bound or None,
        limit=limit,
        as_of=as_of,
        known_at=known_at,
        filter=filter,
    )
    return _ask("/v1/procedures", asked, reads(Procedures))


def report_outcome(
    memory_id: str,
    success: bool,
    *,
    note: str | None = None,
    at: wire.Time | None = None,
    if_match: int | None = None,
    idempotency_key: str | None = None,
) -> Call[Memory]:
    """`PATCH /v1/memories/{id}` of `frame.outcome`; the time tells a report from the same one before."""
    when = datetime.now(UTC) if at is None else at
    outcome = {"success": success, "note": note, "at": wire.time(when, "at")}
    return update(memory_id, if_match=if_match, idempotency_key=idempotency_key, frame={"outcome": outcome})


def changes(
    bound: Bound, *, kind: str | Sequence[str] | None = None, memory_id: str | None = None, limit: int | None = None
) -> Listing[ChangePage]:
    """`GET /v1/changes`, page by page."""
    some = [("kind", each) for each in wire.any_of(kind, "kind")]
    remaining = None if limit is None else wire.at_least(limit, "limit", 1)
    return Listing("/v1/changes", ChangePage, (*bound.items(), *some, *query(memory_id=memory_id)), remaining)


def undo(change_id: str, *, idempotency_key: str | None = None) -> Call[Change]:
    """`POST /v1/changes/{id}/undo`"""
    path = f"/v1/changes/{wire.path_part(change_id, 'change_id')}/undo"
    return _write("POST", path, reads(Change), key=idempotency_key)


def recall(
    bound: Bound,
    query: str,
    *,
    limit: int = 10,
    kinds: Sequence[str] | None = None,
    as_of: wire.Time | None = None,
    known_at: wire.Time | None = None,
    now: wire.Time | None = None,
    filter: Mapping[str, object] | None = None,
    explain: bool = False,
) -> Call[Recall]:
    """`POST /v1/recall`"""
    asked = _question(bound, query, limit, kinds, as_of, known_at, now, filter)
    return _ask("/v1/recall", asked | ({"explain": True} if explain else {}), reads(Recall))


def context(
    bound: Bound,
    query: str,
    *,
    token_budget: int | None = None,
    limit: int | None = None,
    kinds: Sequence[str] | None = None,
    as_of: wire.Time | None = None,
    known_at: wire.Time | None = None,
    now: wire.Time | None = None,
    filter: Mapping[str, object] | None = None,
    state: bool = True,
) -> Call[Context]:
    """`POST /v1/context`"""
    asked = _question(bound, query, limit, kinds, as_of, known_at, now, filter)
    asked |= _given(token_budget=token_budget, state=None if state else False)
    return _ask("/v1/context", asked, reads(Context))


def state(bound: Bound, session_id: str | None = None) -> Call[SessionState]:
    """`GET /v1/sessions/{session_id}/state`"""
    scope = narrowed(bound, {} if session_id is None else {"session_id": session_id}, "state")
    if "session_id" not in scope:
        raise InvalidValue.of("session_id", "is needed: bind one with scope, or give it")
    path = f"/v1/sessions/{wire.path_part(scope.pop('session_id'), 'session_id')}/state"
    return Call("GET", path, reads(SessionState), params=tuple(scope.items()))


def feedback(
    recall_id: str, memory_id: str, useful: bool | None, *, idempotency_key: str | None = None
) -> Call[Feedback]:
    """`POST /v1/feedback`"""
    vote = {"recall_id": recall_id, "memory_id": memory_id, "useful": useful}
    return _write("POST", "/v1/feedback", reads(Feedback), wire.encode(wire.to_json(vote, "")), key=idempotency_key)


def chat(
    bound: Bound,
    messages: Messages,
    *,
    model: str | None = None,
    recall: bool = True,
    remember: bool = True,
    token_budget: int | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> Call[Chat]:
    """`POST /v1/chat/completions`"""
    memory = _given(scope=bound or None, recall=recall, remember=remember, token_budget=token_budget)
    settings = _given(model=model, max_tokens=max_tokens, temperature=temperature, seed=seed)
    return _chat(messages, settings, memory, reads(Chat))


def chat_stream(
    bound: Bound,
    messages: Messages,
    *,
    model: str | None = None,
    recall: bool = True,
    remember: bool = True,
    token_budget: int | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
) -> Call[None]:
    """`POST /v1/chat/completions` with `stream`; its events are read by `streaming`."""
    memory = _given(scope=bound or None, recall=recall, remember=remember, token_budget=token_budget)
    settings = _given(model=model, max_tokens=max_tokens, temperature=temperature, seed=seed)
    return _chat(messages, settings, memory, lambda reply: None, streams=True)


def embeddings(texts: str | Sequence[str], *, model: str | None = None) -> Call[Embeddings]:
    """`POST /v1/embeddings`"""
    told = [wire.text(texts, "texts")] if isinstance(texts, str) else wire.strings(texts, "texts")
    return _ask("/v1/embeddings", {"input": told, **_given(model=model)}, reads(Embeddings))


def consolidate(bound: Bound, *, idempotency_key: str | None = None) -> Call[Job]:
    """`POST /v1/consolidations`"""
    asked = _given(scope=bound or None)
    return _write("POST", "/v1/consolidations", reads(Job), wire.encode(wire.to_json(asked, "")), key=idempotency_key)


def jobs(
    bound: Bound,
    *,
    state: str | Sequence[str] | None = None,
    task: str | Sequence[str] | None = None,
    limit: int = 100,
) -> Call[list[Job]]:
    """`GET /v1/jobs`, one page."""
    some = [(name, each) for name, given in (("state", state), ("task", task)) for each in wire.any_of(given, name)]
    size = str(wire.at_least(limit, "limit", 1, 500))
    return Call("GET", JOBS, read_jobs, params=(*bound.items(), *some, ("limit", size)))


def job(job_id: str) -> Call[Job]:
    """`GET /v1/jobs/{id}`"""
    return Call("GET", f"{JOBS}/{wire.path_part(job_id, 'job_id')}", reads(Job))


def job_events(job_id: str, *, after: int = 0) -> Call[None]:
    """`GET /v1/jobs/{id}/events`; its events are read by `job_stream`."""
    seen = (("Last-Event-ID", str(wire.at_least(after, "after", 0))),)
    path = f"{JOBS}/{wire.path_part(job_id, 'job_id')}/events"
    return Call("GET", path, lambda reply: None, headers=seen, streams=True)


def cancel_job(job_id: str, *, idempotency_key: str | None = None) -> Call[Job]:
    """`POST /v1/jobs/{id}/cancel`"""
    return _write("POST", f"{JOBS}/{wire.path_part(job_id, 'job_id')}/cancel", reads(Job), key=idempotency_key)


def retry_job(job_id: str, *, idempotency_key: str | None = None) -> Call[Job]:
    """`POST /v1/jobs/{id}/retry`"""
    return _write("POST", f"{JOBS}/{wire.path_part(job_id, 'job_id')}/retry", reads(Job), key=idempotency_key)


def stats() -> Call[Stats]:
    """`GET /v1/stats`"""
    return Call("GET", "/v1/stats", reads(Stats))


def health() -> Call[Health]:
    """`GET /healthz`"""
    return Call("GET", "/healthz", reads(Health))


def ready() -> Call[Readiness]:
    """`GET /readyz`; a 503 is an answer here."""
    return Call("GET", "/readyz", read_readiness, accepts=frozenset({503}))


def _write(
    method: str,
    path: str,
    parse: Callable[[Reply], T],
    body: bytes | None = None,
    *,
    key: str | None,
    if_match: int | None = None,
    kind: tuple[str, str] = JSON,
) -> Call[T]:
    headers = [("Idempotency-Key", wire.header(key, "idempotency_key") if key is not None else uuid.uuid4().hex)]
    if body is not None:
        headers.append(kind)
    if if_match is not None:
        headers.append(("If-Match", f'"{wire.at_least(if_match, "if_match", 1)}"'))
    return Call(method, path, parse, headers=tuple(headers), body=body)


def _ask(path: str, asked: Mapping[str, object], parse: Callable[[Reply], T]) -> Call[T]:
    return Call("POST", path, parse, headers=(JSON,), body=wire.encode(wire.to_json(asked, "")))


def _chat(
    messages: Messages,
    settings: dict[str, object],
    memory: dict[str, object],
    parse: Callable[[Reply], T],
    *,
    streams: bool = False,
) -> Call[T]:
    told = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    asked = {"messages": told, **settings, "recalld": memory}
    if streams:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return Call(
        "POST",
        "/v1/chat/completions",
        parse,
        headers=(JSON,),
        body=wire.encode(wire.to_json(asked, "")),
        repeatable=False,
        generates=True,
        streams=streams,
    )


def _memory(memory_id: str) -> str:
    return f"{MEMORIES}/{wire.path_part(memory_id, 'memory_id')}"


def _listing(path: str, bound: Bound, limit: int | None, params: tuple[tuple[str, str], ...] = ()) -> Listing[Page]:
    remaining = None if limit is None else wire.at_least(limit, "limit", 1)
    return Listing(path, Page, (*bound.items(), *params), remaining)


def _question(
    bound: Bound,
    query: str,
    limit: int | None,
    kinds: Sequence[str] | None,
    as_of: wire.Time | None,
    known_at: wire.Time | None,
    now: wire.Time | None,
    filter: Mapping[str, object] | None,
) -> dict[str, object]:
    return _given(
        query=wire.text(query, "query"),
        scope=bound or None,
        limit=limit,
        kinds=wire.strings(kinds, "kinds") if kinds is not None else None,
        as_of=as_of,
        known_at=known_at,
        now=now,
        filter=filter,
    )


def _time(value: object, field: str) -> str | None:
    return wire.time(value, field) if value is not None else None


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
