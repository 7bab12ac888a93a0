"""Conversations with questions, read in place and never copied into the project: their licences forbid it.

Questions carry the ids of the turns (or sessions) that answer them, and the answer: only the metrics see them. What the
upstream files offer besides (summaries, observations, events, plans, rubrics) is not read at all.

LoCoMo: Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents" (ACL 2024). LongMemEval: Wu
et al. (ICLR 2025). BEAM: Tavakoli et al., "Beyond a Million Tokens" (2025).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from bench import files
from memory.ingest import last_question
from memory.model import Item
from recalld.core.config import load_settings
from recalld.core.errors import ConfigError
from recalld.core.scope import Scope
from recalld.demo import conversation

BEAM_SIZES = ("100K", "500K")
_LONGMEMEVAL_DATE = re.compile(r"(\d+)/(\d+)/(\d+) \(\w+\) (\d+):(\d+)")
# BEAM's generator ends a message that its plan asked for with the number of that plan's entry.
_BEAM_MARK = re.compile(r"\s*->-> \d+,\d+$")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: one memory. `id` is unique in its conversation."""

    id: str
    session: str
    text: str
    at: datetime | None
    speaker: str | None = None
    role: str | None = None

    def item(self) -> Item:
        """What is written."""
        return Item(
            self.text,
            speaker=self.speaker,
            role=self.role,
            occurred_at=self.at,
            external_id=self.id,
            scope=Scope(session_id=self.session),
        )


@dataclass(frozen=True, slots=True)
class Question:
    """One question: one recall in its conversation.

    Attributes:
        asked_at: the time from which "last week" is read.
        evidence: ids of the turns that answer it, where the data names turns.
        sessions: the sessions that they are in.
        answer: what is expected, where the data says so; "" where not.
    """

    text: str
    category: str
    asked_at: datetime | None
    evidence: frozenset[str]
    sessions: frozenset[str]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in order, and the questions about them."""

    name: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...]


def locomo(data: Path | None = None) -> list[Conversation]:
    """LoCoMo; corrections of its evidence are taken from an `audit.json` beside the file, where there is one.

    Raises:
        ConfigError: the file is not there; says where a user gets it.
    """
    names = ("locomo.json.gz", "locomo10.json", "locomo.json")
    file = files.find(
        data or files.folder("locomo"), "locomo", names, "https://github.com/snap-research/locomo (data/locomo10.json)"
    )
    beside = [path for name in ("audit.json.gz", "audit.json") if (path := file.parent / name).is_file()]
    audit = {
        (found["sample_id"], found["qa_index"]): found["correct_evidence"]
        for path in beside[:1]
        for found in files.read(path)
        if found["correct_evidence"]
    }
    return [_locomo_conversation(told, audit) for told in files.read(file)]


def _locomo_conversation(told: Mapping[str, Any], audit: Mapping[tuple[str, int], Sequence[str]]) -> Conversation:
    spoken = told["conversation"]
    turns: list[Turn] = []
    for number in sorted(int(key[8:]) for key in spoken if re.fullmatch(r"session_\d+", key)):
        said_at = datetime.strptime(spoken[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
        for turn in spoken[f"session_{number}"]:
            caption = turn.get("blip_caption")
            text = f"{turn['text']} [photo: {caption}]" if caption else turn["text"]
            turns.append(Turn(turn["dia_id"], f"session_{number}", text, said_at, speaker=turn["speaker"]))
    session_of = {turn.id: turn.session for turn in turns}
    questions = []
    for index, asked in enumerate(told["qa"]):
        cited = audit.get((told["sample_id"], index), asked.get("evidence", []))
        ids = [part for entry in cited for part in re.split(r"[;,\s]+", entry)]
        evidence = frozenset(ids) & session_of.keys()
        sessions = frozenset(session_of[turn] for turn in evidence)
        answer = str(asked.get("answer", ""))
        questions.append(Question(asked["question"], str(asked["category"]), turns[-1].at, evidence, sessions, answer))
    return Conversation(told["sample_id"], tuple(turns), tuple(questions))


def longmemeval(data: Path | None = None) -> list[Conversation]:
    """LongMemEval, upstream's format, or one that holds several questions to a haystack.

    Raises:
        ConfigError: the file is not there; says where a user gets it.
    """
    where = "https://github.com/xiaowu0162/LongMemEval (longmemeval_s.json)"
    if data is None:
        found = sorted(files.folder("longmemeval_mini").glob("*.json.gz"))
        if not found:
            raise files.missing("longmemeval_mini", where)
    else:
        found = [files.find(data, "longmemeval", ("longmemeval_s.json", "longmemeval_s_cleaned.json"), where)]
    return [_haystack(told) for file in found for told in files.read(file)]


def _haystack(told: Mapping[str, Any]) -> Conversation:
    turns, with_answer = [], set()
    sessions = zip(told["haystack_session_ids"], told["haystack_dates"], told["haystack_sessions"], strict=True)
    for session, date, said in sessions:
        for number, turn in enumerate(said):
            if turn["content"].strip():
                turns.append(
                    Turn(
                        f"{session}:{number}",
                        session,
                        fitting(turn["content"]),
                        _longmemeval_time(date),
                        role=turn["role"],
                    )
                )
                if turn.get("has_answer"):
                    with_answer.add(turns[-1].id)
    several = "questions" in told
    asked = told["questions"] if several else [told["question"]]
    answered_in = told["answer_session_ids"] if several else [told["answer_session_ids"]]
    at = _longmemeval_time(told["question_date"])
    questions = [
        Question(
            text,
            told["question_type"],
            at,
            frozenset(turn for turn in with_answer if turn.rpartition(":")[0] in found),
            frozenset(found) & {turn.session for turn in turns},
        )
        for text, found in zip(asked, answered_in, strict=True)
    ]
    return Conversation(told["question_id"], tuple(turns), tuple(questions))


def beam(size: str, data: Path | None = None) -> list[Conversation]:
    """BEAM's chats of one size of `BEAM_SIZES`, of which each message is a turn.

    Takes a folder that holds `SIZE/*.json.gz`, or upstream's `chats/SIZE/*/chat.json` with the questions beside it; or
    one such file.

    Raises:
        ConfigError: the files are not there; says where a user gets them.
    """
    place = data or files.folder("beam")
    found = [place] if place.is_file() else []
    for parent in (place / size, place / "chats" / size):
        found = found or [*parent.glob("*.json.gz"), *parent.glob("*/chat.json")]
    if not found:
        raise files.missing(f"beam {size}", "https://github.com/mohammadtavakoli78/BEAM (chats)")
    named = sorted((int(name) if name.isdigit() else 0, name, file) for file in found for name in (_beam_name(file),))
    return [_beam_chat(f"{size}-{name}", file) for _, name, file in named]


def _beam_name(file: Path) -> str:
    return file.parent.name if file.name == "chat.json" else file.name.partition(".")[0]


def _beam_chat(name: str, file: Path) -> Conversation:
    told = files.read(file)
    if isinstance(told, list):
        told = _beam_upstream(told, files.read(file.parent / "probing_questions" / "probing_questions.json"))
    turns = [
        Turn(str(said["id"]), said["sess"], fitting(said["text"]), _beam_time(said["date"]), role=said["role"])
        for said in told["msgs"]
    ]
    session_of = {turn.id: turn.session for turn in turns}
    last = max((turn.at for turn in turns if turn.at), default=None)
    questions = []
    for asked in told["qs"]:
        evidence = frozenset(map(str, asked["ev"])) & session_of.keys()
        sessions = frozenset(session_of[turn] for turn in evidence)
        questions.append(Question(asked["q"], asked["type"], last, evidence, sessions, asked.get("a") or ""))
    return Conversation(name, tuple(turns), tuple(questions))


def _beam_upstream(batches: Sequence[Any], probing: Mapping[str, Any]) -> dict[str, Any]:
    """Upstream's two files of a chat as the one of `../shared/data`."""
    messages = [
        {
            "id": said["id"],
            "role": said["role"],
            "text": _BEAM_MARK.sub("", said["content"]),
            "sess": f"{batch}.{turn}",
            "date": said.get("time_anchor"),
        }
        for batch, one in enumerate(batches)
        for turn, exchange in enumerate(one["turns"])
        for said in exchange
    ]
    questions = [
        {
            "type": kind,
            "q": asked["question"],
            "a": asked.get("answer") or asked.get("ideal_response") or "",
            "ev": list(_numbers(asked.get("source_chat_ids"))),
        }
        for kind, several in sorted(probing.items())
        for asked in several
    ]
    return {"msgs": messages, "qs": questions}


def _numbers(nested: Any) -> Iterator[int]:
    """The numbers in lists and the values of mappings."""
    if isinstance(nested, int):
        yield nested
    elif isinstance(nested, list | dict):
        for one in nested.values() if isinstance(nested, dict) else nested:
            yield from _numbers(one)


def _beam_time(date: str | None) -> datetime | None:
    """The day of a message where it is written as March-15-2024; most have none."""
    with suppress(ValueError):
        return datetime.strptime(date or "", "%B-%d-%Y").replace(tzinfo=UTC)
    return None


def real_turns(count: int) -> tuple[list[Turn], int]:
    """Real turns to write: LoCoMo's, LongMemEval's and BEAM's where they are there, else the shipped conversation's.

    Returns:
        `count` turns with distinct sessions where they come from distinct conversations, and how many of them repeat an
        earlier text because there were not enough.
    """
    found = [
        replace(turn, session=f"{number}:{turn.session}")
        for number, told in enumerate(here(locomo, longmemeval, *(partial(beam, size) for size in BEAM_SIZES)))
        for turn in told.turns
    ]
    if not found:
        found = [
            Turn(str(number), turn.session_id, turn.text, turn.occurred_at, role=turn.role)
            for number, turn in enumerate(conversation())
        ]
    again = [
        replace(found[place % len(found)], session=f"{place // len(found)}:{found[place % len(found)].session}")
        for place in range(len(found), count)
    ]
    return [*found[:count], *again], len(again)


def questions(count: int) -> list[str]:
    """Distinct questions: of the data sets that are there, then those that the shipped conversation's turns end in."""
    asked = [question.text for told in here(locomo, longmemeval) for question in told.questions]
    asked += [question for turn in conversation() if (question := last_question(turn.text))]
    return list(dict.fromkeys(asked))[:count]


def here(*loaders: Callable[[], list[Conversation]]) -> list[Conversation]:
    """What is there of some data sets."""
    found: list[Conversation] = []
    for load in loaders:
        with suppress(ConfigError):
            found += load()
    return found


def fitting(text: str) -> str:
    """The text, or as much of it as one memory holds."""
    return text.encode()[: load_settings().text_bytes_max].decode(errors="ignore")


def _longmemeval_time(date: str) -> datetime:
    match = _LONGMEMEVAL_DATE.fullmatch(date)
    if match is None:
        raise ConfigError("longmemeval: a date is not written as 2023/05/30 (Tue) 23:40")
    year, month, day, hour, minute = (int(part) for part in match.groups())
    return datetime(year, month, day, hour, minute, tzinfo=UTC)
