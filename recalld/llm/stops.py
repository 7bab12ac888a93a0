"""Stop strings in a stream: text goes in piece by piece and comes out as soon as it cannot be part of a stop string.

Of several stop strings the one that is complete first ends the text, and of those complete at the same character the
one that starts first. That makes the result a function of the whole text alone: how it was cut into pieces changes
nothing. Invariant: what came out and what is held back, joined, is what went in, up to the stop string.
"""

from collections.abc import Sequence


class StopStrings:
    """Passes text on until a stop string is complete.

    Attributes:
        found: whether a stop string is complete; nothing comes out after it.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """Take the next piece; returns what is now certain to come before any stop string."""
        if self.found:
            return ""
        text = self._held + text
        hits = [(start + len(stop), start) for stop in self._stops if (start := text.find(stop)) >= 0]
        if hits:
            self.found = True
            self._held = ""
            return text[: min(hits)[1]]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text has ended: what was held back belongs to it."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """The length of the longest proper beginning of `stop` that `text` ends with."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
