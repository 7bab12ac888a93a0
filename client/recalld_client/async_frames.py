"""Episodes, procedures and rationales, for asyncio: what happened, what to do, and how it turned out.

It mirrors `frames` line by line.
"""

from collections.abc import AsyncIterator, Mapping

from recalld_client import operations
from recalld_client.async_paging import AsyncPaging
from recalld_client.frame_models import Procedures, Standing
from recalld_client.models import Memory
from recalld_client.scopes import Bound
from recalld_client.wire import Time


class AsyncFramed(AsyncPaging):
    """What can be done with memories that have a frame; a scope is filled in where there is one."""

    _bound: Bound

    def episodes(
        self,
        *,
        actor: str | None = None,
        place: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        as_of: Time | None = None,
        known_at: Time | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Memory]:
        """What happened, earliest first; each has a `frame` of actors, action, object, place and time.

        Args:
            actor, place: a whole name, in any case.
            since, until: what went on within [since, until).
            as_of: what had begun then.
            known_at: as far as was known then; left out: now.
            limit: at most so many; left out: all.
        """
        return self._pages(
            operations.episodes(
                self._bound,
                actor=actor,
                place=place,
                since=since,
                until=until,
                as_of=as_of,
                known_at=known_at,
                limit=limit,
            )
        )

    def workspace(
        self,
        *,
        actor: str | None = None,
        place: str | None = None,
        as_of: Time | None = None,
        known_at: Time | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Standing]:
        """Where everybody stands, by name: the last event, place, role and state of each actor.

        Args:
            actor: only this one; a whole name, in any case.
            place: only those who are there.
            as_of: as they stood then; left out: now.
            known_at: as far as was known then; left out: now.
            limit: at most so many; left out: all.
        """
        return self._pages(
            operations.workspace(self._bound, actor=actor, place=place, as_of=as_of, known_at=known_at, limit=limit)
        )

    async def procedures(
        self,
        task: str,
        *,
        parameters: Mapping[str, object] | None = None,
        limit: int = 5,
        as_of: Time | None = None,
        known_at: Time | None = None,
        filter: Mapping[str, object] | None = None,
    ) -> Procedures:
        """What to do for a task: procedures for similar ones, those that turned out well before those that failed.

        Args:
            task: what is to be done, in any words.
            parameters: a value for each `{name}`; a procedure that takes just these comes filled, and is `ready`.
            limit: how many at most.
            as_of: leave out what was valid only later.
            known_at: leave out what was recorded later.
            filter: as in `recall`.
        """
        return await self._transport.send(
            operations.procedures(
                self._bound, task, parameters=parameters, limit=limit, as_of=as_of, known_at=known_at, filter=filter
            )
        )

    async def report_outcome(
        self,
        memory_id: str,
        success: bool,
        *,
        note: str | None = None,
        at: Time | None = None,
        if_match: int | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Say how a procedure or a rationale turned out: a new version, which ranks higher or lower from then on.

        Args:
            memory_id: which one.
            success: whether it did what it is for.
            note: what went wrong, or what is worth knowing.
            at: when; left out: now. The same outcome at the same time is told once.
            if_match: the version that was carried out; another one by now is an error.
            idempotency_key: as in `add`.
        """
        return await self._transport.send(
            operations.report_outcome(
                memory_id, success, note=note, at=at, if_match=if_match, idempotency_key=idempotency_key
            )
        )
