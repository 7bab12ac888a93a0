"""The one composition root: settings in, a working service out.

What has a choice of implementations is made in `making`.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from memory.backup import Begin
from memory.changes import ChangeLog
from memory.consistency import Consistency
from memory.consolidate import Consolidator
from memory.context import TokenCounter
from memory.decay import Decay, DecaySettings
from memory.derive.asked import ASKED
from memory.derive.asking import AskSettings
from memory.derive.profile import ProfileSettings
from memory.episodes import Episodes
from memory.erase import Elsewhere, Erasures, Target
from memory.export import Exports
from memory.imports import Imports
from memory.indexing import Indexer
from memory.linking import Linker
from memory.model import Receipt
from memory.ports import Store
from memory.profiles import Profiles
from memory.reading import Reader
from memory.recall import Recaller
from memory.recall_log import RecallLog
from memory.repeats import Repeats
from memory.service import MemoryService
from memory.store import column_cache
from memory.store.sql import Kept, SqlStore
from recalld.bootstrap.making import (
    local_weights,
    make_derivers,
    make_encoder,
    make_knowledge,
    make_llm,
    make_token_counter,
)
from recalld.core import access, log
from recalld.core.access import Principal
from recalld.core.clock import Clock, SystemClock
from recalld.core.config import Settings
from recalld.core.datafolder import DataFolder
from recalld.core.db import Connection, Database
from recalld.core.errors import FeatureNotInstalled, IndexDamaged, ModelMissing, RecalldError
from recalld.core.ids import IdSource, UlidSource
from recalld.jobs.gate import Gate
from recalld.jobs.model import QueueSettings
from recalld.jobs.ports import JobQueue
from recalld.jobs.queue import SqlJobQueue
from recalld.jobs.runner import JobRunner, Task, Work
from recalld.jobs.schedule import Scheduler, ScheduleSettings
from recalld.jobs.tasks import Consolidate, Read, Retention
from recalld.jobs.worker import JobSteps, Worker
from recalld.llm.ports import LanguageModel
from retrieval.pipeline import Pipeline
from retrieval.ports import Encoder
from retrieval.token_codes import fingerprint, thresholds
from retrieval.vector_faiss import SegmentedVectorIndex
from retrieval.vector_memory import InMemoryVectorIndex

JOBS_DROPPED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Parts:
    """What a test may put in place of the real thing."""

    clock: Clock | None = None
    ids: IdSource | None = None
    encoder: Encoder | None = None
    llm: LanguageModel | None = None


class Service:
    """A running instance: its parts, and the transactions over them.

    Args:
        settings: where everything is, and the limits.
        parts: replacements.

    Raises:
        ConfigError: the settings name something that does not exist.
    """

    def __init__(self, settings: Settings, parts: Parts = Parts()) -> None:
        self.settings = settings
        self.clock = parts.clock or SystemClock()
        self.ids = parts.ids or UlidSource(self.clock)
        self.folder = DataFolder(settings.data_dir)
        self.database = Database(settings.database_url or f"sqlite:///{settings.sqlite_file}")
        self.database.migrate()
        self.kept = Kept()
        self.encoder = parts.encoder or make_encoder(settings)
        self.vectors = SegmentedVectorIndex(settings.index_dir, self.encoder.dimensions, fingerprint(self.encoder))
        self.indexer = Indexer(self.encoder, self.vectors, self.read_store, self.write_store)
        self.memories = MemoryService(self.clock, self.ids, settings)
        self.knowledge = make_knowledge(settings, self.clock, self.ids)
        self.episodes = Episodes(self.clock)
        self.profiles = Profiles(
            self.clock, self.ids, self.encoder.count_tokens, ProfileSettings(tokens_max=settings.profile_tokens)
        )
        self.changes = ChangeLog(self.clock, self.ids, self.knowledge, (self.profiles,))
        pipeline = Pipeline(self.encoder, self.vectors)
        fading = decay_settings(settings)
        self.decay = Decay(self.read_store, self.clock, self.ids, fading)
        self.recaller = Recaller(
            pipeline, self.indexer, self.clock, self.ids, settings, settings.pending_encode_max, fading
        )
        self.recall_log = RecallLog(self.write_store)
        self.consistency = Consistency(self.database, self.indexer, self.vectors)
        self.repeats = Repeats(settings.filters_dir, self.read_store, self.clock, self.ids)
        elsewhere = Elsewhere(lambda connection: [self.jobs(connection)], self.jobs, self.repeats.forget)
        self.erasures = Erasures(
            self.database, self.indexer, self.vectors, settings.data_dir, settings.index_dir, self.clock, self.ids,
            elsewhere,
        )  # fmt: skip
        made_with = fingerprint(self.encoder)
        self.exports = Exports(self.database, self.vectors, made_with, self.clock)
        self.imports = Imports(
            self.database, self.vectors, made_with, settings.spool_dir, self.clock, self.ids, settings
        )
        self.gate = Gate()
        self.consolidator = Consolidator(
            make_derivers(settings, self.encoder, self.indexer.vectors_of),
            self.read_store,
            self.clock,
            self.ids,
            (self.knowledge, Linker(self.clock, self.ids), self.repeats),
            (self.profiles,),
            self.repeats.prepare,
        )
        self._llm = parts.llm
        self.readers = self._make_readers()
        self.tasks: dict[str, Task] = {task.name: task for task in self._own_tasks()}
        self.worker = Worker(self.indexer.apply, self._after_requests, self.upkeep, jobs=self._job_steps())
        self._counter: TokenCounter | None = None
        self._llm_lock = threading.Lock()
        self._ensure_default_namespace()

    @contextmanager
    def read_store(self) -> Iterator[Store]:
        """The store within one read transaction."""
        with self.database.read() as connection:
            yield SqlStore(connection, self.kept)

    @contextmanager
    def write_store(self) -> Iterator[Store]:
        """The store within one write transaction, committed when the block ends."""
        with self.database.write() as connection:
            yield SqlStore(connection)

    def jobs(self, connection: Connection) -> JobQueue:
        """The queue within the transaction of a connection."""
        return SqlJobQueue(connection, self.clock, self.ids, queue_settings(self.settings))

    @contextmanager
    def read_work(self) -> Iterator[Work]:
        """Memories and queue within one read transaction."""
        with self.database.read() as connection:
            yield Work(SqlStore(connection), self.jobs(connection))

    @contextmanager
    def write_work(self) -> Iterator[Work]:
        """Memories and queue within one write transaction, committed when the block ends."""
        with self.database.write() as connection:
            yield Work(SqlStore(connection), self.jobs(connection))

    @contextmanager
    def _write_in_turn(self) -> Iterator[Work]:
        """`write_work`, one worker at a time: they queue at a file lock, which wakes the next one at once, instead of
        all polling SQLite's lock, which an API's write would then meet too.
        """
        with self.folder.turn("jobs"), self.write_work() as work:
            yield work

    def job_runner(self) -> JobRunner:
        """Carries on jobs of every task in `tasks`; each thread needs its own."""
        return JobRunner(self.tasks, self.read_work, self._write_in_turn, self.gate, self.settings.job_lease_s / 3)

    def scheduler(self) -> Scheduler:
        """Puts in the queue what is due."""
        settings = self.settings
        schedules = ScheduleSettings(
            settings.consolidation, settings.consolidation_idle_s, nightly_hour=settings.nightly_hour
        )
        return Scheduler(
            self.read_work, self.write_work, self._namespaces, self.consolidator.seen, self.clock, schedules
        )

    def _begin_erasure(self, store: Store, who: Principal, target: Target) -> Receipt:
        assert isinstance(store, SqlStore)
        return self.erasures.begin(store.connection, who, target)

    def _after_requests(self) -> None:
        """What requests left to be done later."""
        self.recall_log.flush()
        self.erasures.resume(again=False)
        self.imports.resume()

    def _namespaces(self) -> list[str]:
        with self.database.read() as connection:
            return access.list_namespaces(connection)

    def _own_tasks(self) -> tuple[Task, ...]:
        erase_after = self.settings.retention_days
        return (
            Consolidate(self.consolidator, self.decay, list(self.readers)),
            Read(self.readers),
            Retention(self._begin_erasure, self.erasures.finish, self.read_store, self.clock, erase_after),
        )

    def _make_readers(self) -> dict[str, Reader]:
        """One for each deriver that asks the language model, which is loaded when the first one reads."""
        asking = AskSettings(self.settings.derive_llm_tokens, self.settings.derive_llm_reply_tokens)
        return {
            name: Reader(
                ASKED[name],
                self.llm,
                self.consolidator,
                self.knowledge,
                self.read_store,
                self.clock,
                asking,
                self.indexer.vectors_of,
            )
            for name in dict.fromkeys(self.settings.derive_llm)
        }

    def _job_steps(self) -> JobSteps:
        runner = self.job_runner()
        return JobSteps(runner.advance, runner.failed, runner.release, self.scheduler().put_what_is_due)

    def llm(self) -> LanguageModel:
        """The language model, loaded at its first use.

        Raises:
            FeatureNotInstalled: chat is switched off, or the extra is not installed.
            ModelMissing: its weights are not in the models folder.
        """
        with self._llm_lock:
            if self._llm is None:
                self._llm = make_llm(self.settings, self.encoder)
            return self._llm

    def llm_name(self) -> str | None:
        """The chat model that this instance answers with, without loading it; None where there is none."""
        if self._llm is not None:
            return self._llm.name
        if self.settings.llm == "openai":
            return self.settings.llm_model
        try:
            local_weights(self.settings)
        except (FeatureNotInstalled, ModelMissing):
            return None
        return self.settings.llm

    def token_counter(self) -> TokenCounter:
        """Counts by the language model's tokenizer where there is one, else by the encoder's. Loads no weights."""
        with self._llm_lock:
            if self._llm is not None:
                return TokenCounter(self._llm.tokenizer_name, self._llm.count_tokens)
            if self._counter is None:
                self._counter = make_token_counter(self.settings, self.encoder)
            return self._counter

    def warm(self) -> None:
        """Do ahead what the first requests would wait for; what can not be done is told when it is asked for."""
        thresholds(self.encoder)
        self.encoder.encode(["warm"])
        try:
            self.token_counter()
        except RecalldError as error:
            log.get("bootstrap").warning("not_warmed", code=error.code)

    def upkeep(self) -> None:
        """What the worker does once a minute: finish erasures, drop what is old, refresh SQLite's statistics, merge
        segments.

        A damaged index is not merged; whoever reads it is told.
        """
        self.erasures.resume(again=True)
        with self.database.write() as connection:
            access.drop_old_replies(connection, self.clock, self.settings.idempotency_hours)
            old = self.clock.now() - timedelta(days=self.settings.job_keep_days)
            self.jobs(connection).drop_ended(old, JOBS_DROPPED_AT_ONCE)
            column_cache.trim(connection)
        self.database.optimize()
        for namespace in self.vectors.namespaces():
            with suppress(IndexDamaged):
                self.vectors.merge(namespace)

    def close(self) -> None:
        """Stop the worker, write what waits, and let go of everything."""
        self.worker.stop()
        self.recall_log.flush()
        if self._llm is not None:
            self._llm.close()
        self.folder.release()
        self.database.close()

    def _ensure_default_namespace(self) -> None:
        with self.database.read() as connection:
            if access.list_namespaces(connection):
                return
        with self.database.write() as connection:
            access.ensure_namespace(connection, access.DEFAULT_NAMESPACE, self.clock)


def queue_settings(settings: Settings) -> QueueSettings:
    """The queue's part of the settings."""
    return QueueSettings(lease_s=settings.job_lease_s, attempts_max=settings.job_attempts_max)


def decay_settings(settings: Settings) -> DecaySettings:
    """The part of the settings that says how fast what is known fades."""
    return DecaySettings(
        half_life_days={str(kind): days for kind, days in settings.half_life_days.items()},
        derived_max=settings.derived_max,
        rank_max=settings.recall_use_max,
    )


def erasing_in_restored(settings: Settings) -> Begin:
    """Begins erasures in a database that is being restored: it has no index yet, and no encoder is needed."""
    clock = SystemClock()
    ids = UlidSource(clock)

    def begin(database: Database, namespace: str, memory_ids: Sequence[str]) -> Receipt:
        def queue(connection: Connection) -> JobQueue:
            return SqlJobQueue(connection, clock, ids, queue_settings(settings))

        # There are no filters yet either.
        elsewhere = Elsewhere(lambda connection: [queue(connection)], queue, lambda namespace: None)
        erasures = Erasures(
            database, NoIndexer(), InMemoryVectorIndex(1), settings.data_dir, settings.index_dir, clock, ids, elsewhere
        )
        with database.write() as connection:
            return erasures.begin(connection, Principal(namespace), Target("ids", tuple(memory_ids), asked_as="ledger"))

    return begin


class NoIndexer:
    """Of an instance without an index."""

    def apply_since(self, namespace: str, entry: int) -> None:
        """There is nothing to bring up to date."""
