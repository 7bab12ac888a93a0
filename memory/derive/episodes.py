"""Episodes without a language model: what speakers say that they did, where they say when.

    "I bought a red canoe yesterday."    {actors: [{name: Ann}], action: bought, object: a red canoe, time: that day}

Only a clause in the first person and the past tense, with a time that can be resolved, gives one. No place is read, and
nobody but the speaker acts: rules fill the place of 2.5 % of events and leave 40 % of other actors unresolved, so what
they can not tell stays with the turn, which recall finds. Whoever wants more writes frames, or has a language model.
"""

from collections.abc import Sequence
from typing import Final

from memory.consolidate import Proposal
from memory.derive.clauses import Clause
from memory.derive.facts import deeds
from memory.facts import Statement
from memory.model import Deriver, Item, Memory

DERIVER: Final = Deriver("episodes", "1")
VAGUE: Final = frozenset({"range"})
"""A time that is no unit of the calendar ("a few days ago") is not resolved to when something happened."""


class FirstPersonEpisodes:
    """See the module's docstring."""

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return DERIVER

    def derive(self, memories: Sequence[Memory], changed: frozenset[str]) -> list[Proposal]:
        """The episodes of each memory; no other memory counts for it."""
        return [
            proposal
            for memory in memories
            for clause, statement in deeds(memory)
            if (proposal := _proposal(memory, clause, statement)) is not None
        ]


def _proposal(memory: Memory, clause: Clause, statement: Statement) -> Proposal | None:
    time = statement.time
    if time is None or time.precision in VAGUE:
        return None
    start, end = time.start.isoformat(), time.end.isoformat()
    verb = clause.verb_end - len(clause.verb)
    at = statement.place[1]
    action = " ".join(memory.item.text[verb:at].split())
    # A fact says where a move led to; what was done is to move.
    text = statement.text.replace(f" {statement.triple.predicate} ", f" {action} ", 1)
    frame = {
        "actors": [{"name": statement.triple.subject}],
        "action": action,
        "object": statement.triple.object,
        "time": {"start": start, "end": end},
    }
    item = Item(text, "episode", occurred_at=time.start, frame=frame)
    return Proposal(f"{memory.id}:{clause.start}", item, (memory.id,))
