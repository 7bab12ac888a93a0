"""Event streams, cut at every byte."""

import pytest

from recalld_client.sse import EventDecoder

STREAM = (
    ": a comment\n\n"
    "data: one\n\n"
    "event: named\r\nid: 7\r\ndata:two\r\n\r\n"
    "data: six\r\ndata: seven\r\n\r\n"
    "data: three\rdata:  four\r\r"
    'data: {"text": "a\u2028b\u0085c: é"}\n\n'
    "data\n\n"
    "retry: 5\n\n"
    "data: not finished\n"
).encode()
EVENTS = ["one", "two", "six\nseven", "three\n four", '{"text": "a\u2028b\u0085c: é"}', ""]


def test_events_are_the_data_between_empty_lines():
    assert EventDecoder().feed(STREAM) == EVENTS


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_where_the_bytes_are_cut_changes_nothing(size):
    decoder = EventDecoder()
    pieces = [STREAM[at : at + size] for at in range(0, len(STREAM), size)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == EVENTS
