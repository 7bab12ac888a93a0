"""A session's working memory over the wire."""

from datetime import datetime

from pydantic import Field

from api.schemas import Output, ScopeOut
from memory.working import Slot, WorkingMemory
from recalld.core.scope import Scope


class EntryOut(Output):
    """One line of a working memory: what it is, what is said word for word, and the memories that say it."""

    slot: Slot
    text: str
    memory_ids: list[str]


class StateOut(Output):
    """A session's working memory: `text` for a prompt, at most as long as the server's setting says, and its lines.

    A session that nothing was written to has an empty one.
    """

    scope: ScopeOut
    text: str
    entries: list[EntryOut]
    memory_ids: list[str] = Field(description="everything that is cited, in order")
    tokens: int
    tokenizer: str
    updated_at: datetime | None = Field(description="when the newest of the turns looked at was recorded")

    @classmethod
    def of(cls, state: WorkingMemory, scope: Scope) -> "StateOut":
        """From the layers below."""
        user_id, agent_id, session_id = scope.values()
        return cls(
            scope=ScopeOut(user_id=user_id, agent_id=agent_id, session_id=session_id),
            text=state.text,
            entries=[
                EntryOut(slot=entry.slot, text=entry.text, memory_ids=list(entry.memory_ids)) for entry in state.entries
            ],
            memory_ids=list(state.memory_ids),
            tokens=state.tokens,
            tokenizer=state.tokenizer,
            updated_at=state.updated_at,
        )
