"""The application: middleware, routes and errors over one service. The OpenAPI document is generated from here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from api import errors
from api.limits import BodyLimit, HostGuard, Observe, is_loopback
from api.metrics import Metrics
from api.routes import chat, embeddings, memories, recall, system
from recalld import __version__
from recalld.bootstrap import Service

DESCRIPTION = "A memory daemon for AI agents: write what happened, ask what matters now."
PROBLEM = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}}


def create_app(service: Service) -> FastAPI:
    """An application that serves `service`; its worker runs for as long as the application does."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if service.settings.worker:
            service.worker.start()
        yield
        await anyio.to_thread.run_sync(service.close)

    app = FastAPI(title="recalld", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    app.state.service = service
    metrics = Metrics(lambda: _waiting(service))
    app.include_router(memories.router)
    app.include_router(recall.router)
    app.include_router(chat.router)
    app.include_router(embeddings.router)
    app.include_router(system.make_router(metrics))
    errors.install(app)
    settings = service.settings
    own = [] if is_loopback(settings.host) or settings.host in ("0.0.0.0", "::") else [settings.host]
    app.add_middleware(BodyLimit, bytes_max=settings.body_bytes_max)
    app.add_middleware(HostGuard, hosts=[*own, *settings.allowed_hosts], origins=settings.allowed_origins)
    app.add_middleware(Observe, metrics=metrics)
    return app


def _waiting(service: Service) -> int:
    with service.read_store() as store:
        return store.waiting()
