"""Lines of Markdown tables."""

from collections.abc import Sequence


def grid(heads: str) -> list[str]:
    """The lines above a table's rows: an empty one, its heads as `| a | b |`, and the rule under them."""
    return ["", heads, "|" + "---|" * (heads.count("|") - 1)]


def line(name: str, values: Sequence[float]) -> str:
    """A row of shares, with three digits each."""
    return f"| {name} | {' | '.join(f'{value:.3f}' for value in values)} |"
