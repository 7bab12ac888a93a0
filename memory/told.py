"""Statements that can not be read off their source again, kept with the fact that they led to.

What rules read is read anew whenever a slot is settled (`memory.knowledge`); what a language model read is not, because
each reading costs a call. So such a statement is a part of its fact's metadata (`told`), and goes with it: when its
source is erased the fact is too. It counts as long as its source is there in the version that was read.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from memory.facts import Interval, Statement, Triple
from memory.model import Memory


def to_json(statement: Statement) -> dict[str, Any]:
    """A statement as JSON, without what its source tells."""
    told: dict[str, Any] = {
        "source": statement.source_id,
        "version": statement.source_version,
        "frame": statement.triple.frame(),
        "text": statement.text,
        "span": list(statement.span),
        "extractor": statement.extractor,
        "confidence": statement.confidence,
    }
    for name in ("valid_from", "due", "time"):
        interval = getattr(statement, name)
        if interval is not None:
            told[name] = interval.told()
    return told


def sources_told(fact: Memory) -> frozenset[str]:
    """Ids of the sources of which a fact keeps statements."""
    return frozenset(each["source"] for each in fact.item.metadata.get("told", ()))


def statements_kept(fact: Memory, sources: Mapping[str, Memory]) -> list[Statement]:
    """The statements that a fact keeps, of those sources that still say so."""
    return [
        _statement(each, sources[each["source"]])
        for each in fact.item.metadata.get("told", ())
        if _stands(sources.get(each["source"]), each["version"])
    ]


def _stands(source: Memory | None, version: int) -> bool:
    return source is not None and source.state == "active" and source.version == version


def _statement(told: Mapping[str, Any], source: Memory) -> Statement:
    triple = Triple.of(told["frame"])
    assert triple is not None
    start, end = told["span"]
    return Statement(
        triple,
        told["text"],
        source.id,
        said_at=source.order_at,
        place=(source.row, start),
        span=(start, end),
        extractor=told["extractor"],
        confidence=told["confidence"],
        source_version=told["version"],
        valid_from=_interval(told.get("valid_from")),
        due=_interval(told.get("due")),
        time=_interval(told.get("time")),
    )


def _interval(told: Mapping[str, Any] | None) -> Interval | None:
    if told is None:
        return None
    return Interval(datetime.fromisoformat(told["start"]), datetime.fromisoformat(told["end"]), told["precision"])
