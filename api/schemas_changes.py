"""Changes over the wire."""

from datetime import datetime

from pydantic import Field

from api.schemas import Output
from memory.model import Action, Change


class ChangeOut(Output):
    """A decision that was taken: what, why, on which memories (the newer first), when."""

    id: str
    kind: Action
    reason: str
    memory_ids: list[str]
    at: datetime
    undone_by: str | None = Field(description="the change that took it back")

    @classmethod
    def of(cls, change: Change) -> "ChangeOut":
        """From the layers below."""
        return cls(
            id=change.id,
            kind=change.action,
            reason=change.reason,
            memory_ids=list(change.memory_ids),
            at=change.at,
            undone_by=change.undone_by,
        )


class ChangePageOut(Output):
    """A part of the change log, newest first; `next_cursor` asks for what follows."""

    items: list[ChangeOut]
    next_cursor: str | None
