"""Background work gives way to requests: whoever answers one counts it here, and a step waits for a pause between them.

Threads of one interpreter share its lock, so a step's computation is paid for by the requests beside it. A pause is
more than no request in flight: a client that writes one by one is back within milliseconds. The wait is bounded, so
that under a load without pauses the background work goes on, in a part of the time: a part of a step takes some 10 ms,
so with a quarter of a second between two it is met by one request in fifteen or so. With half a second a steady writer
added more than was consolidated meanwhile.
"""

import threading
from time import monotonic


class Gate:
    """Counts the requests in flight.

    Args:
        pause_s: how long none must have been in flight.
        wait_s_max: the longest wait for that.
    """

    def __init__(self, pause_s: float = 0.05, wait_s_max: float = 0.25) -> None:
        self._pause_s = pause_s
        self._wait_s_max = wait_s_max
        self._changed = threading.Condition()
        self._inside = 0
        self._left_at = float("-inf")

    def enter(self) -> None:
        """A request begins."""
        with self._changed:
            self._inside += 1

    def leave(self) -> None:
        """It has been answered."""
        with self._changed:
            self._inside -= 1
            self._left_at = monotonic()
            self._changed.notify_all()

    def give_way(self) -> None:
        """Wait for a pause between requests, but not for ever."""
        give_up = monotonic() + self._wait_s_max
        with self._changed:
            while (now := monotonic()) < give_up:
                quiet_at = self._left_at + self._pause_s
                if not self._inside and now >= quiet_at:
                    return
                self._changed.wait(give_up - now if self._inside else min(quiet_at, give_up) - now)
