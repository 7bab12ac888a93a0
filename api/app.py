"""The application: middleware, routes and errors over one service. The OpenAPI document is generated from here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI

from api import errors
from api.limits import BodyLimit, HostGuard, Observe
from api.metrics import Metrics
from api.routes import (
    chat,
    embeddings,
    episodes,
    erasures,
    jobs,
    knowledge,
    memories,
    move,
    procedures,
    recall,
    sessions,
    system,
)
from api.schemas import ProblemOut
from recalld import __version__
from recalld.bootstrap import Service
from recalld.core.addresses import is_loopback
from recalld.jobs.model import JobState

DESCRIPTION = "A memory daemon for AI agents: write what happened, ask what matters now."
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ProblemOut, "description": "The request can not be carried out; `errors` names the fields"},
    "5XX": {"model": ProblemOut, "description": "The server could not carry it out; `retryable` says if it may later"},
}


class Application(FastAPI):
    """FastAPI, with its errors documented under the media type that they have."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            for status in PROBLEMS:
                response = operation["responses"][status]
                response["content"] = {errors.MEDIA_TYPE: next(iter(response["content"].values()))}
        return document


def create_app(service: Service) -> FastAPI:
    """An application that serves `service`; its worker runs for as long as the application does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if service.settings.worker:
            service.worker.start()
        yield
        await anyio.to_thread.run_sync(service.close)

    app = Application(
        title="recalld",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        responses=PROBLEMS,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.service = service
    app.state.model_threads = anyio.CapacityLimiter(chat.MODEL_THREADS)
    app.state.job_streams = jobs.Streams()
    metrics = Metrics(lambda: _waiting(service), lambda: _jobs(service))
    app.include_router(memories.router)
    app.include_router(procedures.router)
    app.include_router(episodes.router)
    app.include_router(erasures.router)
    app.include_router(move.router)
    app.include_router(recall.router)
    app.include_router(sessions.router)
    app.include_router(jobs.router)
    app.include_router(knowledge.router)
    app.include_router(chat.router)
    app.include_router(embeddings.router)
    app.include_router(system.make_router(metrics))
    errors.install(app)
    settings = service.settings
    own = [] if is_loopback(settings.host) or settings.host in ("0.0.0.0", "::") else [settings.host]
    app.add_middleware(BodyLimit, bytes_max=settings.body_bytes_max, streamed=move.STREAMED)
    app.add_middleware(HostGuard, hosts=[*own, *settings.allowed_hosts], origins=settings.allowed_origins)
    app.add_middleware(Observe, metrics=metrics, gate=service.gate)
    return app


def _waiting(service: Service) -> int:
    with service.read_store() as store:
        return store.waiting()


def _jobs(service: Service) -> dict[JobState, int]:
    with service.read_work() as work:
        return work.jobs.depth()
