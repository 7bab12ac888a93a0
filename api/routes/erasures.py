"""`/v1/erasures`: erase by ids, scope, filter or all, and the receipts.

The request commits the ledger and takes everything out of every answer. Then the erasure is finished before the reply
leaves where it is small; a large one goes on in the background, and its receipt says `running` meanwhile.
"""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import JSONResponse

from api.deps import Caller, Idempotent, Once, ServiceDep, WriteTransaction
from api.limits import JsonRoute
from api.schemas_erase import EraseIn, ReceiptOut
from memory.erase import Target

router = APIRouter(prefix="/v1/erasures", tags=["erasures"], route_class=JsonRoute)

FINISHED_AT_ONCE_MAX = 1000
"""An erasure of so many memories is finished within its request."""


@router.post("", response_model=ReceiptOut, responses={202: {"model": ReceiptOut, "description": "It goes on"}})
def erase_memories(body: EraseIn, once: Once) -> Response:
    """Erase memories, everything derived from them, and every trace of both; then look for what is left."""
    target = body.to_target()
    if body.dry_run:
        with once.service.database.read() as connection:
            counts = once.service.erasures.count(connection, once.who, target)
        return JSONResponse(ReceiptOut.counted(once.who.namespace, target.by, counts).model_dump(mode="json"))
    return erase(once, lambda write: target)


@router.get("/{erasure_id}", response_model=ReceiptOut)
def get_erasure(
    erasure_id: Annotated[str, Path(max_length=64, description="`era_` + ULID")], who: Caller, service: ServiceDep
) -> ReceiptOut:
    """The receipt of an erasure, as it is now."""
    with service.database.read() as connection:
        return ReceiptOut.of(service.erasures.get(connection, who, erasure_id))


def erase(once: Idempotent, target: Callable[[WriteTransaction], Target]) -> Response:
    """Begin an erasure and finish it, if it is not too large to wait for; reply with its receipt.

    Args:
        target: what to erase; called within the transaction.
    """
    erasures = once.service.erasures

    def act(write: WriteTransaction) -> tuple[ReceiptOut, list[str]]:
        return ReceiptOut.of(erasures.begin(write.connection, once.who, target(write))), []

    begun = once.commit(202, act).body
    if begun["memories"] <= FINISHED_AT_ONCE_MAX:
        erasures.finish(begun["id"])
    with once.service.database.read() as connection:
        receipt = ReceiptOut.of(erasures.get(connection, once.who, begun["id"]))
    body = receipt.model_copy(update={"memory_ids": begun["memory_ids"]})
    return JSONResponse(body.model_dump(mode="json"), status_code=202 if receipt.state == "running" else 200)
