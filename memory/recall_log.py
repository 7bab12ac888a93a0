"""Which memories each recall gave, written a little later: a question should not wait for a disk.

Kept so that feedback can name a recall: a vote flushes first, and so finds every recall that this process answered;
another process that shares the folder finds it within a moment. What waits when the process is killed is lost; nobody
was promised it. Erasing a memory takes it out of what waits too.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from memory.ports import Store
from recalld.core.scope import Scope

WAITING_MAX = 10_000


@dataclass(frozen=True, slots=True)
class _Given:
    namespace: str
    recall_id: str
    at: datetime
    scope: Scope
    memory_ids: tuple[str, ...]


class RecallLog:
    """Collects recalls and writes them in one transaction when `flush` is called."""

    def __init__(self, write: Callable[[], AbstractContextManager[Store]]) -> None:
        self._write = write
        self._waiting: list[_Given] = []
        self._lock = threading.Lock()
        self._flushing = threading.Lock()

    def add(self, namespace: str, recall_id: str, at: datetime, scope: Scope, memory_ids: tuple[str, ...]) -> None:
        """Note a recall; beyond `WAITING_MAX` that wait, the newest is dropped."""
        with self._lock:
            if len(self._waiting) < WAITING_MAX:
                self._waiting.append(_Given(namespace, recall_id, at, scope, memory_ids))

    def flush(self) -> None:
        """Write what waits, without the memories that were erased meanwhile; what can not be written waits on."""
        with self._flushing:
            with self._lock:
                waiting = tuple(self._waiting)
            if not waiting:
                return
            with self._write() as store:
                for given in waiting:
                    store.record_recall(given.namespace, given.recall_id, given.at, given.scope, given.memory_ids)
            with self._lock:
                del self._waiting[: len(waiting)]
