"""What goes over the wire about erasing: what to erase, and the receipt."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from api.schemas import Input, Output, ScopeIn
from memory.erase import Target
from memory.model import ErasureState, Receipt, Selection
from recalld.core.errors import InvalidInput
from recalld.core.scope import EVERYTHING
from retrieval.filters import parse

MEMORY_IDS_SHOWN_MAX = 1000
Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class EraseIn(Input):
    """What to erase: exactly one of `ids`, `scope`, `filter`, `all`."""

    ids: list[Id] | None = Field(None, min_length=1, max_length=1000, description="1 to 1,000; others are left out")
    scope: ScopeIn | None = Field(None, description="not empty: all memories that match it")
    filter: dict[str, JsonValue] | None = Field(None, description="all memories for which it holds, as in a recall")
    all: Literal[True] | None = Field(None, description="all memories that the key may see")
    dry_run: bool = Field(False, strict=True, description="only count what would go")

    def to_target(self) -> Target:
        """As the layers below know it.

        Raises:
            InvalidInput: the filter is none, or it is not exactly one target, or it is an empty scope.
        """
        found = None if self.filter is None else parse(self.filter)
        given = [name for name in ("ids", "scope", "filter", "all") if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidInput.of("body", "give exactly one of ids, scope, filter, all")
        if self.ids is not None:
            return Target("ids", tuple(self.ids))
        if found is not None:
            return Target("filter", selection=Selection(filter=found))
        if self.scope is not None and self.scope.to_scope() == EVERYTHING:
            raise InvalidInput.of("scope", "an empty one erases nothing: give a field of it, or `all`")
        return (
            Target("all") if self.scope is None else Target("scope", selection=Selection(scope=self.scope.to_scope()))
        )


class RescanOut(Output):
    """What a search of every file in the data folder found of the erased texts."""

    clean: bool = Field(description="nothing of them is there that no live memory says")
    files: int
    bytes: int
    windows: int = Field(description="pieces of text that were looked for")
    found: int = Field(description="pieces that are still there")
    places: list[str] = Field(description="the files that hold them")
    at: datetime


class ReceiptOut(Output):
    """What an erasure removed, by place. `running`: it goes on; ask again at `/v1/erasures/{id}`."""

    id: str | None = Field(description="null in a dry run")
    state: ErasureState | Literal["counted"] = Field(description="`counted`: a dry run")
    namespace: str
    asked: str
    memories: int = Field(description="memories that are gone from every answer, derived ones included")
    memory_ids: list[str] = Field(
        description="the first 1,000 of them, only in the reply to the request: no id is kept"
    )
    removed: dict[str, int]
    erased_at: datetime | None
    finished_at: datetime | None = Field(description="when the rescan was done")
    digest: str = Field(description="SHA-256 over the receipt and the ledger's hashes of the ids; empty until then")
    rescan: RescanOut | None

    @classmethod
    def of(cls, receipt: Receipt) -> "ReceiptOut":
        """From the layers below."""
        found = receipt.rescan
        names = ("id", "state", "namespace", "asked", "memories", "erased_at", "finished_at", "digest")
        return cls(
            **{name: getattr(receipt, name) for name in names},
            memory_ids=list(receipt.memory_ids[:MEMORY_IDS_SHOWN_MAX]),
            removed=dict(receipt.removed),
            rescan=None
            if found is None
            else RescanOut(
                clean=not found.found, files=found.files, bytes=found.bytes, windows=found.windows,
                found=found.found, places=list(found.places), at=found.at,
            ),
        )  # fmt: skip

    @classmethod
    def counted(cls, namespace: str, asked: str, counts: dict[str, int]) -> "ReceiptOut":
        """What would go."""
        return cls(
            id=None, state="counted", namespace=namespace, asked=asked, memories=counts["memories"], memory_ids=[],
            removed=counts, erased_at=None, finished_at=None, digest="", rescan=None,
        )  # fmt: skip
