"""Server-sent events, from bytes to the `data` of each event (WHATWG HTML, section 9.2, "Server-sent events").

Ours and not `Response.iter_lines`, because that splits lines as `str.splitlines` does: at U+2028 and U+0085 too, which
may stand unescaped inside a JSON text. An event stream's lines end at LF, CR LF or CR only.
"""


class EventDecoder:
    """Feed it bytes as they come, cut anywhere; it gives the data of the events that are complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[str]:
        """The data of every event that `piece` completes, in order.

        Raises:
            UnicodeDecodeError: an event is not UTF-8.
        """
        self._rest += piece
        # A CR at the end may be half of a CR LF.
        whole = self._rest.removesuffix(b"\r")
        held = self._rest[len(whole) :]
        *lines, rest = whole.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = rest + held
        events = []
        for line in lines:
            if not line and self._data:
                events.append(b"\n".join(self._data).decode())
                self._data = []
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
        return events
