"""The SQL of consolidation: the change log as a feed, sessions, what was derived of which memories, watermarks.

Every query reads from an index: changes by namespace and number, memories by session, links by their source; so a run
costs what is above the watermark. What a deriver wrote is no news: changes of action `derive` and decisions (which have
a digest) are left out. That a caller forgot what was derived is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, insert, literal, not_, select

from memory.model import Deriver, Loose, Memory
from memory.store.filters_sql import exact_scope_conditions
from memory.store.tables import change_memories, changes, derived_until, memories, sources
from recalld.core.scope import Scope
from retrieval.traits import Trait

CHUNK = 500


class DerivedRows(ABC):
    """The `DerivedStore` part of `SqlStore`."""

    _connection: Connection

    @abstractmethod
    def _read(self, where: Iterable[Any], limit: int | None = None) -> list[Memory]:
        """Memories that meet the conditions, newest arrival first."""

    def newest_change(self, namespace: str) -> int:
        query = select(changes.c.number).where(*_news(namespace)).order_by(changes.c.number.desc()).limit(1)
        return self._connection.scalar(query) or 0

    def unseen_since(self, namespace: str, after: int) -> tuple[datetime, datetime] | None:
        above = select(changes.c.at).where(*_news(namespace), changes.c.number > after)
        oldest = self._connection.scalar(above.order_by(changes.c.number).limit(1))
        newest = self._connection.scalar(above.order_by(changes.c.number.desc()).limit(1))
        return None if oldest is None or newest is None else (oldest, newest)

    def range_end(self, namespace: str, after: int, memories_max: int) -> int:
        # Each change tells of at least one memory when it is written, so this many changes are more than enough.
        above = (
            select(changes.c.number)
            .where(*_news(namespace), changes.c.number > after)
            .order_by(changes.c.number)
            .limit(memories_max)
            .subquery()
        )
        counted = (
            select(above.c.number, func.count(change_memories.c.memory_id))
            .select_from(above.outerjoin(change_memories, change_memories.c.change_number == above.c.number))
            .group_by(above.c.number)
            .order_by(above.c.number)
        )
        end, total = after, 0
        for number, count in self._connection.execute(counted):
            if total and total + count > memories_max:
                break
            end, total = number, total + count
        return end

    def changed(self, namespace: str, after: int, until: int) -> list[tuple[Scope, str]]:
        m = memories.c
        touched = (
            select(change_memories.c.memory_id)
            .join(changes, changes.c.number == change_memories.c.change_number)
            .where(*_news(namespace), changes.c.number > after, changes.c.number <= until)
            .distinct()
        )
        query = (
            select(m.user_id, m.agent_id, m.session_id, m.id)
            .where(m.namespace == namespace, m.id.in_(touched))
            .order_by(m.user_id, m.agent_id, m.session_id, m.row)
        )
        return [(Scope(*row[:3]), row[3]) for row in self._connection.execute(query)]

    def session(self, namespace: str, scope: Scope, limit: int) -> list[Memory]:
        m = memories.c
        mine = [m.namespace == namespace, m.session_id == scope.session_id, *exact_scope_conditions(scope)]
        found = self._read([*mine, m.deriver_name.is_(None)], limit)
        return sorted(found, key=lambda memory: memory.order)

    def derived_by(self, namespace: str, deriver_name: str, source_ids: Sequence[str]) -> list[Memory]:
        m = memories.c
        found: dict[str, Memory] = {}
        for start in range(0, len(source_ids), CHUNK):
            part = list(source_ids[start : start + CHUNK])
            links = select(sources.c.memory_id).where(sources.c.source_id.in_(part), sources.c.namespace == namespace)
            made = [m.namespace == namespace, m.id.in_(links), m.deriver_name == deriver_name]
            found |= {memory.id: memory for memory in self._read(made)}
        return sorted(found.values(), key=lambda memory: memory.row)

    def derived_count(self, namespace: str) -> int:
        return self._connection.scalar(select(func.count()).where(*_kept_derived(namespace))) or 0

    def loose(self, namespace: str) -> list[Loose]:
        m = memories.c
        rests = exists(select(literal(1)).where(sources.c.source_id == m.id, sources.c.namespace == namespace))
        where = (*_kept_derived(namespace), m.kind != "profile", not_(rests))
        query = select(m.id, m.row, m.kind, m.recorded_at).where(*where).order_by(m.row)
        return [Loose(*row) for row in self._connection.execute(query)]

    def derived_until(self, namespace: str, made_by: Deriver) -> int:
        d = derived_until.c
        query = select(d.change_number).where(
            d.namespace == namespace, d.deriver_name == made_by.name, d.deriver_version == made_by.version
        )
        return self._connection.scalar(query) or 0

    def set_derived_until(self, namespace: str, made_by: Deriver, number: int) -> None:
        d = derived_until.c
        mine = and_(d.namespace == namespace, d.deriver_name == made_by.name)
        self._connection.execute(delete(derived_until).where(mine))
        self._connection.execute(
            insert(derived_until).values(
                namespace=namespace,
                deriver_name=made_by.name,
                deriver_version=made_by.version,
                change_number=number,
            )
        )


def _kept_derived(namespace: str) -> tuple[ColumnElement[bool], ...]:
    """Told by the trait, which an index has, and not by the deriver, which none has."""
    m = memories.c
    return (m.namespace == namespace, m.state != "forgotten", m.traits.op("&")(int(Trait.DERIVED)) != 0)


def _news(namespace: str) -> tuple[ColumnElement[bool], ...]:
    return (changes.c.namespace == namespace, changes.c.digest.is_(None), changes.c.action != "derive")
