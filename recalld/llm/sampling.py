"""From logits to the next token: a pure function of the logits, the settings and one uniform number.

The order is that of transformers: temperature, then top-k, then top-p, then a draw by inverse cumulative distribution
over the tokens from likeliest to least likely (equal ones by id). Randomness is passed in as a number in [0, 1), so a
seed gives the same reply on every machine that computes the same logits.

Source: Holtzman et al., The Curious Case of Neural Text Degeneration (arXiv:1904.09751), section 3.1 (top-p).
"""

import torch
from torch import Tensor

from recalld.llm.ports import GenerationSettings

# Below this a draw is as good as the greedy choice, and a division could leave the range of numbers.
_TEMPERATURE_MIN = 1e-6


def choose(logits: Tensor, settings: GenerationSettings, uniform: float) -> int:
    """The next token's id.

    Args:
        logits: `[V]` float32.
        uniform: in [0, 1); what a greedy choice ignores.
    """
    if settings.temperature == 0:
        return int(logits.argmax())
    probabilities, ids = distribution(logits, settings)
    cumulative = probabilities.cumsum(0)
    drawn = torch.searchsorted(
        cumulative, torch.tensor(uniform * float(cumulative[-1]), dtype=torch.float64), right=True
    )
    return int(ids[min(int(drawn), len(ids) - 1)])


def distribution(logits: Tensor, settings: GenerationSettings) -> tuple[Tensor, Tensor]:
    """The tokens that may be drawn, likeliest first, for a temperature above 0.

    Args:
        logits: `[V]` float32.

    Returns:
        probabilities `[K]` float64 that add up to 1, and ids `[K]` int64. K is at least 1.
    """
    temperature = max(settings.temperature, _TEMPERATURE_MIN)
    scaled, ids = (logits.double() / temperature).sort(descending=True, stable=True)
    if settings.top_k:
        scaled, ids = scaled[: settings.top_k], ids[: settings.top_k]
    probabilities = scaled.softmax(0)
    if settings.top_p < 1:
        # A token stays while the ones before it add up to less than top_p, so the likeliest always stays.
        kept = int((probabilities.cumsum(0) - probabilities < settings.top_p).sum())
        probabilities, ids = probabilities[:kept], ids[:kept]
        probabilities = probabilities / probabilities.sum()
    return probabilities, ids
