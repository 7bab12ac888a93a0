import pytest

pytest.importorskip("torch", reason="the llm extra (torch) is not installed")

import torch

from recalld.llm.ports import GenerationSettings
from recalld.llm.sampling import choose, distribution

# Probabilities .5, .3, .15, .05 in a mixed order.
PROBABILITIES = torch.tensor([0.15, 0.5, 0.05, 0.3])
LOGITS = PROBABILITIES.log() + 3.0


def settings(**changes: float) -> GenerationSettings:
    return GenerationSettings(**({"temperature": 1.0} | changes))


def test_greedy_takes_the_likeliest_and_of_equal_ones_the_first() -> None:
    assert choose(LOGITS, GenerationSettings(), 0.99) == 1
    assert choose(torch.tensor([1.0, 2.0, 2.0]), GenerationSettings(), 0.0) == 1


@pytest.mark.parametrize(
    ("changes", "ids", "probabilities"),
    [
        ({}, [1, 3, 0, 2], [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 2}, [1, 3], [0.625, 0.375]),
        ({"top_k": 9}, [1, 3, 0, 2], [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.45}, [1], [1.0]),
        ({"top_p": 0.79}, [1, 3], [0.625, 0.375]),
        ({"top_p": 0.81}, [1, 3, 0], [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95]),
        ({"top_p": 1e-9}, [1], [1.0]),
        # After top-k the two left have .625 and .375, and top-p is of those.
        ({"top_k": 2, "top_p": 0.6}, [1], [1.0]),
        ({"temperature": 0.5}, [1, 3, 0, 2], [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        ({"temperature": 5e-324}, [1, 3, 0, 2], [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_the_distribution_by_hand(changes: dict[str, float], ids: list[int], probabilities: list[float]) -> None:
    found, order = distribution(LOGITS, settings(**changes))
    assert order.tolist() == ids
    assert found.tolist() == pytest.approx(probabilities, abs=1e-6)


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 1), (0.49, 1), (0.51, 3), (0.79, 3), (0.81, 0), (0.949, 0), (0.951, 2), (1 - 1e-16, 2)]
)
def test_a_draw_inverts_the_cumulative_distribution(uniform: float, token: int) -> None:
    assert choose(LOGITS, settings(), uniform) == token


def test_a_token_of_probability_zero_is_never_drawn() -> None:
    logits = torch.tensor([float("-inf"), 0.0, float("-inf"), 0.0])
    assert {choose(logits, settings(), step / 100) for step in range(100)} == {1, 3}


def test_draws_have_the_stated_shares() -> None:
    drawn = [choose(LOGITS, settings(top_k=3), (step + 0.5) / 1000) for step in range(1000)]
    assert [drawn.count(token) for token in range(4)] == [158, 526, 0, 316]
