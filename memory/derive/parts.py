"""Parts of texts that derived memories show word for word, with who said them."""

import re
from dataclasses import dataclass

from memory.model import Memory

SENTENCE = re.compile(r"[^\n]+?(?:[.!?。！？]+(?=\s|$)|(?=\n)|$)", re.MULTILINE)
"""A sentence, with the blanks before it."""


@dataclass(frozen=True, slots=True)
class Part:
    """Characters [start, end) of a memory's text."""

    memory: Memory
    start: int
    end: int

    @property
    def text(self) -> str:
        """Those characters."""
        return self.memory.item.text[self.start : self.end]

    @property
    def line(self) -> str:
        """As what is derived of it shows it."""
        who = self.memory.item.speaker or self.memory.item.role
        return f"{who}: {self.text}" if who else self.text
