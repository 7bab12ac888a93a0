"""`/v1/memories`: write, read, change, forget, restore, erase."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from api.deps import Caller, Once, Read, ServiceDep, decode_cursor, encode_cursor
from api.limits import JsonRoute
from api.schemas import AddedOut, AddIn, MemoryOut, PageOut, PatchIn, ReceiptOut, ScopeIn, Time
from memory.lifecycle import etag
from memory.model import Kind, Memory, Selection, State
from recalld.core.access import Principal, forget_replies
from recalld.core.errors import InvalidInput
from recalld.core.scope import Scope

router = APIRouter(prefix="/v1/memories", tags=["memories"], route_class=JsonRoute)

METADATA_PREFIX = "metadata."
MemoryId = Annotated[str, Path(max_length=64, description="`mem_` + ULID")]
IfMatch = Annotated[str | None, Header(description="the `ETag` that the change rests on; a stale one: 412")]
Limit = Annotated[int, Query(ge=1, description="at most 500")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")]


@router.post("", status_code=201, response_model=AddedOut)
def add(body: AddIn, once: Once) -> Response:
    """Keep memories: all of them, or none. Searchable when the reply arrives."""

    def act() -> tuple[AddedOut, list[str]]:
        items = [item.to_item() for item in body.items]
        kept = once.service.memories.add(once.write.store, once.who, items)
        return AddedOut(items=[MemoryOut.of(memory) for memory in kept]), [memory.id for memory in kept]

    return once.run(201, act)


def _scope(
    user_id: Annotated[str | None, Query(min_length=1, max_length=256)] = None,
    agent_id: Annotated[str | None, Query(min_length=1, max_length=256)] = None,
    session_id: Annotated[str | None, Query(min_length=1, max_length=256)] = None,
) -> Scope:
    return ScopeIn(user_id=user_id, agent_id=agent_id, session_id=session_id).to_scope()


def _metadata(request: Request) -> dict[str, str]:
    """The `metadata.KEY=value` parameters, and an error for a parameter that there is not."""
    wanted: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith(METADATA_PREFIX) and len(name) > len(METADATA_PREFIX):
            if wanted.setdefault(name.removeprefix(METADATA_PREFIX), value) != value:
                raise InvalidInput.of("metadata", "each key at most once")
        elif name not in LIST_PARAMETERS:
            raise InvalidInput.of(name[:100], "is not a parameter of this list")
    return wanted


def _selection(
    scope: Annotated[Scope, Depends(_scope)],
    metadata: Annotated[dict[str, str], Depends(_metadata)],
    kind: Annotated[list[Kind] | None, Query(description="any of these")] = None,
    state: Annotated[list[State] | None, Query(description="any of these; absent: active")] = None,
    since: Annotated[Time | None, Query(description="from this time on (occurred, else recorded)")] = None,
    until: Annotated[Time | None, Query(description="before this time")] = None,
    text: Annotated[str | None, Query(min_length=1, max_length=1000, description="words that it must hold")] = None,
) -> Selection:
    return Selection(
        scope=scope,
        kinds=tuple(kind or ()),
        states=tuple(state or ("active",)),
        since=since,
        until=until,
        metadata=metadata,
        text=text,
    )


LIST_PARAMETERS = frozenset(
    {"user_id", "agent_id", "session_id", "kind", "state", "since", "until", "text", "limit", "cursor"}
)


@router.get("", response_model=PageOut)
def list_memories(
    who: Caller,
    store: Read,
    service: ServiceDep,
    selection: Annotated[Selection, Depends(_selection)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageOut:
    """Memories, newest arrival first. `metadata.KEY=value` filters on a top-level key."""
    return _page(who, store, service, selection, limit, cursor)


@router.get("/{memory_id}", response_model=MemoryOut)
def get(
    memory_id: MemoryId,
    who: Caller,
    store: Read,
    service: ServiceDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One memory, in its current version."""
    memory = service.memories.get(store, who, memory_id)
    headers = {"ETag": etag(memory)}
    if if_none_match is not None and etag(memory) in [tag.strip() for tag in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    return JSONResponse(MemoryOut.of(memory).model_dump(mode="json"), headers=headers)


@router.patch("/{memory_id}", response_model=MemoryOut)
def patch(memory_id: MemoryId, body: PatchIn, once: Once, if_match: IfMatch = None) -> Response:
    """Change a memory by a JSON merge patch: a new version, and the old one stays in its history."""

    def act() -> tuple[MemoryOut, list[str]]:
        service = once.service.memories
        return _shown(service.update(once.write.store, once.who, memory_id, body.given(), if_match))

    return once.run(200, act)


@router.delete("/{memory_id}", response_model=ReceiptOut)
def erase(memory_id: MemoryId, once: Once, if_match: IfMatch = None) -> Response:
    """Erase a memory: its row, versions, full text and vector, and what was derived from it. Not reversible."""

    def act() -> tuple[ReceiptOut, list[str]]:
        service = once.service
        receipt = service.memories.erase(once.write.store, once.who, memory_id, if_match)
        replies = forget_replies(once.write.connection, once.who.namespace, receipt.memory_ids)
        once.write.after_commit.append(service.indexer.apply_all)
        removed = {**receipt.removed, "idempotency_replies": replies}
        return ReceiptOut.of(receipt).model_copy(update={"removed": removed}), []

    return once.run(200, act)


@router.post("/{memory_id}/forget", response_model=MemoryOut)
def forget(memory_id: MemoryId, once: Once, if_match: IfMatch = None) -> Response:
    """Take a memory out of recall. Reversible by `restore`."""
    return once.run(
        200,
        lambda: _shown(once.service.memories.set_state(once.write.store, once.who, memory_id, "forgotten", if_match)),
    )


@router.post("/{memory_id}/restore", response_model=MemoryOut)
def restore(memory_id: MemoryId, once: Once, if_match: IfMatch = None) -> Response:
    """Bring a forgotten memory back."""
    return once.run(
        200,
        lambda: _shown(once.service.memories.set_state(once.write.store, once.who, memory_id, "active", if_match)),
    )


@router.get("/{memory_id}/history", response_model=PageOut)
def history(
    memory_id: MemoryId, who: Caller, store: Read, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> PageOut:
    """Every version of a memory, newest first."""
    return _slice(who, service.memories.history(store, who, memory_id), service, limit, cursor)


@router.get("/{memory_id}/sources", response_model=PageOut)
def sources(
    memory_id: MemoryId, who: Caller, store: Read, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> PageOut:
    """The memories that this one was derived from."""
    return _slice(who, service.memories.sources(store, who, memory_id), service, limit, cursor)


@router.get("/{memory_id}/derived", response_model=PageOut)
def derived(
    memory_id: MemoryId, who: Caller, store: Read, service: ServiceDep, limit: Limit = 50, cursor: Cursor = None
) -> PageOut:
    """The memories that were derived from this one."""
    service.memories.get(store, who, memory_id)
    return _page(who, store, service, Selection(source_id=memory_id), limit, cursor)


def _page(
    who: Principal, store: Read, service: ServiceDep, selection: Selection, limit: int, cursor: str | None
) -> PageOut:
    _check_limit(limit, service)
    from_row = replace(selection, before_row=decode_cursor(who.namespace, cursor))
    page = service.memories.select(store, who, from_row, limit)
    return PageOut(
        items=[MemoryOut.of(memory) for memory in page.items], next_cursor=encode_cursor(who.namespace, page.next_row)
    )


def _slice(who: Principal, memories: list[Memory], service: ServiceDep, limit: int, cursor: str | None) -> PageOut:
    _check_limit(limit, service)
    start = decode_cursor(who.namespace, cursor) or 0
    end = start + limit if start + limit < len(memories) else None
    items = [MemoryOut.of(memory) for memory in memories[start : start + limit]]
    return PageOut(items=items, next_cursor=encode_cursor(who.namespace, end))


def _check_limit(limit: int, service: ServiceDep) -> None:
    most = service.settings.list_limit_max
    if limit > most:
        raise InvalidInput.of("limit", f"1 to {most}", most)


def _shown(memory: Memory) -> tuple[MemoryOut, list[str]]:
    return MemoryOut.of(memory), [memory.id]
