"""`/v1/episodes`: what happened, in the order of time; `/v1/workspace`: where everybody stands after it."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import Caller, ServiceDep, decode_cursor, decode_places, encode_cursor
from api.limits import JsonRoute
from api.routes.memories import Cursor, Limit, ScopeOf, check_limit
from api.schemas import MemoryOut, Name, PageOut, Time
from api.schemas_episodes import StandingOut, WorkspaceOut
from memory.episodes import Wanted
from memory.model import Selection

router = APIRouter(prefix="/v1", tags=["episodes"], route_class=JsonRoute)

KnownAt = Annotated[Time | None, Query(description="as far as was recorded then; absent: now")]


@router.get("/episodes", response_model=PageOut)
def list_episodes(
    who: Caller,
    service: ServiceDep,
    scope: ScopeOf,
    actor: Annotated[Name | None, Query(description="a whole name, in any case")] = None,
    place: Annotated[Name | None, Query(description="a whole name, in any case")] = None,
    since: Annotated[Time | None, Query(description="what still went on then, or began later")] = None,
    until: Annotated[Time | None, Query(description="what began before")] = None,
    as_of: Annotated[Time | None, Query(description="what had begun then; absent: all")] = None,
    known_at: KnownAt = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> PageOut:
    """Memories of kind `episode` that have a frame, written or derived, earliest event first."""
    check_limit(limit, service)
    list_name = f"{who.namespace}/episodes"
    places = decode_places(list_name, cursor, 2)
    after = None if places is None else (places[0], places[1])
    wanted = Wanted(Selection(scope=scope, known_at=known_at), actor, place, since, until, as_of)
    with service.read_store() as store:
        page = service.episodes.select(store, who, wanted, limit, after)
    items = [MemoryOut.of(memory) for memory in page.items]
    return PageOut(items=items, next_cursor=encode_cursor(list_name, page.next_place))


@router.get("/workspace", response_model=WorkspaceOut)
def get_workspace(
    who: Caller,
    service: ServiceDep,
    scope: ScopeOf,
    actor: Annotated[Name | None, Query(description="only this one; a whole name, in any case")] = None,
    place: Annotated[Name | None, Query(description="only those who stand there")] = None,
    as_of: Annotated[Time | None, Query(description="as they stood then; absent: now")] = None,
    known_at: KnownAt = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> WorkspaceOut:
    """The standing workspace of a scope: each actor's last event, and the place, role and state last told, by name."""
    check_limit(limit, service)
    list_name = f"{who.namespace}/workspace"
    done = decode_cursor(list_name, cursor) or 0
    wanted = Wanted(Selection(scope=scope, known_at=known_at), actor, place, as_of=as_of)
    with service.read_store() as store:
        found = service.episodes.standings(store, who, wanted)
    end = done + limit
    items = [StandingOut.of(one) for one in found[done:end]]
    return WorkspaceOut(items=items, next_cursor=encode_cursor(list_name, end if end < len(found) else None))
