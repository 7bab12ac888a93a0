"""`/v1/sessions`: what an agent has to keep in mind of one session."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.deps import Caller, ServiceDep
from api.limits import JsonRoute
from api.schemas import Name, ScopeIn, WithoutNul
from api.schemas_sessions import StateOut
from memory.working import working_memory

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], route_class=JsonRoute)

SessionId = Annotated[str, Path(min_length=1, max_length=256, description="the `session_id` of scopes"), WithoutNul]


@router.get("/{session_id:path}/state", response_model=StateOut)
def session_state(
    session_id: SessionId,
    who: Caller,
    service: ServiceDep,
    user_id: Name | None = None,
    agent_id: Name | None = None,
) -> StateOut:
    """The session's working memory: of constant size, and up to the last write that was acknowledged."""
    asked = ScopeIn(user_id=user_id, agent_id=agent_id, session_id=session_id).to_scope()
    scope = asked.within(who.bound)
    most, counter = service.settings.state_tokens, service.token_counter()
    with service.read_store() as store:
        state = working_memory(store, who.namespace, scope, service.clock.now(), most, counter)
    return StateOut.of(state, scope)
