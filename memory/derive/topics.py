"""Topic summaries: of a session that speaks of several things, one summary of each, extracted as a session's is.

Where one thing ends is told by `memory.segments`, from the vectors that the index has. A session of one segment has its
session summary and no other; a segment of fewer turns than a session needs is its own summary. Grouping only: what is
in no summary is recalled like anything else. A session that is summed up before it is indexed is cut by times alone,
until it changes.

Source: one summary a topic, after LightMem (Fang et al., 2025, section 3.2), by extraction.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from memory.consolidate import Proposal
from memory.derive.summaries import SummarySettings, cited, extract
from memory.model import Deriver, Memory
from memory.segments import SegmentSettings, Vectors, cuts, pieces


class TopicSummaries:
    """The deriver `topics`; see the module's docstring."""

    def __init__(self, count_tokens: Callable[[str], int], vectors: Vectors, settings: SummarySettings) -> None:
        self._count_tokens = count_tokens
        self._vectors = vectors
        self._settings = replace(settings, tokens_max=settings.tokens_max // 2)
        self._segments = SegmentSettings(turns_min=settings.memories_min)

    @property
    def made_by(self) -> Deriver:
        """Its name and version."""
        return Deriver("topics", "1")

    def derive(self, memories: Sequence[Memory], changed: frozenset[str]) -> list[Proposal]:
        """A summary for each segment that is long enough, where a session has several."""
        least = self._settings.memories_min
        if len(memories) <= least or memories[0].item.scope.session_id is None:
            return []
        found = cuts(pieces(memories, self._vectors), self._segments)
        places = [0, *(cut.place for cut in found), len(memories)]
        parts = [memories[start:stop] for start, stop in pairwise(places) if found and stop - start >= least]
        items = [extract(part, self._count_tokens, self._settings) for part in parts]
        told = [replace(item, metadata={**item.metadata, "of": "topic"}) for item in items if item is not None]
        return [Proposal(f"topic:{cited(item)[0]}", item, cited(item)) for item in told]
