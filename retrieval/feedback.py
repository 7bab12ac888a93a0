"""What votes on a memory do to its rank: a bounded nudge, so that no number of them can drown what a query says.

    nudge = (useful - useless) / (useful + useless + PRIOR)

The mean of the votes (+1 useful, -1 useless), with `PRIOR` votes of 0 before the first one: Laplace's rule of
succession on [-1, 1]. One vote is a hint, many that agree come close to 1, as many for as against are worth none.
"""

PRIOR = 2


def nudge(useful: int, useless: int) -> float:
    """From -1 (useless) to 1 (useful), both exclusive; 0 without votes. The pipeline's settings hold its weight."""
    return (useful - useless) / (useful + useless + PRIOR)
