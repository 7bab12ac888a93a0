"""Memories that disagree, as a recall shows them: the newer before the older, and each says so of the other. Pure.

Decisions on what disagrees are made elsewhere (`memory.linking`, `memory.merge`) and are right in one case of two or
three, so nothing is hidden and no score changes: of two hits that are tied the places are exchanged where the older
comes first, and no other hit moves.
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
    """The same ids: of each two that are tied, the newer before the older; whatever is not tied stays in its place.

    Each exchange takes away at least one inversion, of which n links that lead in no circle can have n² at most; where
    they do lead in one, that many rounds are the end of it.
    """
    order = list(ids)
    place = {memory_id: at for at, memory_id in enumerate(order)}
    tied = [link for link in links if link.newer in place and link.older in place]
    for _ in range(len(tied) ** 2):
        wrong = [link for link in tied if place[link.newer] > place[link.older]]
        if not wrong:
            break
        newer, older = wrong[0].newer, wrong[0].older
        place[newer], place[older] = place[older], place[newer]
        order[place[newer]], order[place[older]] = newer, older
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
