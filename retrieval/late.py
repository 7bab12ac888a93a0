"""Late interaction: how near each word of a query comes to some word of a row, or of the turns around it.

    m[t, j]   the largest similarity of a token of row t with token j of the query (ColBERT's MaxSim, before its sum)
    win[t, j] the largest of m[t, j], .8 m[t +- 1, j] and .6 m[t +- 2, j] in the same session: what a turn leaves out is
              often in the one before it, so a window needs no vectors of its own
    late[t]   the mean over j of win[t, j], weighted by how rare the word is among the searched rows

The tokens' vectors are the encoder's last hidden states as they are, without training; rows keep one bit a dimension of
those (`retrieval.token_codes`), the query keeps its numbers: an asymmetric comparison. Words that carry no meaning of
their own take no part, in the query as in the rows.

Source: Khattab and Zaharia, "ColBERT" (SIGIR 2020), section 3; Yamada et al., "Efficient Passage Retrieval with Hashing
for Open-domain Question Answering" (ACL 2021), for the binary codes; the figures are in `bench/results/locomo.json`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.ports import Floats, TokenCodes, TokenVectors
from retrieval.token_codes import content_places

REACH = (0.8, 0.6)
_PIECE = "##"
# Words that say in what form an answer is wanted, not what it is about.
_FORM_WORDS = frozenset(
    (
        *("kind", "kinds", "type", "types", "sort", "sorts", "mention", "mentioned", "name", "named", "names"),
        *("called", "thing", "things", "many", "much", "way", "ways"),
    )
)
_FORM_WEIGHT = 0.3
# A chunk of signs stays in a core's cache and below what BLAS starts threads for: 2.6 ms for 11,000 tokens, not 14.
_CHUNK_TOKENS = 128


@dataclass(frozen=True, slots=True)
class QueryTokens:
    """The words of a query that are looked for.

    Attributes:
        vectors: `[J, D]` of unit length.
        weights: `[J]`, sum 1.
    """

    vectors: Floats
    weights: Floats


def query_tokens(found: TokenVectors, rarity: Callable[[str], float]) -> QueryTokens:
    """The content tokens of an encoded query, weighted.

    Args:
        found: the encoded query.
        rarity: weight of a word (its idf among the searched rows), at least 0.
    """
    kept = content_places(found.tokens)
    # Of all tokens: the first piece of a word may look like a stop word ("on" of "oncology").
    words = _words(found.tokens)
    weights = [
        max(rarity(words[place]), 1e-6) * (_FORM_WEIGHT if words[place] in _FORM_WORDS else 1.0) for place in kept
    ]
    total = sum(weights) or 1.0
    return QueryTokens(found.vectors[kept], np.array(weights, dtype=np.float32) / np.float32(total))


def max_similarities(query: Floats, codes: TokenCodes) -> Floats:
    """The best similarity of each query token with the tokens of each row.

    Args:
        query: `[J, D]`.

    Returns:
        `[K, J]` for the rows of `codes`: the cosine of the query token with the signs that the bits stand for; NaN
        where a row has no codes.
    """
    best = np.full((len(codes.rows), len(query)), np.nan, dtype=np.float32)
    held = np.flatnonzero(np.diff(codes.starts))
    if len(held) and len(query):
        products = np.empty((len(codes.bits), len(query)), dtype=np.float32)
        for start in range(0, len(codes.bits), _CHUNK_TOKENS):
            bits = np.unpackbits(codes.bits[start : start + _CHUNK_TOKENS], axis=1, count=query.shape[1])
            products[start : start + _CHUNK_TOKENS] = bits.astype(np.float32) @ query.T
        # With bits b in {0, 1} the signs are 2 b - 1.
        products = (2 * products - query.sum(axis=1)) / np.float32(np.sqrt(query.shape[1]))
        best[held] = np.maximum.reduceat(products, codes.starts[:-1][held], axis=0)
    return best


def windowed(best: Floats, sessions: NDArray[np.int64], places: NDArray[np.int64]) -> Floats:
    """The best similarities with those of neighbours taken in, at a discount.

    Args:
        best: `[K, J]`, NaN where unknown.
        sessions: `[K]`, ascending: equal within a session.
        places: `[K]`: the turn's number within its session, ascending; a gap says that rows between are not here.

    Returns:
        `[K, J]`.
    """
    wide = best.copy()
    for gap in range(1, len(REACH) + 1):
        near = np.flatnonzero(sessions[gap:] == sessions[:-gap])
        distance = places[near + gap] - places[near]
        for step, share in enumerate(REACH, 1):
            first = near[distance == step]
            second = first + gap
            wide[second] = np.fmax(wide[second], np.float32(share) * best[first])
            wide[first] = np.fmax(wide[first], np.float32(share) * best[second])
    return wide


def _words(tokens: Sequence[str]) -> list[str]:
    """The word that each token is a piece of."""
    whole: list[list[int]] = []
    for number, token in enumerate(tokens):
        if token.startswith(_PIECE) and whole:
            whole[-1].append(number)
        else:
            whole.append([number])
    words = [""] * len(tokens)
    for numbers in whole:
        word = "".join(tokens[number].removeprefix(_PIECE) for number in numbers)
        for number in numbers:
            words[number] = word
    return words
