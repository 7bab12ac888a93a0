"""Votes over the wire."""

from typing import Annotated

from pydantic import Field, StrictBool

from api.schemas import Input, Output, WithoutNul
from memory.model import Votes

Id = Annotated[str, Field(min_length=1, max_length=64), WithoutNul]


class FeedbackIn(Input):
    """Whether a memory that a recall gave was of use."""

    recall_id: Id = Field(description="of a recall, a context or a chat")
    memory_id: Id = Field(description="one of the memories that it gave")
    useful: StrictBool | None = Field(description="a later vote takes the place of this one; null withdraws it")


class VotesOut(Output):
    """How many votes say what of a memory, over all recalls."""

    useful: int
    useless: int


class FeedbackOut(Output):
    """The vote as it stands now."""

    recall_id: str
    memory_id: str
    useful: bool | None
    votes: VotesOut

    @classmethod
    def of(cls, given: FeedbackIn, votes: Votes) -> "FeedbackOut":
        """From the layers below."""
        return cls(**given.model_dump(), votes=VotesOut(useful=votes.useful, useless=votes.useless))
