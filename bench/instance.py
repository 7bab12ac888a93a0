"""A service in a temporary folder, used in process: the parts that the API calls, without HTTP.

Conversations are written with `MemoryService.add`, indexed through the outbox, and asked with `Recaller.recall`,
one namespace each. A row of a benchmark that leaves a signal out runs the same recall with other
`PipelineSettings`.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from memory.context import Context
from memory.model import Item, Kind
from memory.recall import Question, Recall, Recaller, context_of
from recalld.bootstrap import Service
from recalld.core.access import Principal
from recalld.core.config import load_settings
from recalld.core.errors import RecalldError
from recalld.jobs.tasks import CONSOLIDATE
from retrieval.pipeline import Pipeline
from retrieval.weights import PipelineSettings

BATCH_ITEMS = 100
CONTEXT_LIMIT = 50


class Instance:
    """See the module's docstring."""

    def __init__(self, folder: Path, encoder: str) -> None:
        self._service = Service(
            load_settings(data_dir=folder, database_url=f"sqlite:///{folder / 'recalld.db'}", encoder=encoder)
        )

    @property
    def service(self) -> Service:
        """The service itself."""
        return self._service

    def add(self, namespace: str, items: Sequence[Item]) -> None:
        """Write items in order, and apply the outbox."""
        for start in range(0, len(items), BATCH_ITEMS):
            with self._service.write_store() as store:
                self._service.memories.add(store, Principal(namespace), items[start : start + BATCH_ITEMS])
        self._service.indexer.apply_all()

    def recaller(self, settings: PipelineSettings | None = None) -> Recaller:
        """The service's own recall, or one with other weights over the same store and indexes."""
        service = self._service
        if settings is None:
            return service.recaller
        pipeline = Pipeline(service.encoder, service.vectors, settings)
        most = service.settings.pending_encode_max
        return Recaller(
            pipeline, service.indexer, service.clock, service.ids, service.settings, most, service.decay.settings
        )

    def recall(self, recaller: Recaller, namespace: str, query: str, now: datetime | None, limit: int) -> Recall:
        """One recall in a namespace."""
        with self._service.read_store() as store:
            return recaller.recall(store, Principal(namespace), Question(query, limit=limit, now=now))

    def of_kinds(self, namespace: str, query: str, kinds: tuple[Kind, ...], limit: int) -> Recall:
        """One recall of these kinds in a namespace."""
        with self._service.read_store() as store:
            asked = Question(query, limit=limit, kinds=kinds)
            return self._service.recaller.recall(store, Principal(namespace), asked)

    def context(self, namespace: str, query: str, now: datetime | None, token_budget: int) -> tuple[Recall, Context]:
        """One context in a namespace, as `/v1/context` makes it, and the recall behind it."""
        asked = Question(query, limit=CONTEXT_LIMIT, now=now)
        with self._service.read_store() as store:
            answer = self._service.recaller.recall(store, Principal(namespace), asked)
        return answer, context_of(answer, token_budget, self._service.token_counter())

    def close(self) -> None:
        """Let go of everything."""
        self._service.close()


def consolidate(service: Service, namespace: str) -> int:
    """Derive all that is new in a namespace, do every job until none is left, and index what came; returns how many
    memories it holds that were derived."""
    with service.write_work() as work:
        work.jobs.put(namespace, CONSOLIDATE, {})
    runner = service.job_runner()
    more = True
    while more:
        try:
            more = bool(runner.advance())
        except RecalldError as error:
            runner.failed(error)
    service.indexer.apply_all()
    with service.read_store() as store:
        return store.derived_count(namespace)


@contextmanager
def temporary_instance(encoder: str) -> Iterator[Instance]:
    """An instance whose data goes with it."""
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as folder:
        instance = Instance(Path(folder), encoder)
        try:
            yield instance
        finally:
            instance.close()
