"""`/healthz`, `/readyz`, `/metrics` and `/v1/stats`: is it alive, is it ready, how is it doing, how much does it
hold."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from api.deps import Caller, ServiceDep
from api.metrics import Metrics
from api.schemas_system import HealthOut, ReadyOut, StatsOut
from recalld import __version__
from recalld.core.access import DEFAULT_NAMESPACE
from recalld.core.errors import IndexDamaged
from recalld.jobs.model import JOB_STATES


def make_router(metrics: Metrics) -> APIRouter:
    """The routes, over one application's metrics."""
    router = APIRouter(tags=["system"])

    @router.get("/healthz", response_model=HealthOut)
    async def get_health() -> HealthOut:
        """Alive: the process answers. Waits for no thread, so that a busy server is not taken for a dead one."""
        return HealthOut(status="ok", version=__version__)

    @router.get("/readyz", response_model=ReadyOut, responses={503: {"model": ReadyOut}})
    def get_readiness(service: ServiceDep) -> Response:
        """Ready: the schema is the newest and the index can be read. 503 otherwise, saying what is not."""
        migrated = service.database.revision() == service.database.newest_revision()
        index = "ok"
        try:
            service.vectors.statistics(DEFAULT_NAMESPACE)
        except IndexDamaged as error:
            index = error.detail
        ready = migrated and index == "ok"
        checks = {"migrated": "ok" if migrated else "run `recalld migrate`", "index": index}
        body = ReadyOut(status="ready" if ready else "not ready", checks=checks)
        return JSONResponse(body.model_dump(), status_code=200 if ready else 503)

    @router.get("/metrics", response_class=PlainTextResponse)
    def get_metrics() -> Response:
        """Prometheus text format. It names routes and counts, no namespace and no content."""
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/v1/stats", response_model=StatsOut)
    def get_stats(who: Caller, service: ServiceDep) -> StatsOut:
        """How much the caller's namespace holds, and the bytes of the instance by layer."""
        with service.read_work() as work:
            counts = work.store.counts(who.namespace)
            depth = work.jobs.depth(who.namespace)
        index = service.vectors.statistics(who.namespace)
        bytes_by_layer = {
            "database": service.database.bytes_on_disk(),
            "index": service.folder.bytes_on_disk("index"),
        }
        rows = sum(counts.memories.values())
        return StatsOut(
            namespace=who.namespace,
            memories=dict(counts.memories),
            versions=counts.versions,
            text_bytes=counts.text_bytes,
            pending=counts.outbox,
            jobs={state: depth.get(state, 0) for state in JOB_STATES},
            vectors={
                "rows": index.rows,
                "bytes_disk": index.bytes_disk,
                "bytes_memory": index.bytes_memory,
                "generation": index.generation,
            },
            bytes=bytes_by_layer,
            kept={
                "columns": service.kept.columns.bytes_memory,
                "postings": service.kept.postings.bytes_memory,
            },
            bytes_per_memory=round((counts.text_bytes + index.bytes_disk) / rows, 1) if rows else 0.0,
            encoder={
                "name": service.encoder.name,
                "dimensions": service.encoder.dimensions,
                "fingerprint": service.encoder.fingerprint,
            },
        )

    return router
