"""`/v1/memories/{id}/fill`: the steps of a procedure with values for their parameters.

All else on procedures and rationales is what can be done with any memory: they are written as such, recalled by
`kinds`, and an outcome is a change of `frame.outcome`.
"""

from fastapi import APIRouter

from api.deps import Caller, ServiceDep
from api.limits import JsonRoute
from api.routes.memories import MemoryId
from api.schemas_procedures import FilledOut, FillIn
from memory.frames import check_frame
from memory.procedures import fill
from recalld.core.errors import Conflict

router = APIRouter(prefix="/v1/memories", tags=["procedures"], route_class=JsonRoute)


@router.post("/{memory_id}/fill", response_model=FilledOut)
def fill_procedure(memory_id: MemoryId, body: FillIn, who: Caller, service: ServiceDep) -> FilledOut:
    """Put values in the place of a procedure's `{name}`s. What is missing and what is too much is named."""
    with service.read_store() as store:
        memory = service.memories.get(store, who, memory_id)
    frame = memory.item.frame
    if memory.item.kind != "procedure" or frame is None or check_frame("procedure", frame, ""):
        raise Conflict("only a memory of kind procedure with a frame can be filled")
    return FilledOut.of(memory, fill(frame, body.parameters))
