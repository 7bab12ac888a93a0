"""The file that memories move in: lines of JSON, versioned, so that another instance, or another program, can read it.

    {"recalld": "export", "schema": 1, "namespace", "exported_at", "encoder"}     the first line
    {"memory": {..., "history": [...], "vectors": [...]}}                         each memory with all of its versions
    {"change": {...}}                                                             each decision, oldest first
    {"end": {"memories", "versions", "changes", "lines", "sha256"}}               the last line, over all before it

A memory stands on one line with its history, its sources and its deriver, so that a line is imported whole or not at
all. Memories come in the order of their arrival. Vectors and token codes are there on demand; they serve where the
encoder's fingerprint agrees. The checksum and the counts tell a file that was cut off or changed.

Invariant: what is written is read back equal by value, whatever a memory holds.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from memory.ingest import check_item
from memory.model import Action, Change, Deriver, Item, Kind, Memory, State
from recalld.core.config import Limits
from recalld.core.db import dump_json, format_utc
from recalld.core.errors import InvalidInput
from recalld.core.ids import pattern
from recalld.core.scope import Scope
from retrieval.ports import Codes, Floats

SCHEMA = 1
LINE_BYTES_MAX = 64 << 20


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeaderLine(_Line):
    """The first line."""

    recalld: Literal["export"]
    schema_: int = Field(alias="schema")
    namespace: str
    exported_at: AwareDatetime
    encoder: str | None


class _Scope(_Line):
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None


class _Version(_Line):
    text: str
    kind: Kind
    role: str | None
    speaker: str | None
    occurred_at: AwareDatetime | None
    external_id: str | None
    metadata: dict[str, JsonValue]
    scope: _Scope
    expires_at: AwareDatetime | None
    frame: dict[str, JsonValue] | None
    version: Annotated[int, Field(ge=1, le=2**31)]
    state: State
    recorded_at: AwareDatetime
    valid_from: AwareDatetime | None
    valid_to: AwareDatetime | None
    superseded_at: AwareDatetime | None = None


class _Deriver(_Line):
    name: str
    version: str


class _Vector(_Line):
    passage: Annotated[int, Field(ge=0, lt=1024)]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    vector: str
    codes: str
    width: Annotated[int, Field(ge=0)]


class _Memory(_Version):
    id: Annotated[str, Field(pattern=pattern("mem"))]
    created_at: AwareDatetime
    sources: list[str]
    deriver: _Deriver | None
    history: list[_Version]
    vectors: list[_Vector] = Field(default_factory=list)


class _Change(_Line):
    id: Annotated[str, Field(pattern=pattern("chg"))]
    action: Action
    reason: Annotated[str, Field(max_length=1000)]
    memory_ids: list[str]
    at: AwareDatetime
    digest: str | None = None
    undone_by: str | None = None


class Totals(_Line):
    """What a whole file holds: its last line."""

    memories: int
    versions: int
    changes: int
    lines: int
    sha256: str


class _AnyLine(_Line):
    memory: _Memory | None = None
    change: _Change | None = None
    end: Totals | None = None


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A passage's vector and token codes as the index has them."""

    passage: int
    digest: bytes
    vector: Floats
    codes: Codes


@dataclass(frozen=True, slots=True)
class Moved:
    """A memory with everything that moves with it; `history` is newest first, as a store tells it."""

    memory: Memory
    history: tuple[Memory, ...] = ()
    vectors: tuple[StoredVector, ...] = ()


class LineWriter:
    """Turns values into lines, and counts them for the last one."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._counts = {"memories": 0, "versions": 0, "changes": 0, "lines": 0}

    def header(self, namespace: str, at: datetime, encoder: str | None) -> bytes:
        """The first line."""
        told = {"recalld": "export", "schema": SCHEMA, "namespace": namespace, "exported_at": format_utc(at)}
        return self._line({**told, "encoder": encoder})

    def memory(self, moved: Moved) -> bytes:
        """A memory's line."""
        memory = moved.memory
        deriver = memory.deriver and {"name": memory.deriver.name, "version": memory.deriver.version}
        told = _version_json(memory) | {"id": memory.id, "created_at": format_utc(memory.created_at)}
        told |= {"sources": list(memory.sources), "deriver": deriver}
        told["history"] = [_version_json(old) for old in moved.history]
        if moved.vectors:
            told["vectors"] = [_vector_json(vector) for vector in moved.vectors]
        self._counts["memories"] += 1
        self._counts["versions"] += 1 + len(moved.history)
        return self._line({"memory": told})

    def change(self, change: Change) -> bytes:
        """A decision's line."""
        told = {"id": change.id, "action": change.action, "reason": change.reason}
        by_rule = {"digest": change.digest, "undone_by": change.undone_by}
        told |= {name: value for name, value in by_rule.items() if value is not None}
        self._counts["changes"] += 1
        return self._line({"change": {**told, "memory_ids": list(change.memory_ids), "at": format_utc(change.at)}})

    def end(self) -> bytes:
        """The last line."""
        return self._line({"end": {**self._counts, "sha256": self._digest.hexdigest()}})

    def _line(self, value: dict[str, Any]) -> bytes:
        line = dump_json(value).encode() + b"\n"
        self._digest.update(line)
        self._counts["lines"] += 1
        return line


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line that was read: what it holds, its number from 1, and where the next one begins."""

    number: int
    next_offset: int
    value: HeaderLine | Moved | Change | Totals


def read_lines(file: BinaryIO, namespace: str, limits: Limits, number: int = 0) -> Iterator[ReadLine]:
    """The lines of an export from where `file` stands, as values of `namespace`.

    Args:
        number: how many lines are before that place; with 0 the first one must be the header.

    Raises:
        InvalidInput: a line is not what it should be; the field is `line N`.
    """
    offset = file.tell()
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        offset += len(line)
        if len(line) > LINE_BYTES_MAX:
            raise wrong_line(number, f"at most {LINE_BYTES_MAX} bytes")
        if not line.endswith(b"\n"):
            raise wrong_line(number, "is cut off: the file is not complete")
        yield ReadLine(number, offset, _value(line, number, namespace, limits))


def read_whole(file: BinaryIO, namespace: str, limits: Limits) -> Iterator[ReadLine]:
    """All lines, with the file's own counts and checksum checked at the end.

    Raises:
        InvalidInput: as `read_lines`, or the file is not whole; the field is `line N`.
    """
    counts = {"memories": 0, "versions": 0, "changes": 0, "lines": 0}
    totals: Totals | None = None
    seen: set[str] = set()
    number = 0
    for line in read_lines(file, namespace, limits):
        number = line.number
        if totals is not None:
            raise wrong_line(number, "stands behind the last line of an export")
        if isinstance(line.value, Totals):
            totals = line.value
        elif isinstance(line.value, Moved):
            if line.value.memory.id in seen:
                raise wrong_line(number, "has the id of a memory on a line before")
            seen.add(line.value.memory.id)
            counts["memories"] += 1
            counts["versions"] += 1 + len(line.value.history)
        elif isinstance(line.value, Change):
            counts["changes"] += 1
        counts["lines"] += totals is None
        yield line
    if totals is None:
        raise wrong_line(number + 1, "is missing: the file is cut off, its last line says how much there is")
    if {name: getattr(totals, name) for name in counts} != counts:
        raise wrong_line(number, "counts other lines than there are: the file was changed or is not complete")
    if totals.sha256 != _checksum(file, number - 1):
        raise wrong_line(number, "has another checksum than the lines before it: the file was changed")


def wrong_line(number: int, message: str) -> InvalidInput:
    """What is wrong with a line."""
    return InvalidInput.of(f"line {number}", message)


def _checksum(file: BinaryIO, lines: int) -> str:
    """Of the first lines, read again."""
    file.seek(0)
    digest = hashlib.sha256()
    for _ in range(lines):
        digest.update(file.readline())
    return digest.hexdigest()


def _value(line: bytes, number: int, namespace: str, limits: Limits) -> HeaderLine | Moved | Change | Totals:
    try:
        if number == 1:
            return _header(HeaderLine.model_validate_json(line))
        found = _AnyLine.model_validate_json(line)
    except ValidationError as error:
        raise wrong_line(number, _told(error, number)) from None
    if [found.memory, found.change, found.end].count(None) != 2:
        raise wrong_line(number, "must hold one of memory, change, end")
    if found.end is not None:
        return found.end
    if found.change is not None:
        change = found.change
        told = (change.id, namespace, change.action, change.reason, tuple(change.memory_ids), change.at)
        return Change(*told, digest=change.digest, undone_by=change.undone_by)
    assert found.memory is not None
    return _moved(found.memory, number, namespace, limits)


def _header(header: HeaderLine) -> HeaderLine:
    if header.schema_ != SCHEMA:
        raise wrong_line(1, f"is of schema {header.schema_}; this version of recalld reads schema {SCHEMA}")
    return header


def _told(error: ValidationError, number: int) -> str:
    """What is wrong, by its place and never by its content."""
    if number == 1:
        return "is not the first line of an export of recalld"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else "is not JSON in UTF-8"


def _moved(line: _Memory, number: int, namespace: str, limits: Limits) -> Moved:
    deriver = None if line.deriver is None else Deriver(line.deriver.name, line.deriver.version)
    versions = [
        Memory(
            line.id, namespace, _item(version), line.created_at, version.recorded_at, version.version, version.state,
            version.valid_from, version.valid_to, version.superseded_at, tuple(line.sources), deriver,
        )
        for version in (line, *line.history)
    ]  # fmt: skip
    for version in versions:
        wrong = check_item(version.item, limits, derived=deriver is not None)
        if wrong:
            raise wrong_line(number, f"{wrong[0].field}: {wrong[0].message}")
    numbers = [version.version for version in versions]
    if numbers != sorted(set(numbers), reverse=True):
        raise wrong_line(number, "history: versions must descend")
    if versions[0].superseded_at is not None or any(old.superseded_at is None for old in versions[1:]):
        raise wrong_line(number, "superseded_at: every version but the current one has it")
    try:
        vectors = tuple(_vector(vector) for vector in line.vectors)
    except ValueError:
        raise wrong_line(number, "vectors: not base64 of the size that it says") from None
    return Moved(versions[0], tuple(versions[1:]), vectors)


def _item(version: _Version) -> Item:
    scope = Scope(version.scope.user_id, version.scope.agent_id, version.scope.session_id)
    names = ("text", "kind", "role", "speaker", "occurred_at", "external_id", "metadata", "expires_at", "frame")
    return Item(**{name: getattr(version, name) for name in names}, scope=scope)


def _version_json(memory: Memory) -> dict[str, Any]:
    item = memory.item
    told: dict[str, Any] = {
        "text": item.text,
        "kind": item.kind,
        "role": item.role,
        "speaker": item.speaker,
        "occurred_at": _time(item.occurred_at),
        "external_id": item.external_id,
        "metadata": dict(item.metadata),
        "scope": item.scope.given(),
        "expires_at": _time(item.expires_at),
        "frame": None if item.frame is None else dict(item.frame),
        "version": memory.version,
        "state": memory.state,
        "recorded_at": _time(memory.recorded_at),
        "valid_from": _time(memory.valid_from),
        "valid_to": _time(memory.valid_to),
    }
    return told if memory.superseded_at is None else {**told, "superseded_at": _time(memory.superseded_at)}


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_utc(moment)


def _vector_json(stored: StoredVector) -> dict[str, Any]:
    return {
        "passage": stored.passage,
        "digest": stored.digest.hex(),
        "vector": base64.b64encode(stored.vector.astype("<f4").tobytes()).decode(),
        "codes": base64.b64encode(stored.codes.tobytes()).decode(),
        "width": stored.codes.shape[1],
    }


def _vector(line: _Vector) -> StoredVector:
    vector = np.frombuffer(base64.b64decode(line.vector, validate=True), dtype="<f4").astype(np.float32)
    raw = np.frombuffer(base64.b64decode(line.codes, validate=True), dtype=np.uint8)
    codes = raw.reshape(-1, line.width) if line.width else raw.reshape(0, 0)
    return StoredVector(line.passage, bytes.fromhex(line.digest), vector, codes)


__all__ = [
    "SCHEMA", "HeaderLine", "LineWriter", "Moved", "ReadLine", "StoredVector", "Totals", "read_lines", "read_whole",
    "wrong_line",
]  # fmt: skip
