"""The words of memory as values: an item that a caller writes, a memory that is kept, a selection, a change.

Everything here is immutable. A memory's `item` is what its caller wrote, byte for byte; a change makes a new version
beside the old one. Two clocks never mix: `valid_from/valid_to` is when something held in the world, `recorded_at/
superseded_at` when recalld knew this version of it (bi-temporal, after Snodgrass, Developing Time-Oriented Database
Applications, ch. 10).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, get_args

from recalld.core.scope import EVERYTHING, Scope
from retrieval.filters import Filter

Kind = Literal["turn", "document", "fact", "summary", "episode", "procedure", "rationale", "profile"]
WrittenKind = Literal["turn", "document", "fact", "episode", "procedure", "rationale"]
State = Literal["active", "superseded", "forgotten"]
ErasureState = Literal["running", "succeeded", "failed"]
Action = Literal[
    "add", "update", "forget", "restore", "erase", "derive",
    "confirm", "supersede", "merge", "retract", "possibly_supersedes", "conflict", "near_duplicate",
    "decay", "undo",
]  # fmt: skip

LinkKind = Literal["possibly_supersedes", "conflict"]

ACTIONS: tuple[Action, ...] = get_args(Action)
LINKS: frozenset[Action] = frozenset(get_args(LinkKind))
"""Decisions that say that two memories disagree, the newer first."""
KINDS: tuple[Kind, ...] = get_args(Kind)
SOURCE_KINDS: tuple[Kind, ...] = get_args(WrittenKind)
"""What a recall looks at where it is not told: summaries and profiles repeat what these say."""
FRAME_KINDS: frozenset[Kind] = frozenset({"fact", "episode", "procedure", "rationale"})


@dataclass(frozen=True, slots=True)
class Item:
    """What a caller writes. `occurred_at` None means unknown, never now."""

    text: str
    kind: Kind = "turn"
    role: str | None = None
    speaker: str | None = None
    occurred_at: datetime | None = None
    external_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    scope: Scope = EVERYTHING
    expires_at: datetime | None = None
    frame: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Deriver:
    """What derived a row, so that it can be derived again and compared."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Memory:
    """One version of one memory.

    Attributes:
        row: its number in the store, never reused; 0 before it is inserted.
        created_at: when its first version was recorded.
        recorded_at: when this version was recorded.
        superseded_at: when a later version took its place; None for the current one.
        sources: ids of the memories that it was derived from.
        deriver: None: a caller wrote it.
    """

    id: str
    namespace: str
    item: Item
    created_at: datetime
    recorded_at: datetime
    version: int = 1
    state: State = "active"
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    superseded_at: datetime | None = None
    sources: tuple[str, ...] = ()
    deriver: Deriver | None = None
    row: int = 0

    @property
    def order_at(self) -> datetime:
        """Where it stands among the turns of its session; arrival decides between equal ones."""
        return self.item.occurred_at or self.created_at

    @property
    def order(self) -> tuple[datetime, int]:
        """What memories are put in order of time by; of two of one moment, the one that was kept first is first."""
        return self.order_at, self.row


@dataclass(frozen=True, slots=True)
class Selection:
    """Which memories: every field that is given must match.

    Attributes:
        since, until: a half-open interval [since, until) on `occurred_at`, or on `created_at` where that is unknown.
        metadata: text that the value under each key must equal, numbers by value, `true`, `false`, `null` by name.
        text: words that must all be in the text (analysed: case and inflection do not count).
        as_of: hides what occurred later or was not valid then.
        known_at: hides what was first recorded later.
        before_row: only rows before this one (a page's end).
        filter: holds for the memory as it is now, whatever `known_at` says.
        frame: values that top-level keys of its frame must have.
        valid_at: hides what was not valid then, whenever it was said; what was merged away was never valid by itself.
        derived: whether recalld derived it; None: either.
        or_no_session: whether a memory outside any session matches a scope with one.
    """

    scope: Scope = EVERYTHING
    kinds: tuple[Kind, ...] = ()
    states: tuple[State, ...] = ("active",)
    since: datetime | None = None
    until: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    source_id: str | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    before_row: int | None = None
    filter: Filter | None = None
    frame: Mapping[str, str] = field(default_factory=dict)
    valid_at: datetime | None = None
    derived: bool | None = None
    or_no_session: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that was taken: what, why, on which memories, when.

    Attributes:
        digest: what names a decision that is taken by rule, so that it is not taken twice, nor again once it is undone.
        undone_by: the change that took it back.
        number: its place in the log, given by the store; not told by `==`.
    """

    id: str
    namespace: str
    action: Action
    reason: str
    memory_ids: tuple[str, ...]
    at: datetime
    digest: str | None = None
    undone_by: str | None = None
    number: int = field(default=0, compare=False)

    def of(self, memory_ids: tuple[str, ...]) -> "Change":
        """The same decision, telling only of these memories."""
        return replace(self, memory_ids=memory_ids)


@dataclass(frozen=True, slots=True)
class ChangeSelection:
    """Which changes: every field that is given must match; `before_number` is a page's end.

    A change is in a scope when every memory that it is on is, and there is one.
    """

    scope: Scope = EVERYTHING
    actions: tuple[Action, ...] = ()
    memory_id: str | None = None
    before_number: int | None = None


EVERY_CHANGE = ChangeSelection()


@dataclass(frozen=True, slots=True)
class StandingLink:
    """Two memories that disagree, as a decision says that nobody took back: both stay.

    Attributes:
        change_id: the decision's.
        newer, older: ids of the two; `newer_row` and `older_row` are their rows.
    """

    change_id: str
    kind: LinkKind
    newer: str
    older: str
    newer_row: int
    older_row: int


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a recall gave: the memories that are still there, best first, and the scope that was asked for."""

    scope: Scope
    memory_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Votes:
    """How often a memory was found useful, and how often useless."""

    useful: int = 0
    useless: int = 0


@dataclass(frozen=True, slots=True)
class Uses:
    """How often recalls gave a memory, and when one last did."""

    shown: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Loose:
    """A derived memory that nothing rests on, as far as decay has to know it; this version was recorded at `since`."""

    id: str
    row: int
    kind: Kind
    since: datetime


@dataclass(frozen=True, slots=True)
class Erased:
    """How many rows an erasure removed, by place."""

    memories: int = 0
    versions: int = 0
    sources: int = 0
    fulltext: int = 0
    outbox: int = 0
    changes: int = 0
    recalls: int = 0
    feedback: int = 0


@dataclass(frozen=True, slots=True)
class Rescan:
    """What a search of every file in the data folder found of erased texts after their erasure.

    Attributes:
        files, bytes: how much was read.
        windows: how many pieces of text were looked for.
        found: those that are still there and that no live memory says.
        places: the files that hold them.
        at: when.
    """

    files: int
    bytes: int
    windows: int
    found: int
    places: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an erasure did, or has done so far.

    Attributes:
        asked: by what it was asked for: `ids`, `scope`, `filter`, `all`, `retention` or `ledger`.
        state: `running` until everything is removed and the rescan is clean; `failed` where it never was.
        memories: how many memories are gone, derived ones included; nothing shows them from the first moment on.
        removed: rows removed by place (`memories`, `versions`, `fulltext`, `vectors`, ...).
        finished_at: when the rescan was done.
        digest: SHA-256 over the fields above and the ledger's hashes, so that a receipt can be recognised.
        memory_ids: what is gone; only in the reply to the request, because no id is kept.
        attempts: how often the files were cleaned and searched.
    """

    id: str
    namespace: str
    asked: str
    state: ErasureState
    memories: int
    removed: Mapping[str, int]
    erased_at: datetime
    finished_at: datetime | None = None
    rescan: Rescan | None = None
    digest: str = ""
    memory_ids: tuple[str, ...] = ()
    attempts: int = 0
