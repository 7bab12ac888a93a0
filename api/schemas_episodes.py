"""What `/v1/workspace` gives: where everybody stands, and the memories that say so."""

from datetime import datetime

from pydantic import Field

from api.schemas import Output
from memory.workspace import Event, Known, Standing


class KnownOut(Output):
    """A value, since when it is told, and the memories that tell it."""

    value: str
    at: datetime | None = Field(description="when the event was that tells it; null: unknown")
    memory_ids: list[str]

    @classmethod
    def of(cls, known: Known | None) -> "KnownOut | None":
        """From the layers below."""
        if known is None:
            return None
        return cls(value=known.value, at=_at(known.event), memory_ids=list(known.event.memory_ids))


class LastOut(Output):
    """The last event of an actor: `[start, end)`, in the zone that it was written with."""

    action: str | None
    object: str | None
    place: str | None
    start: datetime | None = Field(description="null: unknown")
    end: datetime | None
    with_actors: list[str] = Field(description="who else acted in it")
    memory_ids: list[str]


class StandingOut(Output):
    """An actor as it stands: each field from the last event that tells it."""

    actor: str
    role: KnownOut | None
    state: KnownOut | None
    place: KnownOut | None
    last: LastOut

    @classmethod
    def of(cls, one: Standing) -> "StandingOut":
        """From the layers below."""
        last = one.last
        return cls(
            actor=one.name,
            role=KnownOut.of(one.role),
            state=KnownOut.of(one.state),
            place=KnownOut.of(one.place),
            last=LastOut(
                action=last.action,
                object=last.object,
                place=last.place,
                start=_at(last),
                end=last.end,
                with_actors=[actor.name for actor in last.actors if last.actor(one.name) is not actor],
                memory_ids=list(last.memory_ids),
            ),
        )


class WorkspaceOut(Output):
    """A part of the actors of a scope, by name; `next_cursor` asks for what follows."""

    items: list[StandingOut]
    next_cursor: str | None


def _at(event: Event) -> datetime | None:
    return event.start if event.dated else None
