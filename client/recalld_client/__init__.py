"""The Python SDK of recalld, a memory daemon for AI agents.

    from recalld_client import Recalld

    with Recalld() as client:
        alice = client.scope(user_id="alice")
        alice.add("I moved to Lisbon in March.")
        print(alice.recall("where does she live?")[0].memory.text)

`Recalld` is used from threads, `AsyncRecalld` from asyncio; both have the same methods. What can go wrong is one tree
under `RecalldError` (`recalld_client.errors` draws it).
"""

from recalld_client.async_client import AsyncRecalld
from recalld_client.async_scoped import AsyncScope
from recalld_client.client import Recalld
from recalld_client.errors import (
    ApiError,
    Conflict,
    ConnectionFailed,
    FieldError,
    Forbidden,
    Gone,
    InvalidRequest,
    InvalidValue,
    NotFound,
    PreconditionFailed,
    RateLimited,
    RecalldError,
    ServerError,
    ServiceUnavailable,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnexpectedReply,
)
from recalld_client.frame_models import Known, LastEvent, Procedure, Procedures, Standing, Step
from recalld_client.job_models import Job, JobProgress
from recalld_client.models import (
    Change,
    Chat,
    Citation,
    Context,
    ContextBlock,
    Disagrees,
    Embeddings,
    Feedback,
    Health,
    Hit,
    Imported,
    Memory,
    Passage,
    Readiness,
    Recall,
    Receipt,
    Rescan,
    SessionState,
    StateEntry,
    Stats,
    Usage,
    Votes,
)
from recalld_client.retry import RetrySettings
from recalld_client.scoped import Scope
from recalld_client.settings import Timeouts
from recalld_client.streaming import AsyncChatStream, ChatStream
from recalld_client.version import __version__

__all__ = [
    "ApiError",
    "AsyncChatStream",
    "AsyncRecalld",
    "AsyncScope",
    "Change",
    "Chat",
    "ChatStream",
    "Citation",
    "Conflict",
    "ConnectionFailed",
    "Context",
    "ContextBlock",
    "Disagrees",
    "Embeddings",
    "Feedback",
    "FieldError",
    "Forbidden",
    "Gone",
    "Health",
    "Hit",
    "Imported",
    "InvalidRequest",
    "InvalidValue",
    "Job",
    "JobProgress",
    "Known",
    "LastEvent",
    "Memory",
    "NotFound",
    "Passage",
    "PreconditionFailed",
    "Procedure",
    "Procedures",
    "RateLimited",
    "Readiness",
    "Recall",
    "Recalld",
    "RecalldError",
    "Receipt",
    "Rescan",
    "RetrySettings",
    "Scope",
    "ServerError",
    "ServiceUnavailable",
    "SessionState",
    "Standing",
    "StateEntry",
    "Stats",
    "Step",
    "TimedOut",
    "Timeouts",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnexpectedReply",
    "Usage",
    "Votes",
    "__version__",
]
