"""What the server answers, as frozen models.

Fields that a newer server adds are kept and can be read by name; names that are open sets there (`kind`, `state`,
places in a receipt) are plain text here, so that an older client reads a newer server's answers. Times are aware.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Model(BaseModel):
    """The base: frozen, and tolerant of fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class MemoryScope(Model):
    """Whose memory it is, within the namespace; None where it is not bound to any."""

    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None


class Deriver(Model):
    """What derived a memory from others."""

    name: str
    version: str


class Memory(Model):
    """One version of one memory.

    Attributes:
        text: what was written, byte for byte.
        kind: `turn`, `document`, `fact`, `summary`, `episode`, `procedure`, `rationale` or `profile`.
        occurred_at: when it happened; None: unknown.
        frame: the structured form of a fact, episode, procedure or rationale.
        version: counts from 1; what `update(if_match=...)` takes.
        state: `active`, `superseded` or `forgotten`.
        created_at: when its first version was recorded.
        recorded_at: when this version was recorded.
        valid_from, valid_to: when it held in the world, [from, to).
        superseded_at: when a later version took its place; None for the current one.
        sources: ids of the memories that it was derived from.
        deriver: None: a caller wrote it.
    """

    id: str
    namespace: str
    version: int
    state: str
    text: str
    kind: str
    recorded_at: AwareDatetime
    created_at: AwareDatetime | None = None
    role: str | None = None
    speaker: str | None = None
    occurred_at: AwareDatetime | None = None
    external_id: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    scope: MemoryScope = MemoryScope()
    expires_at: AwareDatetime | None = None
    frame: dict[str, Any] | None = None
    valid_from: AwareDatetime | None = None
    valid_to: AwareDatetime | None = None
    superseded_at: AwareDatetime | None = None
    sources: tuple[str, ...] = ()
    deriver: Deriver | None = None


class Page(Model):
    """One page of a list; `next_cursor` is None on the last one."""

    items: tuple[Memory, ...]
    next_cursor: str | None = None


class Rescan(Model):
    """What a search of every file in the server's data folder found of erased texts.

    Attributes:
        clean: nothing of them is there that no live memory says.
        windows: pieces of text that were looked for.
        found: pieces that are still there.
        places: the files that hold them.
    """

    clean: bool
    files: int
    bytes: int
    windows: int
    found: int
    places: tuple[str, ...] = ()
    at: AwareDatetime | None = None


class Change(Model):
    """A decision that was taken.

    Attributes:
        kind: `add`, `confirm`, `supersede`, `possibly_supersedes`, `conflict`, `near_duplicate`,
            `decay`, `forget`, `undo`, ...
        memory_ids: what it is on, the newer first.
        undone_by: the change that took it back.
    """

    id: str
    kind: str
    reason: str
    memory_ids: tuple[str, ...]
    at: AwareDatetime
    undone_by: str | None = None


class ChangePage(Model):
    """One page of changes; `next_cursor` is None on the last one."""

    items: tuple[Change, ...]
    next_cursor: str | None = None


class Receipt(Model):
    """What an erasure removed.

    Attributes:
        id: what `erasure` takes; None in a dry run.
        state: `succeeded`, `running` (it goes on: ask again), `failed`, or `counted` in a dry run.
        memories: how many memories are gone, derived ones included.
        removed: rows removed, by place (`memories`, `versions`, `fulltext`, `vectors`, ...).
        memory_ids: the first of them, only in the reply to the request itself.
        asked: by what: `ids`, `scope`, `filter`, `all`, `retention` or `ledger`.
        rescan: what a search of the data folder found afterwards; None until it was done.
        digest: SHA-256 over the receipt, to recognise it by.
    """

    id: str | None
    state: str
    removed: dict[str, int]
    memories: int = 0
    memory_ids: tuple[str, ...] = ()
    asked: str | None = None
    erased_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None
    rescan: Rescan | None = None
    digest: str | None = None


class Imported(Model):
    """What an import did.

    Attributes:
        added: memories that were not there.
        advanced: memories that were there in an older version.
        conflicts: memories that differ there in a version that both have: what was there stayed.
        erased: memories that were erased there, and were not brought back.
        changes: decisions that were not there.
    """

    lines: int
    added: int = 0
    advanced: int = 0
    unchanged: int = 0
    conflicts: int = 0
    erased: int = 0
    changes: int = 0


class Passage(Model):
    """Characters [start, end) of a memory's text."""

    start: int
    end: int


class Disagrees(Model):
    """Another memory that says otherwise, as a rule found: it may be wrong, and both stay.

    Attributes:
        memory_id: the other one, whether or not it is a result too.
        kind: `possibly_supersedes` (another value) or `conflict` (one denies the other).
        newer: whether the other one is the newer of the two.
        change_id: the decision, which `undo` takes back.
    """

    memory_id: str
    kind: str
    newer: bool
    change_id: str


class Hit(Model):
    """One recalled memory.

    Attributes:
        score: what the results are ordered by; comparable within one recall only.
        relevance: a calibrated probability in [0, 1] that it answers the query.
        signals: what the score is made of.
        passage: of a long text, the part that answers best; None: all of it.
        disagrees_with: memories that say otherwise; a newer one, about as relevant, stands right before the older.
    """

    memory: Memory
    score: float
    relevance: float
    signals: dict[str, Any] | None = None
    passage: Passage | None = None
    disagrees_with: tuple[Disagrees, ...] = ()


class Recall(Model):
    """The memories that a query recalls, best first. Iterate over it, index it, take its length.

    Attributes:
        relevant: False: nothing here answers the query. The results are there all the same.
        pending: how many memories of this scope are not searched by meaning yet.
        took_ms: the server's time, in milliseconds.
    """

    recall_id: str
    results: tuple[Hit, ...]
    relevant: bool
    pending: int = 0
    took_ms: float = 0.0

    def __iter__(self) -> Iterator[Hit]:  # type: ignore[override]  # pydantic iterates over fields; a Recall over hits
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, index: int) -> Hit:
        return self.results[index]


class ContextBlock(Model):
    """A part of a context that stays the same, byte for byte, from one context to the next."""

    text: str
    memory_ids: tuple[str, ...]
    tokens: int


class Context(Model):
    """Recalled memories, packed into a token budget and ready for a prompt.

    Attributes:
        tokens: length of `text` by `tokenizer`.
        relevant: False: nothing remembered answers the query.
    """

    text: str
    blocks: tuple[ContextBlock, ...]
    tokens: int
    tokenizer: str
    recall_id: str
    relevant: bool
    pending: int = 0


class StateEntry(Model):
    """One line of a session's working memory.

    Attributes:
        slot: `instruction`, `goal`, `value`, `names`, `question` or `recent`.
        text: what is said, word for word.
    """

    slot: str
    text: str
    memory_ids: tuple[str, ...]


class SessionState(Model):
    """A session's working memory: of constant size, ready for a prompt.

    Attributes:
        text: the entries as lines, each cited; empty where nothing was written to the session.
        memory_ids: everything that is cited, in order.
        tokens: length of `text` by `tokenizer`.
        updated_at: when the newest of the turns looked at was recorded.
    """

    scope: MemoryScope
    text: str
    entries: tuple[StateEntry, ...]
    memory_ids: tuple[str, ...]
    tokens: int
    tokenizer: str
    updated_at: AwareDatetime | None = None


class Votes(Model):
    """How often a memory was found useful, and how often useless."""

    useful: int
    useless: int


class Feedback(Model):
    """A vote as it was kept.

    Attributes:
        useful: None: it was withdrawn.
        votes: on this memory, over all recalls.
    """

    recall_id: str
    memory_id: str
    useful: bool | None
    votes: Votes


class Citation(Model):
    """A memory that an answer rests on."""

    memory_id: str
    text: str | None = None


class ChatMemory(Model):
    """What memory did for an answer.

    Attributes:
        relevant: False: nothing remembered answers the question; None: nothing was recalled.
    """

    relevant: bool | None = None
    citations: tuple[Citation, ...] = ()
    recall_id: str | None = None
    timings: dict[str, Any] | None = None


class CachedTokens(Model):
    """How much of a prompt was served from the cache."""

    cached_tokens: int = 0


class Usage(Model):
    """Tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: CachedTokens | None = None


class ChatMessage(Model):
    """What the assistant said."""

    role: str = "assistant"
    content: str | None = None


class Choice(Model):
    """One answer."""

    message: ChatMessage
    finish_reason: str | None = None


class Chat(Model):
    """An answer, in OpenAI's shape, with what memory did for it."""

    id: str
    model: str
    choices: tuple[Choice, ...] = Field(min_length=1)
    usage: Usage | None = None
    recalld: ChatMemory | None = None

    @property
    def text(self) -> str:
        """The answer."""
        return self.choices[0].message.content or ""

    @property
    def finish_reason(self) -> str | None:
        """Why it ended: `stop`, `length`, ..."""
        return self.choices[0].finish_reason

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The memories that it rests on; none where nothing was recalled."""
        return self.recalld.citations if self.recalld else ()

    @property
    def recall_id(self) -> str | None:
        """The recall behind it; None where nothing was recalled."""
        return self.recalld.recall_id if self.recalld else None


class ChatDelta(Model):
    """The next piece of a streamed answer."""

    content: str | None = None


class ChunkChoice(Model):
    """The next piece, and why the answer ended once it has."""

    delta: ChatDelta = ChatDelta()
    finish_reason: str | None = None


class ChatChunk(Model):
    """One event of a streamed answer."""

    id: str
    model: str
    choices: tuple[ChunkChoice, ...] = ()
    usage: Usage | None = None
    recalld: ChatMemory | None = None


class Embedding(Model):
    """One text's vector."""

    index: int
    embedding: tuple[float, ...]


class Embeddings(Model):
    """Vectors, one a text, in OpenAI's shape."""

    data: tuple[Embedding, ...]
    model: str
    usage: Usage | None = None

    @property
    def vectors(self) -> list[tuple[float, ...]]:
        """The vectors, in the order of the texts."""
        return [each.embedding for each in sorted(self.data, key=lambda each: each.index)]


class Stats(Model):
    """How much the namespace holds, and where.

    Attributes:
        memories: how many, by state.
        versions: older versions that are kept.
        text_bytes: of all texts.
        pending: memories that are not searched by meaning yet.
        jobs: how many, by state.
        vectors: sizes of the namespace's index.
        bytes: of the whole server, by layer.
        kept: bytes of memory of what is kept between recalls, of the whole process.
        encoder: the model that makes the vectors.
    """

    namespace: str
    memories: dict[str, int]
    versions: int = 0
    text_bytes: int = 0
    pending: int = 0
    jobs: dict[str, int] = Field(default_factory=dict)
    vectors: dict[str, int] = Field(default_factory=dict)
    bytes: dict[str, int] = Field(default_factory=dict)
    kept: dict[str, int] = Field(default_factory=dict)
    bytes_per_memory: float = 0.0
    encoder: dict[str, Any] = Field(default_factory=dict)


class Health(Model):
    """The server is alive."""

    status: str = "ok"


class Readiness(Model):
    """Whether the server can serve: migrated, indexes loaded. It is true or false itself.

    Attributes:
        checks: what was looked at, and `ok` or what is wrong with it.
    """

    ready: bool
    checks: dict[str, Any] = Field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.ready
