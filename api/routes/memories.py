"""`/v1/memories`: write, read, change, forget, restore, erase."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from api.deps import Caller, Once, ServiceDep, WriteTransaction, decode_cursor, encode_cursor
from api.limits import PREFIXES_KEY, JsonRoute
from api.routes.erasures import erase
from api.schemas import AddedOut, AddIn, MemoryOut, Name, PageOut, PatchIn, ScopeIn, Time, WithoutNul
from api.schemas_erase import ReceiptOut
from memory.erase import Target
from memory.lifecycle import check_version, etag
from memory.model import Kind, Memory, Selection, State
from recalld.core.access import Principal
from recalld.core.errors import InvalidInput
from recalld.core.scope import Scope

router = APIRouter(prefix="/v1/memories", tags=["memories"], route_class=JsonRoute)

METADATA_PREFIX = "metadata."
METADATA_FILTERS_MAX = 16
MemoryId = Annotated[str, Path(max_length=64, description="`mem_` + ULID")]
IfMatch = Annotated[str | None, Header(description="the `ETag` that the change rests on; a stale one: 412")]
Limit = Annotated[int, Query(ge=1, description="at most 500")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next_cursor` of the page before")]


@router.post("", status_code=201, response_model=AddedOut)
def add_memories(body: AddIn, once: Once) -> Response:
    """Keep memories: all of them, or none. Searchable when the reply arrives."""

    def act(write: WriteTransaction) -> tuple[AddedOut, list[str]]:
        items = [item.to_item() for item in body.items]
        kept = once.service.memories.add(write.store, once.who, items)
        return AddedOut(items=[MemoryOut.of(memory) for memory in kept]), [memory.id for memory in kept]

    return once.run(201, act)


async def _scope(user_id: Name | None = None, agent_id: Name | None = None, session_id: Name | None = None) -> Scope:
    return ScopeIn(user_id=user_id, agent_id=agent_id, session_id=session_id).to_scope()


ScopeOf = Annotated[Scope, Depends(_scope)]


async def _metadata(request: Request) -> dict[str, str]:
    """The `metadata.KEY=value` parameters."""
    wanted: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith(METADATA_PREFIX) and wanted.setdefault(name.removeprefix(METADATA_PREFIX), value) != value:
            raise InvalidInput.of("metadata", "each key at most once")
    if len(wanted) > METADATA_FILTERS_MAX:
        raise InvalidInput.of("metadata", f"at most {METADATA_FILTERS_MAX} keys", METADATA_FILTERS_MAX)
    return wanted


Words = Annotated[str, Query(min_length=1, max_length=1000, description="words that it must hold"), WithoutNul]


async def _selection(
    scope: ScopeOf,
    metadata: Annotated[dict[str, str], Depends(_metadata)],
    kind: Annotated[list[Kind] | None, Query(description="any of these")] = None,
    state: Annotated[list[State] | None, Query(description="any of these; absent: active")] = None,
    since: Annotated[Time | None, Query(description="from this time on (occurred, else recorded)")] = None,
    until: Annotated[Time | None, Query(description="before this time")] = None,
    text: Words | None = None,
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


@router.get("", response_model=PageOut, openapi_extra={PREFIXES_KEY: [METADATA_PREFIX]})
def list_memories(
    who: Caller,
    service: ServiceDep,
    selection: Annotated[Selection, Depends(_selection)],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageOut:
    """Memories, newest arrival first. `metadata.KEY=value` filters on a top-level key."""
    return _page(who, service, selection, "", limit, cursor)


@router.get("/{memory_id}", response_model=MemoryOut, responses={304: {"description": "It is that version still"}})
def get_memory(
    memory_id: MemoryId, who: Caller, service: ServiceDep, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """One memory, in its current version."""
    with service.read_store() as store:
        memory = service.memories.get(store, who, memory_id)
    headers = {"ETag": etag(memory)}
    known = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    if etag(memory) in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return JSONResponse(MemoryOut.of(memory).model_dump(mode="json"), headers=headers)


@router.patch("/{memory_id}", response_model=MemoryOut)
def update_memory(memory_id: MemoryId, body: PatchIn, once: Once, if_match: IfMatch = None) -> Response:
    """Change a memory by a JSON merge patch: a new version, and the old one stays in its history."""
    memories = once.service.memories
    return once.run(
        200, lambda write: _shown(memories.update(write.store, once.who, memory_id, body.given(), if_match))
    )


@router.delete("/{memory_id}", response_model=ReceiptOut)
def erase_memory(memory_id: MemoryId, once: Once, if_match: IfMatch = None) -> Response:
    """Erase a memory and what was derived from it, and look for what is left of it. Not reversible."""

    def check(write: WriteTransaction) -> Target:
        check_version(once.service.memories.get(write.store, once.who, memory_id), if_match)
        return Target("ids", (memory_id,))

    return erase(once, check)


@router.post("/{memory_id}/forget", response_model=MemoryOut)
def forget_memory(memory_id: MemoryId, once: Once, if_match: IfMatch = None) -> Response:
    """Take a memory out of recall. Reversible by `restore`."""
    memories = once.service.memories
    return once.run(
        200, lambda write: _shown(memories.set_state(write.store, once.who, memory_id, "forgotten", if_match))
    )


@router.post("/{memory_id}/restore", response_model=MemoryOut)
def restore_memory(memory_id: MemoryId, once: Once, if_match: IfMatch = None) -> Response:
    """Bring a forgotten memory back."""
    memories = once.service.memories
    return once.run(200, lambda write: _shown(memories.set_state(write.store, once.who, memory_id, "active", if_match)))


@router.get("/{memory_id}/history", response_model=PageOut)
def list_versions(
    memory_id: MemoryId, who: Caller, service: ServiceDep, scope: ScopeOf, limit: Limit = 50, cursor: Cursor = None
) -> PageOut:
    """Every version of a memory, newest first."""
    wanted = scope.within(who.bound)
    with service.read_store() as store:
        versions = service.memories.history(store, who, memory_id)
    by_version = {memory.version: memory for memory in versions if wanted.covers(memory.item.scope)}
    return _slice(by_version, service, f"{who.namespace}/{memory_id}/history", limit, cursor)


@router.get("/{memory_id}/sources", response_model=PageOut)
def list_sources(
    memory_id: MemoryId, who: Caller, service: ServiceDep, scope: ScopeOf, limit: Limit = 50, cursor: Cursor = None
) -> PageOut:
    """The memories that this one was derived from, newest first."""
    wanted = scope.within(who.bound)
    with service.read_store() as store:
        sources = service.memories.sources(store, who, memory_id)
    by_row = {memory.row: memory for memory in sources if wanted.covers(memory.item.scope)}
    return _slice(by_row, service, f"{who.namespace}/{memory_id}/sources", limit, cursor)


@router.get("/{memory_id}/derived", response_model=PageOut)
def list_derived(
    memory_id: MemoryId, who: Caller, service: ServiceDep, scope: ScopeOf, limit: Limit = 50, cursor: Cursor = None
) -> PageOut:
    """The memories that were derived from this one, newest first."""
    with service.read_store() as store:
        service.memories.get(store, who, memory_id)
    return _page(who, service, Selection(scope=scope, source_id=memory_id), f"{memory_id}/derived", limit, cursor)


def _page(
    who: Principal, service: ServiceDep, selection: Selection, name: str, limit: int, cursor: str | None
) -> PageOut:
    """A page that SQL selects; places are row numbers."""
    check_limit(limit, service)
    list_name = f"{who.namespace}/{name}"
    from_row = replace(selection, before_row=decode_cursor(list_name, cursor))
    with service.read_store() as store:
        page = service.memories.select(store, who, from_row, limit)
    items = [MemoryOut.of(memory) for memory in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(list_name, page.next_row))


def _slice(
    memories: Mapping[int, Memory], service: ServiceDep, list_name: str, limit: int, cursor: str | None
) -> PageOut:
    """A page of what is there already, by place, the highest first: what is added later never moves a page."""
    check_limit(limit, service)
    before = decode_cursor(list_name, cursor)
    places = sorted((place for place in memories if before is None or place < before), reverse=True)
    items = [MemoryOut.of(memories[place]) for place in places[:limit]]
    return PageOut(items=items, next_cursor=encode_cursor(list_name, places[limit - 1] if places[limit:] else None))


def check_limit(limit: int, service: ServiceDep) -> None:
    """Refuse a `limit` above the setting.

    Raises:
        InvalidInput: it is.
    """
    most = service.settings.list_limit_max
    if limit > most:
        raise InvalidInput.of("limit", f"1 to {most}", most)


def _shown(memory: Memory) -> tuple[MemoryOut, list[str]]:
    return MemoryOut.of(memory), [memory.id]
