"""Many items, cut lazily into requests that a server takes. Nothing is held but the batch that is being filled."""

from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from dataclasses import dataclass

from recalld_client import wire
from recalld_client.errors import InvalidValue, RecalldError
from recalld_client.scopes import Bound, narrowed

BODY_BYTES_MAX = 4 * 1024 * 1024
OPENING, COMMA, CLOSING = b'{"items":[', b",", b"]}"


@dataclass(frozen=True, slots=True)
class Batch:
    """The body of one request, and how many items it has."""

    body: bytes
    items: int


def item_json(item: str | Mapping[str, object], bound: Bound, field: str) -> bytes:
    """One item as JSON, with the bound scope filled in. A bare text is an item of that text.

    Raises:
        InvalidValue: something in it cannot be sent, or its scope conflicts with the bound one.
    """
    fields = {"text": item} if isinstance(item, str) else item
    if not isinstance(fields, Mapping):
        raise InvalidValue.of(field or "item", "must be a text, or a mapping with the fields of an item")
    prefix = f"{field}." if field else ""
    given = fields.get("scope") or {}
    if not isinstance(given, Mapping):
        raise InvalidValue.of(f"{prefix}scope", "must be a mapping of scope fields")
    scope = narrowed(bound, {name: value for name, value in given.items() if value is not None}, f"{prefix}scope")
    found = wire.to_json({name: value for name, value in fields.items() if name != "scope"}, field)
    return wire.encode(found | {"scope": scope} if scope else found)


def batches(
    items: Iterable[str | Mapping[str, object]],
    bound: Bound,
    *,
    items_max: int,
    body_bytes_max: int = BODY_BYTES_MAX,
) -> Iterator[Batch]:
    """Requests of at most `items_max` items and `body_bytes_max` bytes; an item that is larger goes alone.

    Raises:
        InvalidValue: an item cannot be sent; `items.N` is its position among all items.
    """
    parts: list[bytes] = []
    size = len(OPENING) + len(CLOSING)
    for at, item in enumerate(items):
        part = item_json(item, bound, f"items.{at}")
        if parts and (len(parts) == items_max or size + len(part) + len(COMMA) > body_bytes_max):
            yield Batch(body_of(parts), len(parts))
            parts, size = [], len(OPENING) + len(CLOSING)
        parts.append(part)
        size += len(part) + len(COMMA)
    if parts:
        yield Batch(body_of(parts), len(parts))


def body_of(parts: Iterable[bytes]) -> bytes:
    """The body that holds these items."""
    return OPENING + COMMA.join(parts) + CLOSING


@contextmanager
def acknowledging(added: Sized) -> Iterator[None]:
    """Tells an error that passes how many items were `added` before it."""
    try:
        yield
    except RecalldError as error:
        error.acknowledged = len(added)
        if added:
            error.add_note(f"add_many: the {len(added)} items before this batch were stored")
        raise
