"""What is taken in, and what is indexed of it.

`check` holds every limit on an item in one place, so that HTTP, the command line and chat refuse the same things with
the same words. The text is kept byte for byte; what the indexes see is made from it here, by pure functions, one
passage of it at a time (`retrieval.passages`; a text of up to some 1,200 characters is one passage):

- full text: speaker, text and date words, because questions name people and dates;
- vector: the last question of the turn before, then the text, because "Yes, last summer" says nothing by itself; a
  later passage of a document follows its title, for the same reason;
- of a procedure or a rationale both see the task or the question that it is for: that is what it is looked for by.

Source of the figures behind both: the LoCoMo benchmark in `bench/results`.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from memory.frames import check_frame
from memory.lasting import lasting
from memory.model import FRAME_KINDS, Item, Memory
from memory.noise import is_noise_turn
from memory.outcomes import subject_of
from recalld.core.config import Limits
from recalld.core.errors import FieldError, InvalidInput
from retrieval.analysis import terms
from retrieval.passages import split
from retrieval.traits import QUESTION_MARKS, Trait, asks, traits, without_note

NAME_CHARS_MAX = 256
ROLE_CHARS_MAX = 64
EXTERNAL_ID_CHARS_MAX = 512
RESERVED_EXTERNAL_ID = "recalld:"
TITLE_CHARS_MAX = 120
FIELD_ERRORS_MAX = 20
_QUESTION = re.compile(rf"[^.!。！\n{QUESTION_MARKS}]*[{QUESTION_MARKS}]+")
# NUL in JSON text: behind an even number of backslashes, each pair of which stands for one.
_JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def check(items: Sequence[Item], limits: Limits, prefix: str = "items") -> None:
    """Refuse items that break a limit, all of them or none.

    Raises:
        InvalidInput: names every field that is wrong (the first 20) and its limit.
    """
    if not items:
        raise InvalidInput.of(prefix, "at least 1 item", 1)
    if len(items) > limits.items_max:
        raise InvalidInput.of(prefix, f"at most {limits.items_max} items in one request", limits.items_max)
    wrong: list[FieldError] = []
    for number, item in enumerate(items):
        at = f"{prefix}.{number}"
        wrong += check_item(item, limits, at)
        if len(wrong) >= FIELD_ERRORS_MAX:
            break
    if wrong:
        first = wrong[0]
        raise InvalidInput(f"{first.field}: {first.message}", wrong[:FIELD_ERRORS_MAX])


def check_item(item: Item, limits: Limits, at: str = "", derived: bool = False) -> list[FieldError]:
    """What is wrong with one item; `at` is the path of the item in the input, and `derived` memories have names that
    no caller may give."""
    dot = f"{at}." if at else ""
    wrong = check_text(item.text, limits.text_bytes_max, f"{dot}text")
    for name, value, most in (
        ("role", item.role, ROLE_CHARS_MAX),
        ("speaker", item.speaker, NAME_CHARS_MAX),
        ("external_id", item.external_id, EXTERNAL_ID_CHARS_MAX),
        *((f"scope.{name}", value, NAME_CHARS_MAX) for name, value in item.scope.given().items()),
    ):
        if value is not None and not 1 <= len(value) <= most:
            wrong.append(FieldError(f"{dot}{name}", f"1 to {most} characters", most))
        elif value is not None:
            wrong += check_text(value, 4 * most, f"{dot}{name}")
    if not derived and (item.external_id or "").startswith(RESERVED_EXTERNAL_ID):
        wrong.append(
            FieldError(f"{dot}external_id", f"must not begin with {RESERVED_EXTERNAL_ID}: derived memories do")
        )
    wrong += check_json(item.metadata, limits, f"{dot}metadata")
    if item.frame is not None:
        unfit = check_json(item.frame, limits, f"{dot}frame")
        if item.kind not in FRAME_KINDS:
            kinds = ", ".join(sorted(FRAME_KINDS))
            unfit.append(FieldError(f"{dot}frame", f"only a memory of kind {kinds} has one"))
        wrong += unfit or check_frame(item.kind, item.frame, f"{dot}frame")
    return wrong


def check_text(text: str, bytes_max: int, field: str) -> list[FieldError]:
    """What is wrong with a text: its size in UTF-8, a NUL, or a lone surrogate."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return [FieldError(field, "must be valid Unicode: it holds a lone surrogate")]
    if not 1 <= size <= bytes_max:
        return [FieldError(field, f"1 to {bytes_max} bytes of UTF-8", bytes_max)]
    if "\x00" in text:
        return [FieldError(field, "must not hold the NUL character")]
    return []


def check_json(value: Mapping[str, Any], limits: Limits, field: str) -> list[FieldError]:
    """What is wrong with a JSON object: its depth, its size, a number that JSON does not have, or a NUL."""
    if _depth(value, limits.metadata_depth_max + 1) > limits.metadata_depth_max:
        most = limits.metadata_depth_max
        return [FieldError(field, f"nested at most {most} deep", most)]
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        size = len(text.encode())
    except UnicodeEncodeError:
        return [FieldError(field, "must be valid Unicode: it holds a lone surrogate")]
    except ValueError:
        return [FieldError(field, "must not hold NaN or infinity")]
    if size > limits.metadata_bytes_max:
        return [FieldError(field, f"at most {limits.metadata_bytes_max} bytes as JSON", limits.metadata_bytes_max)]
    if _JSON_NUL.search(text):
        return [FieldError(field, "must not hold the NUL character")]
    return []


def _depth(value: Any, stop: int) -> int:
    """Nesting of objects and arrays; looks no deeper than `stop`."""
    level, depth = [value], 0
    while level and depth < stop:
        level = [inner for outer in level for inner in _children(outer)]
        depth += 1
    return depth


def _children(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [inner for inner in value.values() if isinstance(inner, Mapping | list)]
    if isinstance(value, list):
        return [inner for inner in value if isinstance(inner, Mapping | list)]
    return []


def lexical_terms(memory: Memory) -> list[list[str]]:
    """The analysed terms that full text keeps of each passage of a memory, repeats included."""
    item = memory.item
    date = None if item.occurred_at is None else date_words(item.occurred_at)
    subject = subject_of(item)
    if subject is not None and subject in item.text:
        subject = None
    said = _passages(item.text)
    return [terms("\n".join(part for part in (subject, item.speaker, each, date) if part)) for each in said]


def date_words(moment: datetime) -> str:
    """A date as people write it in questions: `14 March 2026`."""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}"


def embedded_texts(memory: Memory, previous: Memory | None) -> list[str]:
    """What the encoder sees of each passage of a memory: what was just asked, or the title, then the passage.

    The names of those who are spoken to are left out: a turn that says "Thanks, Ann!" is not about Ann.
    """
    item = memory.item
    asked = last_question(previous.item.text) if previous is not None else None
    if previous is not None and asked:
        asked = without_vocatives(asked, item.speaker)
    subject = subject_of(item)
    title = _title(item.text) if item.kind == "document" else subject
    first, *later = _passages(item.text)
    if previous is not None and previous.item.speaker != item.speaker:
        first = without_vocatives(first, previous.item.speaker)
    if subject is not None:
        first = subject
    return [f"{asked} {first}" if asked else first, *(f"{title}\n{part}" if title else part for part in later)]


def _passages(text: str) -> list[str]:
    return [text[passage.start : passage.end] for passage in split(text)]


def _title(text: str) -> str | None:
    """The first line of a text, where it is short and not all of it."""
    first, broken, _ = text.lstrip().partition("\n")
    return first.rstrip() if broken and len(first) <= TITLE_CHARS_MAX else None


def without_vocatives(text: str, name: str | None) -> str:
    """The text without the name of whom it is said to ("Thanks, Ann!"); all of it where nothing else is there."""
    parts = [re.escape(part) for part in (name or "").split() if part]
    if not parts:
        return text
    named = "|".join(parts)
    said = re.sub(rf",?\s*\b(?:{named})\b(?=\s*[,!?.])", "", text).strip(" ,")
    return said or text


def last_question(text: str) -> str | None:
    """The last question of a text that ends in one, within its last 300 characters; None where it does not."""
    if not asks(text):
        return None
    return str(_QUESTION.findall(without_note(text)[-300:])[-1]).strip()


def row_traits(memory: Memory) -> int:
    """What a recall has to know of a memory without reading its text, as bits of `Trait`."""
    dated = Trait.DATED if memory.item.occurred_at is not None else Trait(0)
    derived = Trait.DERIVED if memory.deriver is not None else Trait(0)
    lasts = Trait.LASTING if lasting(memory) else Trait(0)
    empty = Trait.NOISE if is_noise_turn(memory) else Trait(0)
    return int(traits(memory.item.text) | dated | derived | lasts | empty)


def content_digest(text: str) -> bytes:
    """8 bytes over what was encoded: `verify` and the outbox see by it whether a vector is still right."""
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip
