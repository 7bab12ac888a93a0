"""The signals of a search: one number a row each, every one from its own function, combined nowhere here.

Those over all searched rows are cheap; those over the pool need token codes or texts. `retrieval.weights` says what
each of them means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from retrieval.corpus import Corpus, RowText, Speakers, Turns
from retrieval.fuse import best_of_group, zscore
from retrieval.late import REACH, QueryTokens, max_similarities, windowed
from retrieval.ports import Floats, TokenCodes, VectorIndex
from retrieval.times import Expression, date_match, resolve
from retrieval.traits import Trait

Places = NDArray[np.int64]
_TEXTS_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Late:
    """Late interaction over a pool, `[P]` each; NaN where a row has no codes yet.

    Attributes:
        windowed: with neighbours taken in.
        own: of the row alone.
    """

    windowed: Floats
    own: Floats


def speaker_signal(shares: Mapping[str, float], speakers: Sequence[str | None]) -> Floats:
    """How likely each row's speaker is to say what is asked for."""
    if not shares:
        return np.zeros(len(speakers), dtype=np.float32)
    return Speakers.of(speakers).values(shares)


def standing_signal(corpus: Corpus) -> Floats:
    """1 for an instruction for all that follows, .5 for a preference, 0 otherwise; replies give none."""
    told = np.where(corpus.has(Trait.INSTRUCTS), 1.0, np.where(corpus.has(Trait.PREFERS), 0.5, 0.0))
    return np.where(corpus.replies, 0.0, told).astype(np.float32)


def answer_signal(asked: Trait, corpus: Corpus) -> Floats:
    """1 for each row that could hold the sort of answer that is asked for, minus the share of such rows."""
    held = corpus.has(asked) if asked else np.zeros(len(corpus.rows), dtype=np.bool_)
    return held.astype(np.float32) - np.float32(held.mean())


def day_signal(dates: Sequence[Expression], corpus: Corpus) -> Floats:
    """1 for each row that happened within a day of a date that the query names: a coarse look at all rows."""
    near = np.zeros(len(corpus.rows), dtype=np.bool_)
    dated = corpus.has(Trait.DATED)
    for date in dates:
        low, high = _widened(date)
        near |= dated & (corpus.moments >= low) & (corpus.moments < high)
    return near.astype(np.float32)


def date_signal(dates: Sequence[Expression], corpus: Corpus, pool: Places, texts: Sequence[RowText | None]) -> Floats:
    """How well each row of the pool answers the query's dates, in [0, 1]: by when it happened or what it mentions.

    Args:
        texts: `[P]`, without their ends; None for rows that mention no time.
    """
    found = np.zeros(len(pool), dtype=np.float32)
    dated = corpus.has(Trait.DATED, pool)
    moments = corpus.moments[pool].astype("datetime64[s]").tolist()
    for place, text in enumerate(texts):
        if text is not None:
            at = text.occurred_at
            found[place] = date_match(dates, at, _mentioned(text.text, at, at and at.utcoffset()))
        elif dated[place]:
            found[place] = date_match(dates, moments[place], ())
    return found


def late_signal(
    namespace: str, index: VectorIndex, corpus: Corpus, said: Turns, pool: Places, query: QueryTokens
) -> Late:
    """Late interaction of each row of the pool; the codes of its neighbours are read as well."""
    around = said.around(pool, len(REACH))
    best = np.full((len(around), len(query.weights)), np.nan, dtype=np.float32)
    by_key = np.argsort(corpus.rows[around])
    keys = corpus.rows[around][by_key]
    held = index.codes(namespace, keys)
    best[by_key[np.searchsorted(keys, held.rows)]] = max_similarities(query.vectors, held)
    waiting = [key for key in keys.tolist() if key in corpus.codes]
    if waiting:
        rows = np.array(waiting, dtype=np.int64)
        sizes = [len(corpus.codes[key]) for key in waiting]
        bits = np.concatenate([corpus.codes[key] for key in waiting])
        fresh = TokenCodes(rows, np.cumsum([0, *sizes]), bits)
        best[by_key[np.searchsorted(keys, rows)]] = max_similarities(query.vectors, fresh)
    places = said.places[around]
    wide = windowed(best, said.sessions[places], places)
    here = np.searchsorted(places, said.places[pool])
    return Late((wide @ query.weights)[here], (best @ query.weights)[here])


def exchange_signal(corpus: Corpus, said: Turns, pool: Places, own: Floats) -> Floats:
    """The best late interaction among the replies to each row; NaN where none of them is in the pool."""
    exchanges = said.exchanges[pool]
    replies = corpus.replies[pool]
    answered = best_of_group(np.where(replies & ~np.isnan(own), own, -np.inf), exchanges)
    return np.where(replies | np.isinf(answered), np.nan, answered).astype(np.float32)


def previous_signal(corpus: Corpus, said: Turns, pool: Places, own: Floats) -> Floats:
    """The standard score of a row's own late interaction, above 0, where the turn before it asks something."""
    before = said.before(pool)
    asked = (before >= 0) & corpus.has(Trait.ASKS, np.maximum(before, 0))
    return np.where(asked, np.maximum(zscore(own), 0.0), 0.0).astype(np.float32)


@lru_cache(maxsize=_TEXTS_KEPT)
def _mentioned(text: str, anchor: datetime | None, zone: timedelta | None) -> tuple[Expression, ...]:
    """What `resolve` finds: questions about dates meet the same texts again and again. Equal anchors may be of two
    zones, whose days differ: so the zone is told beside."""
    return tuple(resolve(text, anchor))


def _widened(date: Expression) -> tuple[np.datetime64, np.datetime64]:
    low = np.datetime64(date.start.replace(tzinfo=None), "s") if date.role != "until" else np.datetime64("0001-01-01")
    high = np.datetime64(date.end.replace(tzinfo=None), "s") if date.role != "since" else np.datetime64("9999-12-31")
    day = np.timedelta64(1, "D")
    return low - day, high + day
