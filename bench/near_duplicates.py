"""Near-duplicates: what the filters find of real texts with known edits among them, beside datasketch's MinHashLSH.

Texts are pieces of real turns and paragraphs, in a drawn order. A fifth of them repeat an earlier one with an edit of a
known kind; a tenth are *hard negatives*, an earlier text with another number or another name. Truth needs no label: a
text is a near-duplicate when an earlier one has a Jaccard similarity of shingles of .7 or more, and all pairs of that
similarity are found exactly, by prefix filtering (Chaudhuri et al., "A Primitive Operator for Similarity Joins", ICDE
2006; Bayardo et al., WWW 2007). So edits that change too much are no near-duplicates, and repeats that the data has by
itself are.

Ours and the peer get the same shingles, permutations, bands and threshold, a thousand texts in turn: is it there, then
add it. Bytes are those of a file, or of a pickle. `kinds` says which share of each kind truth, ours and ours with the
decision on the texts call near-duplicates.
"""

import pickle
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import corpora
from bench.datasets import BEAM_SIZES, beam, here, locomo, longmemeval
from bench.runner import Options, say
from memory.band_filters import BandFilters, FilterSettings, layer_size
from memory.minhash import Bands, band_keys, jaccard, shingles, signatures
from memory.near_duplicates import SHINGLED_TERMS_MIN, SIMILARITY_MIN, Compared, repeats
from recalld.core.errors import ConfigError
from retrieval.analysis import terms

TEXTS = 100_000
SHARE_EDITED, SHARE_HARD = 0.2, 0.1
PART = 1000
PIECE_WORDS = 12
BANDS = Bands()
ORIGINAL, NUMBER, NAME = "original", "other number", "other name"
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"(?<=\w )[A-Z][a-z]+")
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and how it came to be."""

    text: str
    kind: str


def run(options: Options) -> dict[str, Any]:
    """Ours, sized ahead and growing, and datasketch, over the same texts."""
    rng = random.Random(options.seed)
    texts = made(pieces(), options.limit or TEXTS, rng)
    split = [terms(text.text) for text in texts]
    say(f"{len(texts):,} texts; finding all pairs of a similarity of {SIMILARITY_MIN}")
    started = time.perf_counter()
    earlier = pairs([shingles(one) for one in split], SIMILARITY_MIN)
    exact_s = time.perf_counter() - started
    truth = np.array([bool(found) for found in earlier])
    engines: dict[str, Any] = {"ours": Ours(BandFilters()), "ours, sized ahead": Ours(sized_for(len(texts)))}
    left_out = {}
    try:
        engines["datasketch MinHashLSH"] = Datasketch()
    except ImportError:
        left_out["datasketch MinHashLSH"] = "not installed: pip install 'recalld[peers]'"
    flags: dict[str, list[Flags]] = {name: [] for name in engines}
    for start in range(0, len(texts), PART):
        for name, engine in engines.items():
            flags[name].append(engine.add(split[start : start + PART]))
    found = {name: np.concatenate(parts) for name, parts in flags.items()}
    decided = np.array(decisions(texts, split, earlier)) & found["ours"]
    return {
        "texts": len(texts),
        "terms_mean": round(sum(map(len, split)) / len(split), 1),
        "similarity_min": SIMILARITY_MIN,
        "bands": BANDS.count,
        "rows": BANDS.rows,
        "near_duplicates": int(truth.sum()),
        "exact_s": exact_s,
        "false_positives_stated": FilterSettings().false_positives,
        "engines": {name: judged(found[name], truth, engine) for name, engine in engines.items()},
        "left_out": left_out,
        "kinds": kinds(texts, {"near": truth, "ours": found["ours"], "decided": decided}),
    }


class Ours:
    """`BandFilters` behind MinHash."""

    def __init__(self, filters: BandFilters) -> None:
        self.filters = filters
        self.sign_s = self.filter_s = 0.0

    def add(self, split: Sequence[Sequence[str]]) -> Flags:
        """Which were there, in order; then they are."""
        started = time.perf_counter()
        signed = signatures(split, BANDS.permutations)
        self.sign_s += (now := time.perf_counter()) - started
        seen = self.filters.add(band_keys(signed, BANDS))
        self.filter_s += time.perf_counter() - now
        return seen

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.filters.bytes_memory


class Datasketch:
    """`datasketch.MinHashLSH` with as many permutations, bands and rows; its defaults otherwise.

    Raises:
        ImportError: it is not installed.
    """

    def __init__(self) -> None:
        peer = import_module("datasketch")
        self._sign: Callable[..., list[Any]] = peer.MinHash.bulk
        self._index = peer.MinHashLSH(num_perm=BANDS.permutations, params=(BANDS.count, BANDS.rows))
        self._count = 0
        self.sign_s = self.filter_s = 0.0

    def add(self, split: Sequence[Sequence[str]]) -> Flags:
        """Which were there, in order; then they are."""
        started = time.perf_counter()
        given = [[" ".join(shingle).encode() for shingle in shingles(one)] for one in split]
        signed = self._sign(given, num_perm=BANDS.permutations)
        self.sign_s += (now := time.perf_counter()) - started
        seen = []
        for one in signed:
            seen.append(bool(self._index.query(one)))
            self._index.insert(self._count, one)
            self._count += 1
        self.filter_s += time.perf_counter() - now
        return np.array(seen)

    @property
    def size(self) -> int:
        """Bytes on disk, pickled."""
        return len(pickle.dumps(self._index))


def sized_for(texts: int) -> BandFilters:
    """Filters whose first layer takes all texts at the whole of the stated chance, as the paper has it."""
    stated = FilterSettings().false_positives
    settings = FilterSettings(first_texts=texts, false_positives=2 * stated)
    assert layer_size(settings, 0).texts == texts
    return BandFilters(settings)


def judged(found: Flags, truth: Flags, engine: Any) -> dict[str, Any]:
    """The figures of one engine; times in microseconds a text."""
    right = int((found & truth).sum())
    return {
        "precision": right / max(int(found.sum()), 1),
        "recall": right / max(int(truth.sum()), 1),
        "bytes": engine.size,
        "bytes_text": engine.size / len(truth),
        "sign_us": engine.sign_s / len(truth) * 1e6,
        "ask_and_add_us": engine.filter_s / len(truth) * 1e6,
    }


def kinds(texts: Sequence[Text], flags: dict[str, Flags]) -> dict[str, dict[str, float]]:
    """For each kind of text how many there are, and the share that each calls a near-duplicate."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[text.kind].append(place)
    return {
        kind: {"texts": len(of)} | {name: float(found[of].mean()) for name, found in flags.items()}
        for kind, of in sorted(places.items())
    }


def decisions(texts: Sequence[Text], split: Sequence[Sequence[str]], earlier: Sequence[Sequence[int]]) -> list[bool]:
    """Whether a text says the same as one of the earlier ones that are near it."""
    said = [Compared(text.text, tuple(one), "") for text, one in zip(texts, split, strict=True)]
    return [any(repeats(said[place], said[one]) for one in found) for place, found in enumerate(earlier)]


def pairs(sets: Sequence[frozenset[tuple[str, ...]]], similarity: float) -> list[list[int]]:
    """For each set the earlier ones that are as similar, exactly.

    Of two sets of similarity s the rarest n - ceil(s n) + 1 elements of each have one in common.
    """
    rarity = Counter(chain.from_iterable(sets))
    holding: dict[tuple[str, ...], list[int]] = defaultdict(list)
    found: list[list[int]] = []
    for place, own in enumerate(sets):
        ordered = sorted(own, key=lambda one: (rarity[one], one))
        prefix = ordered[: len(own) - -int(-similarity * len(own) // 1) + 1]
        near = {one for element in prefix for one in holding[element]}
        fits = (one for one in near if similarity * len(own) <= len(sets[one]) <= len(own) / similarity)
        found.append(sorted(one for one in fits if jaccard(own, sets[one]) >= similarity))
        for element in prefix:
            holding[element].append(place)
    return found


def pieces() -> list[str]:
    """Distinct runs of sentences of twelve words or more, of every data set that is here, in a fixed order.

    Raises:
        ConfigError: none is.
    """
    whole = [turn.text for told in here(locomo, longmemeval, *(partial(beam, size) for size in BEAM_SIZES))
             for turn in told.turns]  # fmt: skip
    for load in (corpora.hotpot, corpora.musique):
        with suppress(ConfigError):
            whole += [paragraph.text for paragraph in load().paragraphs]
    if not whole:
        raise ConfigError("near_duplicates: no data set is here; see `bench.files`")
    found = dict.fromkeys(piece for text in whole for piece in _cut(text))
    return [piece for piece in found if len(terms(piece)) >= SHINGLED_TERMS_MIN]


def made(originals: Sequence[str], count: int, rng: random.Random) -> list[Text]:
    """Originals in a drawn order, and among them edits of earlier ones and hard negatives.

    Raises:
        ConfigError: there are too few originals.
    """
    copies = int(count * SHARE_EDITED) + int(count * SHARE_HARD)
    if len(originals) < count - copies:
        raise ConfigError(f"near_duplicates: {len(originals):,} pieces are here, {count - copies:,} are needed")
    kept = rng.sample(list(originals), count - copies)
    names, edits = [*EDITS], iter(_kinds(count))
    changed = [_changed(rng.choice(kept), kind, names, kept, rng) for kind in edits]
    texts = [Text(text, ORIGINAL) for text in kept]
    # An original comes first, its copy somewhere behind it.
    place = {text: number for number, text in enumerate(kept)}
    keyed = [(float(number), text) for number, text in enumerate(texts)]
    for origin, copy in changed:
        keyed.append((rng.uniform(place[origin], len(kept)), copy))
    return [text for _, text in sorted(keyed, key=lambda each: each[0])]


def _kinds(count: int) -> Iterator[str]:
    every = list(EDITS)
    yield from (every[number % len(every)] for number in range(int(count * SHARE_EDITED)))
    yield from ((NUMBER, NAME)[number % 2] for number in range(int(count * SHARE_HARD)))


def _changed(origin: str, kind: str, names: Sequence[str], kept: Sequence[str], rng: random.Random) -> tuple[str, Text]:
    if kind in names:
        return origin, Text(EDITS[kind](origin, rng), kind)
    rule = _NUMBER if kind == NUMBER else _NAME
    while not rule.search(origin):
        origin = rng.choice(kept)
    other = str(rng.randrange(2, 900)) if kind == NUMBER else rng.choice(_NAMES)
    return origin, Text(rule.sub(other, origin, count=1), kind)


def _cut(text: str) -> Iterator[str]:
    piece: list[str] = []
    for sentence in _SENTENCE.split(text):
        piece += sentence.split()
        if len(piece) >= PIECE_WORDS:
            yield " ".join(piece[:200])
            piece = []


def _dropped(text: str, rng: random.Random) -> str:
    words = text.split()
    words.pop(rng.randrange(len(words)))
    return " ".join(words)


def _swapped(text: str, rng: random.Random) -> str:
    words = text.split()
    at = rng.randrange(len(words) - 1)
    words[at : at + 2] = words[at : at + 2][::-1]
    return " ".join(words)


def _mistyped(text: str, rng: random.Random) -> str:
    at = rng.choice([place for place, character in enumerate(text) if character.isalpha()] or [0])
    return text[:at] + rng.choice("etaoinshr") + text[at + 1 :]


def _prefixed(text: str, rng: random.Random) -> str:
    return rng.choice(("As I said: ", "Hey, ", "Just to repeat: ", "So, ")) + text


def _recased(text: str, rng: random.Random) -> str:
    shown = text.lower() if rng.random() < 0.5 else text.upper()
    return shown.replace(",", "").rstrip(".!?") + rng.choice(("", "!", "..."))


def _appended(text: str, rng: random.Random) -> str:
    return f"{text} {rng.choice(('I mean it.', 'What do you think?', 'That is all for now.'))}"


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "again": lambda text, _: text,
    "word dropped": _dropped,
    "words swapped": _swapped,
    "typo": _mistyped,
    "prefix": _prefixed,
    "case and punctuation": _recased,
    "sentence appended": _appended,
}
_NAMES = ("Zelda", "Boris", "Ottawa", "Quentin", "Nairobi", "Ingrid", "Lisbon", "Tobias")
