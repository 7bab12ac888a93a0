"""What goes over the wire: names, types and shapes. Limits that are settings are checked in `memory.ingest`.

Input models refuse unknown fields, so that a misspelt one is an error and not a silence. Times are RFC 3339 text with
a zone, read to UTC. Output models are made from the values of `memory`, which know nothing of HTTP.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    WithJsonSchema,
)

from memory.context import Context
from memory.model import KINDS, Item, Kind, LinkKind, Memory, State, WrittenKind
from memory.recall import Hit, Question, Recall
from recalld.core.clock import NO_TIME, RFC3339
from recalld.core.scope import Scope
from retrieval.filters import OPERATORS, TEXT_FIELDS, TIME_FIELDS, parse


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not hold the NUL character")
    return text


def _rfc3339(value: object) -> object:
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise ValueError(NO_TIME)
    return value


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must lie within the years 1 to 9999 in UTC") from None


WithoutNul = AfterValidator(_no_nul)
Name = Annotated[str, Field(min_length=1, max_length=256), WithoutNul]
Time = Annotated[
    AwareDatetime,
    BeforeValidator(_rfc3339),
    AfterValidator(_to_utc),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339, with a zone"}),
]


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(BaseModel):
    model_config = ConfigDict(frozen=True)


class ScopeIn(Input):
    """Any of the three fields; a query must match every field that it gives."""

    user_id: Name | None = None
    agent_id: Name | None = None
    session_id: Name | None = None

    def to_scope(self) -> Scope:
        """As the layers below know it."""
        return Scope(self.user_id, self.agent_id, self.session_id)


class ItemIn(Input):
    """What a caller writes. The text is kept byte for byte."""

    text: str = Field(min_length=1, description="1 byte to 64 KiB of UTF-8, no NUL")
    kind: WrittenKind = "turn"
    role: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    speaker: Name | None = None
    occurred_at: Time | None = Field(None, description="when it happened; absent: unknown")
    external_id: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        None, description="your own id, unique within namespace and scope: writing it again changes that memory"
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict, description="a JSON object, 16 KiB at most")
    scope: ScopeIn = ScopeIn()
    expires_at: Time | None = Field(None, description="from then on it is gone from every answer")
    frame: dict[str, JsonValue] | None = Field(None, description="for fact, episode, procedure and rationale")

    def to_item(self) -> Item:
        """As the layers below know it."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name != "scope"}
        return Item(**given, scope=self.scope.to_scope())


class AddIn(Input):
    """Items to keep: all of them, or none."""

    items: list[ItemIn] = Field(min_length=1, description="1 to 1,000")


class PatchIn(Input):
    """A JSON merge patch (RFC 7396): what is absent stays, null removes what can be removed."""

    text: str = Field(default_factory=str, min_length=1)
    metadata: dict[str, JsonValue] | None = None
    occurred_at: Time | None = None
    expires_at: Time | None = None
    speaker: Name | None = None
    frame: dict[str, JsonValue] | None = None

    def given(self) -> dict[str, Any]:
        """Only what the request holds."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class RecallIn(Input):
    """A question."""

    query: str = Field(min_length=1, description="1 byte to 64 KiB of UTF-8")
    scope: ScopeIn = ScopeIn()
    limit: int = Field(10, ge=1, description="at most 100", strict=True)
    kinds: list[Kind] | None = Field(None, max_length=len(KINDS))
    as_of: Time | None = Field(None, description="hides what occurred, or held, only later")
    known_at: Time | None = Field(None, description="hides what was recorded later")
    now: Time | None = Field(None, description='the time from which "last week" is read; absent: now')
    explain: bool = Field(False, strict=True)
    filter: dict[str, JsonValue] | None = Field(
        None,
        description="only memories for which it holds: `{FIELD: VALUE}`, `{FIELD: {OPERATOR: VALUE}}`, `and`, `or`, "
        f"`not`. Operators: {', '.join(OPERATORS)}. Fields: {', '.join((*TEXT_FIELDS, *TIME_FIELDS))}, `metadata.KEY` "
        '(deeper with dots; a key with a dot is quoted: `metadata."a.b"`)',
        examples=[
            {"metadata.topic": "home", "or": [{"speaker": "Ann"}, {"occurred_at": {"gte": "2026-03-01T00:00:00Z"}}]}
        ],
    )

    def to_question(self) -> Question:
        """As the layers below know it.

        Raises:
            InvalidInput: the filter is none.
        """
        return Question(
            self.query,
            self.scope.to_scope(),
            self.limit,
            tuple(self.kinds or ()),
            self.as_of,
            self.known_at,
            self.now,
            self.explain,
            None if self.filter is None else parse(self.filter),
        )


class ContextIn(RecallIn):
    """A question, and how much room there is for the answer."""

    limit: int = Field(50, ge=1, description="memories to consider, at most 100", strict=True)
    token_budget: int | None = Field(None, ge=1, description="absent: the server's setting", strict=True)
    state: bool = Field(
        True,
        strict=True,
        description="whether the working memory of the scope's session comes first, in at most an eighth of the "
        "budget; never where `kinds`, `filter`, `as_of` or `known_at` ask for less than all that is known now",
    )

    def about_now(self) -> bool:
        """Whether the question is about all that is known now, and so a session's state belongs to the answer."""
        return self.kinds is None and self.filter is None and self.as_of is None and self.known_at is None


class ScopeOut(Output):
    user_id: str | None
    agent_id: str | None
    session_id: str | None


class DeriverOut(Output):
    name: str
    version: str


class MemoryOut(Output):
    """One version of a memory."""

    id: str
    namespace: str
    version: int
    state: State
    text: str
    kind: Kind
    role: str | None
    speaker: str | None
    occurred_at: datetime | None
    external_id: str | None
    metadata: dict[str, JsonValue]
    scope: ScopeOut
    expires_at: datetime | None
    frame: dict[str, JsonValue] | None
    created_at: datetime = Field(description="when its first version was recorded")
    recorded_at: datetime = Field(description="when this version was recorded")
    valid_from: datetime | None
    valid_to: datetime | None
    superseded_at: datetime | None = Field(description="when a later version took this one's place")
    sources: list[str]
    deriver: DeriverOut | None

    @classmethod
    def of(cls, memory: Memory) -> "MemoryOut":
        """From the layers below."""
        item = memory.item
        user_id, agent_id, session_id = item.scope.values()
        return cls(
            **{name: getattr(item, name) for name in _ITEM_FIELDS},
            **{name: getattr(memory, name) for name in _MEMORY_FIELDS},
            metadata=dict(item.metadata),
            frame=None if item.frame is None else dict(item.frame),
            scope=ScopeOut(user_id=user_id, agent_id=agent_id, session_id=session_id),
            sources=list(memory.sources),
            deriver=None
            if memory.deriver is None
            else DeriverOut(name=memory.deriver.name, version=memory.deriver.version),
        )


_ITEM_FIELDS = ("text", "kind", "role", "speaker", "occurred_at", "external_id", "expires_at")
_MEMORY_FIELDS = (
    "id", "namespace", "version", "state", "created_at", "recorded_at", "valid_from", "valid_to", "superseded_at",
)  # fmt: skip


class AddedOut(Output):
    """The kept memories, in the order of the items."""

    items: list[MemoryOut]


class PageOut(Output):
    """A part of a list, newest first; `next_cursor` asks for what follows."""

    items: list[MemoryOut]
    next_cursor: str | None


class PassageOut(Output):
    """Characters [start, end) of a memory's text."""

    start: int = Field(ge=0)
    end: int = Field(ge=0)


class DisagreesOut(Output):
    """Another memory that says otherwise. Such links are made by rule and often wrong: both memories stay."""

    memory_id: str = Field(description="the other one, whether or not it is a result too")
    kind: LinkKind = Field(description="`possibly_supersedes`: another value; `conflict`: one denies the other")
    newer: bool = Field(description="whether the other one is the newer of the two")
    change_id: str = Field(description="the decision: `POST /v1/changes/{id}/undo` takes it back")


class HitOut(Output):
    """A recalled memory: `score` orders within this recall, `relevance` is a probability in [0, 1]. A newer memory that
    disagrees with an older one and is about as relevant stands right before it, and each keeps its score."""

    memory: MemoryOut
    score: float
    relevance: float = Field(ge=0, le=1)
    signals: dict[str, float]
    passage: PassageOut | None = Field(description="of a long text, the part that answers best; null: all of it")
    disagrees_with: list[DisagreesOut] = Field(
        description="memories that say otherwise, as far as this question may look at them and they were known then"
    )

    @classmethod
    def of(cls, hit: Hit) -> "HitOut":
        """From the layers below."""
        return cls(
            memory=MemoryOut.of(hit.memory),
            score=hit.score,
            relevance=hit.relevance,
            signals=hit.signals,
            passage=None if hit.passage is None else PassageOut(start=hit.passage[0], end=hit.passage[1]),
            disagrees_with=[
                DisagreesOut(memory_id=each.memory_id, kind=each.kind, newer=each.newer, change_id=each.change_id)
                for each in hit.disagrees_with
            ],
        )


class RecallOut(Output):
    """Memories, best first; `relevant: false` means that nothing here answers the question."""

    recall_id: str
    results: list[HitOut]
    relevant: bool
    pending: int = Field(description="memories in scope whose vectors were not looked at yet")
    took_ms: float
    explain: dict[str, JsonValue] | None = None

    @classmethod
    def of(cls, recall: Recall) -> "RecallOut":
        """From the layers below."""
        return cls(
            recall_id=recall.recall_id,
            results=[HitOut.of(hit) for hit in recall.results],
            relevant=recall.relevant,
            pending=recall.pending,
            took_ms=round(recall.took_ms, 3),
            explain=recall.explain or None,
        )


class BlockOut(Output):
    text: str
    memory_ids: list[str]
    tokens: int


class ContextOut(Output):
    """A prompt-ready text within the budget, and where each block of it comes from."""

    text: str
    blocks: list[BlockOut]
    tokens: int
    tokenizer: str
    recall_id: str
    relevant: bool
    pending: int
    took_ms: float

    @classmethod
    def of(cls, context: Context, recall: Recall) -> "ContextOut":
        """From the layers below."""
        return cls(
            text=context.text,
            blocks=[
                BlockOut(text=block.text, memory_ids=list(block.memory_ids), tokens=block.tokens)
                for block in context.blocks
            ],
            tokens=context.tokens,
            tokenizer=context.tokenizer,
            recall_id=recall.recall_id,
            relevant=recall.relevant,
            pending=recall.pending,
            took_ms=round(recall.took_ms, 3),
        )


class ImportedOut(Output):
    """What an import did."""

    namespace: str
    lines: int
    added: int = Field(description="memories that were not here")
    advanced: int = Field(description="memories that were here in an older version")
    unchanged: int
    conflicts: int = Field(description="memories that differ here in a version that both have: what is here stayed")
    erased: int = Field(description="memories that were erased here, and were not brought back")
    changes: int = Field(description="decisions that were not here")


class FieldErrorOut(Output):
    field: str
    message: str
    limit: int | float | str | None = None


class ProblemOut(Output):
    """RFC 9457 `application/problem+json`. It never repeats the input."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    errors: list[FieldErrorOut]
