"""The tasks that exist, each a thin frame around what `memory` does: steps, cursors, receipts.

consolidate   bring what is derived up to date: of a namespace, a scope, or exact scopes that an erasure touched; at the
              end of a namespace's, drop what is least salient of too much
read          have a language model read what is new, for one deriver; put by `consolidate` where one is set
retention     erase what was forgotten longer ago than the retention time
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from memory.consolidate import Consolidator, Place, scopes_of
from memory.decay import Decay
from memory.erase import Target
from memory.model import Receipt, Selection
from memory.ports import Store, StoreTransaction
from memory.reading import Reader, ReadPlace
from recalld.core.access import Principal
from recalld.core.clock import Clock
from recalld.core.db import format_utc
from recalld.core.errors import NotFound
from recalld.core.scope import EVERYTHING
from recalld.jobs.model import Job, Progress
from recalld.jobs.runner import Breathe, Effects, Outcome, Work
from retrieval.filters import parse

CONSOLIDATE = "consolidate"
READ = "read"
RETENTION = "retention"
FADING = "fading"
# Few, because a write waits for the erasures of one step.
RETENTION_STEP = 20


class Consolidate:
    """`consolidate`. Arguments: `scope`, only what is in it; or `scopes`, exact ones to derive again, with `alone`, the
    ids of memories outside any session that are meant.

    Args:
        readers: the names of derivers that ask a language model: each gets a job of its own at the end, so that what
            rules derive waits for none of them.
    """

    name = CONSOLIDATE

    def __init__(self, consolidator: Consolidator, decay: Decay, readers: Sequence[str] = ()) -> None:
        self._consolidator = consolidator
        self._decay = decay
        self._readers = readers

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        """The next few sessions; at the end what there is too much of."""
        if job.cursor is not None and FADING in job.cursor:
            return self._fade(job, job.cursor[FADING])
        place = None if job.cursor is None else Place.of(job.cursor)
        again = list(scopes_of(job.arguments.get("scopes", ())))
        alone = job.arguments.get("alone", ())
        planned = self._consolidator.plan(job.namespace, place, job.scope, again, breathe, alone)
        # Only where all of the namespace was asked for: what is least salient may be anybody's.
        whole = not again and job.scope == EVERYTHING

        def effects(work: Work) -> Outcome:
            reached = self._consolidator.write(work.store, job.namespace, planned)
            told = {"units": reached.done, "written": reached.written, "removed": reached.removed}
            progress = Progress(reached.done, planned.total or reached.done)
            if not planned.ended:
                return Outcome(reached.to_json(), progress, told)
            for name in self._readers:
                given = {**job.arguments, "deriver": name}
                key = json.dumps(given, sort_keys=True)
                work.jobs.put(job.namespace, READ, given, dedup_key=_short(key), priority=job.priority)
            fade = whole and self._decay.beyond(work.store, job.namespace)
            return Outcome({FADING: told} if fade else None, progress, told)

        return effects

    def _fade(self, job: Job, told: Mapping[str, Any]) -> Effects:
        """The last step: drop what is least salient of too much."""
        fading = self._decay.choose(job.namespace)

        def effects(work: Work) -> Outcome:
            dropped = self._decay.drop(work.store, job.namespace, fading)
            return Outcome(None, Progress(told["units"], told["units"]), {**told, "dropped": dropped})

        return effects


class Read:
    """`read`. Arguments: `deriver`, and as those of `consolidate`. The result counts calls and tokens."""

    name = READ

    def __init__(self, readers: Mapping[str, Reader]) -> None:
        self._readers = readers

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        """The next batch: one call."""
        breathe()
        reader = self._readers.get(job.arguments["deriver"])
        if reader is None:
            raise NotFound("no deriver of this name is set in RECALLD_DERIVE_LLM")
        place = None if job.cursor is None else ReadPlace.of(job.cursor)
        again = list(scopes_of(job.arguments.get("scopes", ())))
        planned = reader.plan(job.namespace, place, job.scope, again, job.token)

        def effects(work: Work) -> Outcome:
            reached = reader.write(work.store, job.namespace, planned)
            cursor = None if planned.ended else reached.to_json()
            return Outcome(cursor, Progress(reached.counts.get("memories", 0)), reached.counts)

        return effects


class Retention:
    """`retention`: forgotten memories whose time is over are erased; receipts are in the job's result."""

    name = RETENTION

    def __init__(
        self,
        begin: Callable[[Store, Principal, Target], Receipt],
        finish: Callable[[str], object],
        read: StoreTransaction,
        clock: Clock,
        retention_days: int,
    ) -> None:
        self._begin = begin
        self._finish = finish
        self._read = read
        self._clock = clock
        self._retention = timedelta(days=retention_days)

    def plan(self, job: Job, breathe: Breathe) -> Effects:
        """The next few memories."""
        now = self._clock.now()
        over = parse({"recorded_at": {"lte": format_utc(now - self._retention)}})
        done: dict[str, Any] = dict(job.cursor or {"memories": 0, "receipts": []})
        with self._read() as store:
            doomed = store.select(job.namespace, Selection(states=("forgotten",), filter=over), now, RETENTION_STEP)

        def effects(work: Work) -> Outcome:
            current = {memory.id: memory for memory in work.store.get(job.namespace, [each.id for each in doomed])}
            same = tuple(each.id for each in doomed if each.id in current and current[each.id].version == each.version)
            told: dict[str, Any] = dict(done)
            follow: tuple[Callable[[], object], ...] = ()
            if same:
                receipt = self._begin(work.store, Principal(job.namespace), Target("ids", same, asked_as="retention"))
                told = {"memories": done["memories"] + receipt.memories, "receipts": [*done["receipts"], receipt.id]}
                follow = (lambda: self._finish(receipt.id),)
            more = len(doomed) == RETENTION_STEP
            return Outcome(told if more else None, Progress(told["memories"]), told, follow)

        return effects


def _short(key: str) -> str:
    """A key that tells nothing of the scope in it."""
    return hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
