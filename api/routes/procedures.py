"""`/v1/procedures`: what to do for a task, with values for its parameters.

All else on procedures and rationales is what can be done with any memory: they are written as such, recalled by
`kinds`, corrected by a change of `frame.steps`, and an outcome is a change of `frame.outcome`.
"""

from fastapi import APIRouter

from api.deps import Caller, ServiceDep
from api.limits import JsonRoute
from api.routes.recall import ask
from api.schemas_procedures import ProceduresIn, ProceduresOut
from memory.ingest import check_json, check_text
from recalld.core.errors import InvalidInput

router = APIRouter(prefix="/v1", tags=["procedures"], route_class=JsonRoute)


@router.post("/procedures", response_model=ProceduresOut)
def find_procedures(body: ProceduresIn, who: Caller, service: ServiceDep) -> ProceduresOut:
    """Procedures for a similar task, best first, those that turned out well before those that failed; filled with
    `parameters` where they take just these."""
    wrong = check_text(body.task, service.settings.text_bytes_max, "task")
    wrong += check_json(body.parameters or {}, service.settings, "parameters")
    if wrong:
        raise InvalidInput(f"{wrong[0].field}: {wrong[0].message}", wrong)
    return ProceduresOut.of(ask(service, who, body.to_question()), body.parameters)
