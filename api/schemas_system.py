"""What an instance says of itself over the wire: whether it is alive, ready, and how much it holds."""

from typing import Literal

from pydantic import Field, JsonValue

from api.schemas import Output


class HealthOut(Output):
    status: Literal["ok"]
    version: str


class ReadyOut(Output):
    """Whether this instance can serve, and what each check says."""

    status: Literal["ready", "not ready"]
    checks: dict[str, str]


class StatsOut(Output):
    """How much this namespace holds, and where."""

    namespace: str
    memories: dict[str, int]
    versions: int
    text_bytes: int
    pending: int = Field(description="rows waiting to be encoded")
    jobs: dict[str, int] = Field(description="by state")
    vectors: dict[str, int]
    bytes: dict[str, int] = Field(description="of the whole instance, by layer")
    kept: dict[str, int] = Field(description="bytes of memory of what is kept between recalls, of the whole process")
    bytes_per_memory: float
    encoder: dict[str, JsonValue]
