"""A data folder with many memories, made once: what benchmarks of large stores start from.

The memories are real: turns of the data sets, the long ones cut at sentence ends into parts that could be turns of
their own, in their sessions and with their speakers and times; above
`DISTINCT_MAX` they stand again, in other sessions.
What is encoded is kept between runs in a cache folder outside the checkout (`~/.cache/recalld-bench`), because encoding
takes longer than all the rest: vectors as they are, and of token vectors the one bit a dimension that an index keeps.
Everything is written through the service, as a server would.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from bench.datasets import Turn, real_turns
from bench.runner import say
from memory.model import Item
from recalld.bootstrap import Service
from recalld.core.access import DEFAULT_NAMESPACE, Principal
from recalld.core.scope import Scope
from retrieval.ports import Codes, Encoder, Floats, TokenVectors
from retrieval.token_codes import pack, thresholds

USER = "me"
PART_CHARS_MAX = 240
DISTINCT_MAX = 20_000
BATCH_ITEMS = 500
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+|\n|$)")
_CHUNK_TEXTS = 2048


def parts(count: int) -> tuple[list[Turn], int]:
    """Turns of at most about `PART_CHARS_MAX` characters, and how many of them repeat an earlier text."""
    turns, repeated = real_turns(1 << 20)
    found: list[Turn] = []
    seen: dict[str, None] = {}
    for turn in turns[: len(turns) - repeated]:
        for number, text in enumerate(_cut(turn.text)):
            if text not in seen:
                seen[text] = None
                found.append(replace(turn, id=f"{turn.id}.{number}", text=text))
        if len(found) >= min(count, DISTINCT_MAX):
            found = found[: min(count, DISTINCT_MAX)]
            break
    again = [
        replace(found[place % len(found)], session=f"{place // len(found)}:{found[place % len(found)].session}")
        for place in range(len(found), count)
    ]
    return [*found[:count], *again], len(again)


def _cut(text: str) -> list[str]:
    """Sentences put together while they are short; a longer sentence stays whole up to four times as much."""
    found = [""]
    for sentence in (match[0].strip() for match in _SENTENCE.finditer(text)):
        if not any(character.isalnum() for character in sentence):
            continue
        if len(found[-1]) + len(sentence) > PART_CHARS_MAX:
            found.append("")
        found[-1] = f"{found[-1]} {sentence}".strip()[: 4 * PART_CHARS_MAX]
    return [part for part in found if part]


def item(turn: Turn) -> Item:
    """What is written of a turn: one user's memory, in the session of its conversation."""
    scope = Scope(USER, session_id=turn.session)
    return Item(turn.text, speaker=turn.speaker, role=turn.role, occurred_at=turn.at, scope=scope)


def fill(service: Service, turns: Sequence[Turn]) -> None:
    """Write these turns, and bring the indexes up to date."""
    who = Principal(DEFAULT_NAMESPACE)
    for start in range(0, len(turns), BATCH_ITEMS):
        with service.write_store() as store:
            service.memories.add(store, who, [item(turn) for turn in turns[start : start + BATCH_ITEMS]])
    say(f"{len(turns)} memories written")
    # Larger batches than the outbox takes, which then finds nothing left to encode.
    service.indexer.rebuild(who.namespace)
    service.indexer.apply_all()


def cache_folder() -> Path:
    """Where encoded texts are kept."""
    return Path.home() / ".cache" / "recalld-bench"


class KeptEncoder:
    """An encoder that remembers, on disk, what its texts were encoded to.

    Token vectors come back as vectors with the same codes, which is all that an index takes of them.
    """

    def __init__(self, encoder: Encoder, folder: Path) -> None:
        self._encoder = encoder
        self._folder = folder / encoder.fingerprint
        self._folder.mkdir(parents=True, exist_ok=True)
        self._cuts = thresholds(encoder)
        self._kept: dict[bytes, tuple[Floats, str, Codes]] = {}
        self._fresh: list[bytes] = []
        for file in sorted(self._folder.glob("*.npz")):
            self._read(file)

    @property
    def name(self) -> str:
        return self._encoder.name

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    @property
    def dimensions(self) -> int:
        return self._encoder.dimensions

    def encode(self, texts: Sequence[str]) -> Floats:
        return self.encode_both(texts)[0]

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self.encode_both(texts)[1]

    def encode_both(self, texts: Sequence[str]) -> tuple[Floats, list[TokenVectors]]:
        """Pooled vectors and token vectors, of which the latter are right in their signs only."""
        keys = [blake2b(text.encode(), digest_size=16).digest() for text in texts]
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._kept}
        if unknown:
            pooled, tokens = self._encoder.encode_both(list(unknown.values()))
            for key, vector, found in zip(unknown, pooled, tokens, strict=True):
                self._kept[key] = (vector, json.dumps(found.tokens), pack(found.vectors, self._cuts))
            self._fresh += unknown
            if len(self._fresh) >= _CHUNK_TEXTS:
                self.flush()
        found_ = [self._kept[key] for key in keys]
        vectors = np.array([vector for vector, *_ in found_], dtype=np.float32).reshape(len(keys), self.dimensions)
        return vectors, [TokenVectors(tuple(json.loads(names)), self._signs(bits)) for _, names, bits in found_]

    def count_tokens(self, text: str) -> int:
        return self._encoder.count_tokens(text)

    def flush(self) -> None:
        """Write what is not on disk yet."""
        if not self._fresh:
            return
        found = [self._kept[key] for key in self._fresh]
        np.savez(
            self._folder / f"{len(list(self._folder.glob('*.npz'))):06}.npz",
            keys=np.frombuffer(b"".join(self._fresh), dtype=np.uint8).reshape(-1, 16),
            vectors=np.array([vector for vector, *_ in found]),
            tokens=np.array([names for _, names, _ in found]),
            counts=np.array([len(bits) for *_, bits in found]),
            bits=np.concatenate([bits for *_, bits in found]),
        )
        self._fresh = []

    def _read(self, file: Path) -> None:
        with np.load(file) as held:
            bits = np.split(held["bits"], np.cumsum(held["counts"])[:-1])
            keys = [key.tobytes() for key in held["keys"]]
            self._kept |= dict(zip(keys, zip(held["vectors"], held["tokens"].tolist(), bits, strict=True), strict=True))

    def _signs(self, bits: Codes) -> Floats:
        """Token vectors whose codes these are."""
        above = np.unpackbits(bits, axis=1, count=self.dimensions).astype(np.float32)
        signs: Floats = self._cuts + (2 * above - 1)
        return signs
