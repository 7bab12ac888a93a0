"""Background work gives way to requests: whoever answers one counts it here, and a step waits while there are any.

Threads of one interpreter share its lock, so a step's computation is paid for by the requests beside it. A wait is
bounded: under a load without gaps the background work goes on, slowly.
"""

import threading


class Gate:
    """Counts the requests in flight."""

    def __init__(self, wait_s_max: float = 0.5) -> None:
        self._wait_s_max = wait_s_max
        self._open = threading.Condition()
        self._inside = 0

    def enter(self) -> None:
        """A request begins."""
        with self._open:
            self._inside += 1

    def leave(self) -> None:
        """It has been answered."""
        with self._open:
            self._inside -= 1
            if not self._inside:
                self._open.notify_all()

    def give_way(self) -> None:
        """Wait until no request is in flight, but not for ever."""
        with self._open:
            self._open.wait_for(lambda: not self._inside, self._wait_s_max)
