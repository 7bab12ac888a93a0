"""Memories that disagree, as a recall shows them: the newer before the older, and each says so of the other. Pure.

Decisions on what disagrees are made elsewhere (`memory.linking`, `memory.merge`) and are right in one case of two or
three, so nothing is hidden and no score changes: of two hits that are tied the newer one moves to right before the
older, and all others keep their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from memory.model import LinkKind, StandingLink


@dataclass(frozen=True, slots=True)
class Disagrees:
    """What a hit says of another memory that it disagrees with.

    Attributes:
        memory_id: the other one, whether or not it is a hit too.
        newer: whether the other one is the newer of the two.
        change_id: the decision, which can be undone.
    """

    memory_id: str
    kind: LinkKind
    newer: bool
    change_id: str


def newer_first(ids: Sequence[str], links: Sequence[StandingLink]) -> list[str]:
    """The same ids: right before each one the newer ones that it is tied to, all else in its order.

    Where ties lead in a circle, the first of it to come stands last.
    """
    place = {memory_id: at for at, memory_id in enumerate(ids)}
    newer: dict[str, set[str]] = {}
    for link in links:
        if link.newer in place and link.older in place:
            newer.setdefault(link.older, set()).add(link.newer)
    order: list[str] = []
    seen: set[str] = set()

    def put(memory_id: str) -> None:
        if memory_id not in seen:
            seen.add(memory_id)
            for each in sorted(newer.get(memory_id, ()), key=place.__getitem__):
                put(each)
            order.append(memory_id)

    for memory_id in ids:
        put(memory_id)
    return order


def said_of(memory_id: str, links: Sequence[StandingLink]) -> tuple[Disagrees, ...]:
    """What these links say to a memory of others."""
    return tuple(
        Disagrees(link.newer, link.kind, True, link.change_id)
        if link.older == memory_id
        else Disagrees(link.older, link.kind, False, link.change_id)
        for link in links
        if memory_id in (link.newer, link.older)
    )
