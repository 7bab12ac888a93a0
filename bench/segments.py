"""Segments: where one chat goes over to something else, found without session ids, beside plainer ways.

Chats that switch tasks are put together from real ones, so that each true boundary is known: LongMemEval's sessions of
one haystack run on as one chat; BEAM's chats, each of one long topic, and LoCoMo's, each of one pair of friends, in
turns, a few messages of one and then of another. *One relationship*: LoCoMo's sessions of one pair as one chat.

Vectors are those that the index has: of a turn's first passage with what was just asked. A boundary counts as found
within one turn of it (`f1`) or at the very turn (`exact f1`), each true one once.

    ours              cohesion alone: neither sessions nor times are shown
    ours, with times  and a gap of an hour, by the times that the data has: sessions of LoCoMo and LongMemEval are
    time gaps         dated, so that a gap alone finds them; within one sitting, or in BEAM, there is none to find
    neighbours        a turn whose cosine with the one before is below the same `cohesion_min`
    fixed windows     of the true mean length, which nobody knows
    chance            as many boundaries as ours, anywhere; the mean of `DRAWS`

The settings of `memory.segments` were chosen with a look at all of these but `beam-500K, mixed`.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np

from bench.datasets import Conversation, Turn, beam, locomo, longmemeval
from bench.runner import Options, say
from memory.ingest import embedded_texts
from memory.model import Memory
from memory.segments import Piece, SegmentSettings, cuts
from recalld.bootstrap.making import make_encoder
from recalld.core.config import load_settings
from recalld.core.errors import ConfigError
from retrieval.ports import Encoder, Floats

SETTINGS = SegmentSettings()
TOLERANCE = 1
TURNS_A_CHAT = 120
EXCHANGES = (2, 7)
DRAWS = 20
BATCH = 32
_AT = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Chat:
    """One chat, and the places at which it truly goes over to something else."""

    turns: tuple[Turn, ...]
    places: tuple[int, ...]


def run(options: Options) -> dict[str, Any]:
    """Every data set that is here."""
    encoder = make_encoder(load_settings(encoder=options.encoder))
    results: dict[str, Any] = {}
    for name, chats in _data(options.seed):
        found = [_measured(chat, vectors(chat.turns, encoder), options.seed) for chat in chats[: options.limit]]
        results[name] = {
            "chats": len(found),
            "turns": sum(len(chat.turns) for chat in chats[: options.limit]),
            "boundaries": sum(len(chat.places) for chat in chats[: options.limit]),
            "rows": {row: _means([one[row] for one in found]) for row in found[0]},
        }
        say(f"{name}: {results[name]}")
    if not results:
        raise ConfigError("segments: none of the data sets is here")
    return {"tolerance": TOLERANCE, "data": results}


def _data(seed: int) -> Iterator[tuple[str, list[Chat]]]:
    """The chats of each data set that is here."""
    with suppress(ConfigError):
        yield "longmemeval", [run_on(_sessions(told)) for told in longmemeval()]
    for size in ("100K", "500K"):
        with suppress(ConfigError):
            yield f"beam-{size}, mixed", mixed_in_halves(beam(size), seed)
    with suppress(ConfigError):
        pairs = locomo()
        sessions = [(told.name, session) for told in pairs for session in _sessions(told)]
        yield "locomo, mixed", [run_on(in_turns(sessions, random.Random(seed)))]
        yield "locomo, one relationship", [run_on(_sessions(told)) for told in pairs]


def run_on(parts: Sequence[Sequence[Turn]]) -> Chat:
    """Parts as one chat."""
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return Chat(tuple(turn for part in parts for turn in part), tuple(ends[:-1]))


def mixed_in_halves(told: Sequence[Conversation], seed: int) -> list[Chat]:
    """Two chats, each of half of these: a few exchanges of one, then of another."""
    drawn = random.Random(seed)
    half = len(told) // 2
    chats = []
    for some in (told[:half], told[half:]):
        parts: list[tuple[str, Sequence[Turn]]] = []
        for each in some:
            turns = each.turns[:TURNS_A_CHAT]
            start = 0
            while start < len(turns):
                size = 2 * drawn.randint(*EXCHANGES)
                parts.append((each.name, turns[start : start + size]))
                start += size
        chats.append(run_on(in_turns(parts, drawn)))
    return chats


def in_turns(parts: Sequence[tuple[str, Sequence[Turn]]], drawn: random.Random) -> list[Sequence[Turn]]:
    """Parts of several names in a drawn order: of each name in its own, and never two of one name running; what is left
    when one name alone is left is left out."""
    left: dict[str, list[Sequence[Turn]]] = {}
    for name, part in parts:
        left.setdefault(name, []).append(part)
    found: list[Sequence[Turn]] = []
    last = ""
    while names := [name for name, waiting in left.items() if waiting and name != last]:
        last = drawn.choices(names, [len(left[name]) for name in names])[0]
        found.append(left[last].pop(0))
    return found


def vectors(turns: Sequence[Turn], encoder: Encoder) -> Floats:
    """`[N, D]`: what the index would have of each turn's first passage, if these were one session."""
    said = [Memory("mem", "bench", turn.item(), _AT, _AT) for turn in turns]
    texts = [embedded_texts(memory, before)[0] for before, memory in zip([None, *said], said, strict=False)]
    by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    found = np.zeros((len(texts), encoder.dimensions), dtype=np.float32)
    for start in range(0, len(texts), BATCH):
        places = by_length[start : start + BATCH]
        found[places] = encoder.encode([texts[place] for place in places])
    return found


def _sessions(told: Conversation) -> list[tuple[Turn, ...]]:
    return [tuple(turns) for _, turns in groupby(told.turns, key=lambda turn: turn.session)]


def _measured(chat: Chat, of_turns: Floats, seed: int) -> dict[str, dict[str, float]]:
    """Each way on one chat."""
    blind = [Piece(None, None, vector) for vector in of_turns]
    timed = [replace(piece, at=turn.at) for piece, turn in zip(blind, chat.turns, strict=True)]
    ours = _places(blind)
    near = np.einsum("nd,nd->n", of_turns[1:], of_turns[:-1])
    length = max(1, round(len(chat.turns) / (len(chat.places) + 1)))
    drawn = random.Random(seed)
    anywhere = [sorted(drawn.sample(range(1, len(chat.turns)), len(ours))) for _ in range(DRAWS)]
    ways = {
        "ours": ours,
        "ours, with times": _places(timed),
        "time gaps": _places([replace(piece, vector=None) for piece in timed]),
        "neighbours": [place for place, cosine in enumerate(near.tolist(), 1) if cosine < SETTINGS.cohesion_min],
        "fixed windows": list(range(length, len(chat.turns), length)),
    }
    scores = {name: scored(places, chat.places) for name, places in ways.items()}
    return {**scores, "chance": _means([scored(places, chat.places) for places in anywhere])}


def _places(pieces: Sequence[Piece]) -> list[int]:
    return [cut.place for cut in cuts(pieces, SETTINGS)]


def scored(found: Sequence[int], true: Sequence[int]) -> dict[str, float]:
    """Precision, recall and F1 within the tolerance, and F1 at the very turn."""
    hits, exact = matched(found, true, TOLERANCE), matched(found, true, 0)
    return {
        "precision": hits / len(found) if found else 0.0,
        "recall": hits / len(true) if true else 0.0,
        "f1": 2 * hits / ((len(found) + len(true)) or 1),
        "exact f1": 2 * exact / ((len(found) + len(true)) or 1),
    }


def matched(found: Sequence[int], true: Sequence[int], tolerance: int) -> int:
    """How many of the places found have a true one of their own within the tolerance; both ascending."""
    hits, at = 0, 0
    for place in found:
        while at < len(true) and true[at] < place - tolerance:
            at += 1
        if at < len(true) and true[at] <= place + tolerance:
            hits, at = hits + 1, at + 1
    return hits


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(sum(row[name] for row in rows) / len(rows), 3) for name in rows[0]}
