"""`/v1/recall` and `/v1/context`: what matters now, as memories or as a text for a prompt."""

from fastapi import APIRouter

from api.deps import Caller, ServiceDep
from api.limits import JsonRoute
from api.schemas import ContextIn, ContextOut, RecallIn, RecallOut
from memory.context import pack
from memory.recall import Question, Recall
from recalld.core.access import Principal
from recalld.core.errors import InvalidInput
from recalld.core.scope import Scope

router = APIRouter(prefix="/v1", tags=["recall"], route_class=JsonRoute)


@router.post("/recall", response_model=RecallOut)
def recall(body: RecallIn, who: Caller, service: ServiceDep) -> RecallOut:
    """The memories that matter for a question, best first. Sees everything written before it."""
    return RecallOut.of(ask(service, who, body.to_question()))


@router.post("/context", response_model=ContextOut)
def context(body: ContextIn, who: Caller, service: ServiceDep) -> ContextOut:
    """Recalled memories as a text of at most `token_budget` tokens, each block with the ids it came from."""
    budget = service.settings.context_tokens if body.token_budget is None else body.token_budget
    most = service.settings.token_budget_max
    if budget > most:
        raise InvalidInput.of("token_budget", f"1 to {most}", most)
    answer = ask(service, who, body.to_question())
    packed = pack([hit.memory for hit in answer.results], budget, service.token_counter())
    return ContextOut.of(packed, answer)


def ask(service: ServiceDep, who: Principal, question: Question) -> Recall:
    """Recall, and note what was given."""
    with service.read_store() as store:
        answer = service.recaller.recall(store, who, question)
    note(service, who, question.scope, answer)
    return answer


def note(service: ServiceDep, who: Principal, scope: Scope, answer: Recall) -> None:
    """Keep which memories were given, for feedback."""
    ids = tuple(hit.memory.id for hit in answer.results)
    service.recall_log.add(who.namespace, answer.recall_id, service.clock.now(), scope.within(who.bound), ids)
