"""`/v1/export` and `/v1/import`: memories with their history, as lines of JSON, out and in.

An export is streamed; one that was cut off has no last line, and an import refuses it. An import's body is written to a
file of the data folder as it arrives, checked whole, then kept; the file is removed in any case.
"""

from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from api.deps import Caller, ServiceDep, Writer
from api.limits import JsonRoute
from api.routes.memories import ScopeOf
from api.schemas import ImportedOut
from recalld.core.errors import TooLarge, UnsupportedMediaType

NDJSON = "application/x-ndjson"
STREAMED = [("POST", "/v1/import")]
"""What reads its own body: `BodyLimit` lets it pass."""

router = APIRouter(prefix="/v1", tags=["move"], route_class=JsonRoute)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {"schema": {"type": "string"}}}, "description": "a JSON object a line"}},
)
def export_memories(
    who: Caller,
    service: ServiceDep,
    scope: ScopeOf,
    vectors: Annotated[bool, Query(description="with vectors and token codes")] = False,
) -> StreamingResponse:
    """Everything that the key may see: memories with their history, their sources, and the decisions on them."""
    return StreamingResponse(service.exports.lines(who, scope, vectors), media_type=NDJSON)


@router.post(
    "/import",
    response_model=ImportedOut,
    openapi_extra={"requestBody": {"required": True, "content": {NDJSON: {"schema": {"type": "string"}}}}},
)
async def import_memories(
    request: Request,
    who: Writer,
    service: ServiceDep,
    restore_erased: Annotated[bool, Query(description="bring back what was erased here as well")] = False,
) -> ImportedOut:
    """Keep an export's memories under their own ids, in the key's namespace: all of them, or none. Repeating it
    changes nothing.
    """
    kind = (request.headers.get("content-type") or "").partition(";")[0].strip().lower()
    if kind != NDJSON:
        raise UnsupportedMediaType.of("Content-Type", f"must be {NDJSON}")
    import_id, path = service.imports.spool()
    begun = False
    try:
        await _write(request, path, service.settings.import_bytes_max)
        await anyio.to_thread.run_sync(service.imports.begin, who, import_id, restore_erased)
        begun = True
    finally:
        if not begun:
            service.imports.discard(import_id)
    done = await anyio.to_thread.run_sync(service.imports.finish, import_id)
    service.worker.wake()
    return ImportedOut(namespace=done.namespace, lines=done.lines, **done.counts)


async def _write(request: Request, path: Path, bytes_max: int) -> None:
    """The body into a file, up to the limit."""
    size = 0
    async with await anyio.open_file(path, "wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise TooLarge.of("body", f"at most {bytes_max} bytes", bytes_max)
            await file.write(chunk)
