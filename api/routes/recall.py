"""`/v1/recall` and `/v1/context`: what matters now, as memories or as a text for a prompt; `/v1/feedback` on both."""

from fastapi import APIRouter, Response

from api.deps import Caller, Once, ServiceDep, WriteTransaction
from api.limits import JsonRoute
from api.schemas import ContextIn, ContextOut, RecallIn, RecallOut
from api.schemas_feedback import FeedbackIn, FeedbackOut
from memory.ports import Store
from memory.recall import Question, Recall, context_of
from memory.working import CONTEXT_SHARE, WorkingMemory, working_memory
from recalld.bootstrap import Service
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
    """Recalled memories as a text of at most `token_budget` tokens, each block with the ids it came from; where the
    scope names a session, its working memory is the first block."""
    budget = service.settings.context_tokens if body.token_budget is None else body.token_budget
    most = service.settings.token_budget_max
    if budget > most:
        raise InvalidInput.of("token_budget", f"1 to {most}", most)
    question, counter = body.to_question(), service.token_counter()
    with service.read_store() as store:
        answer = service.recaller.recall(store, who, question)
        state = _state(service, store, who, body, budget)
    note(service, who, question.scope, answer, tuple(answer.newer))
    return ContextOut.of(context_of(answer, budget, counter, state), answer)


def _state(service: Service, store: Store, who: Principal, body: ContextIn, budget: int) -> WorkingMemory | None:
    """The working memory that a context begins with."""
    scope = body.scope.to_scope().within(who.bound)
    most = min(service.settings.state_tokens, budget // CONTEXT_SHARE)
    if scope.session_id is None or not (body.state and body.about_now()):
        return None
    return working_memory(store, who.namespace, scope, service.clock.now(), most, service.token_counter())


@router.post("/feedback", response_model=FeedbackOut)
def give_feedback(body: FeedbackIn, once: Once) -> Response:
    """Vote on a memory that a recall gave: it ranks a little higher or lower from then on. One vote for each memory of
    each recall; a later one takes its place, and `null` withdraws it."""
    # Recalls are noted after their replies, and this vote may be about the last one.
    once.service.recall_log.flush()

    def act(write: WriteTransaction) -> tuple[FeedbackOut, list[str]]:
        votes = once.service.memories.vote(write.store, once.who, body.recall_id, body.memory_id, body.useful)
        return FeedbackOut.of(body, votes), [body.memory_id]

    return once.run(200, act)


def ask(service: ServiceDep, who: Principal, question: Question) -> Recall:
    """Recall, and note what was given."""
    with service.read_store() as store:
        answer = service.recaller.recall(store, who, question)
    note(service, who, question.scope, answer)
    return answer


def note(service: ServiceDep, who: Principal, scope: Scope, answer: Recall, beside: tuple[str, ...] = ()) -> None:
    """Keep which memories were given, for feedback: the results, and what a context may show beside them."""
    ids = (*(hit.memory.id for hit in answer.results), *beside)
    service.recall_log.add(who.namespace, answer.recall_id, service.clock.now(), scope.within(who.bound), ids)
