"""`/v1/facts`: what stands; `/v1/changes`: what was decided and why, and taking it back."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from api.deps import Caller, Once, ServiceDep, WriteTransaction, decode_cursor, encode_cursor
from api.limits import JsonRoute
from api.routes.memories import Cursor, Limit, ScopeOf, check_limit
from api.schemas import MemoryOut, Name, PageOut, Time, WithoutNul
from api.schemas_changes import ChangeOut, ChangePageOut
from memory.model import Action, ChangeSelection, Selection

router = APIRouter(prefix="/v1", tags=["knowledge"], route_class=JsonRoute)

ChangeId = Annotated[str, Path(max_length=64, description="`chg_` + ULID")]
OfMemory = Annotated[str, Query(min_length=1, max_length=64, description="only those on this memory"), WithoutNul]


@router.get("/facts", response_model=PageOut)
def list_facts(
    who: Caller,
    service: ServiceDep,
    scope: ScopeOf,
    subject: Annotated[Name | None, Query(description="as in `frame`")] = None,
    predicate: Annotated[Name | None, Query(description="as in `frame`")] = None,
    as_of: Annotated[Time | None, Query(description="what held then; absent: now")] = None,
    known_at: Annotated[Time | None, Query(description="as far as was known then; absent: now")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageOut:
    """Facts, newest arrival first. What was superseded shows only for a time at which it held, or was held to."""
    check_limit(limit, service)
    frame = {name: value for name, value in (("subject", subject), ("predicate", predicate)) if value is not None}
    list_name = f"{who.namespace}/facts"
    wanted = Selection(scope=scope, frame=frame, known_at=known_at, before_row=decode_cursor(list_name, cursor))
    with service.read_store() as store:
        page = service.memories.facts(store, who, wanted, as_of, limit)
    items = [MemoryOut.of(memory) for memory in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(list_name, page.next_row))


@router.get("/changes", response_model=ChangePageOut)
def list_changes(
    who: Caller,
    service: ServiceDep,
    scope: ScopeOf,
    kind: Annotated[list[Action] | None, Query(description="any of these")] = None,
    memory_id: OfMemory | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ChangePageOut:
    """What was decided, newest first: of a scope, the changes all of whose memories are in it."""
    check_limit(limit, service)
    list_name = f"{who.namespace}/changes"
    wanted = ChangeSelection(scope, tuple(kind or ()), memory_id, decode_cursor(list_name, cursor))
    with service.read_store() as store:
        page = service.changes.select(store, who, wanted, limit)
    return ChangePageOut(
        items=[ChangeOut.of(change) for change in page.items], next_cursor=encode_cursor(list_name, page.next_number)
    )


@router.post("/changes/{change_id}/undo", response_model=ChangeOut)
def undo_change(change_id: ChangeId, once: Once) -> Response:
    """Take a change back. Deriving again does not take it anew; the undo is a change that can be undone itself."""

    def act(write: WriteTransaction) -> tuple[ChangeOut, list[str]]:
        undo = once.service.changes.undo(write.store, once.who, change_id)
        return ChangeOut.of(undo), list(undo.memory_ids)

    return once.run(200, act)
