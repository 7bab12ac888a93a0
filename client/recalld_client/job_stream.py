"""A stream of a job's events, put together; the clients only fetch bytes.

Invariant: a stream that ends before its job has is an error, so that a watcher never takes a cut for an end.
"""

from recalld_client.calls import read_model
from recalld_client.errors import ConnectionFailed, UnexpectedReply
from recalld_client.job_models import Job
from recalld_client.sse import EventDecoder


class JobFeed:
    """The events of one job."""

    def __init__(self) -> None:
        self._events = EventDecoder()
        self._last: Job | None = None

    def feed(self, data: bytes) -> list[Job]:
        """The jobs in the events that `data` completes.

        Raises:
            UnexpectedReply: an event is not recalld's.
        """
        try:
            found = [read_model(Job, event) for event in self._events.feed(data)]
        except UnicodeDecodeError:
            raise UnexpectedReply("the events are not UTF-8") from None
        self._last = found[-1] if found else self._last
        return found

    def end(self) -> None:
        """No more bytes come.

        Raises:
            ConnectionFailed: the job had not ended.
        """
        if self._last is not None and not self._last.ended:
            raise ConnectionFailed("the stream of events was cut off before the job's end")
