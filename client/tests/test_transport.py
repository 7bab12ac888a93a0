"""Over real sockets: refused, cut and slow connections, and many threads on one client."""

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from recalld_client import AsyncRecalld, ConnectionFailed, Recalld, RetrySettings, TimedOut, Timeouts

ONCE = RetrySettings(attempts_max=1)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_whole_conversation_over_http(server, connect):
    client = connect(server, real=True)
    alice = client.scope(user_id="alice")
    memory = alice.add("she lives in Lisbon")
    assert alice.recall("where she lives")[0].memory == memory
    assert alice.chat("who lives in Lisbon?").text == "she lives in Lisbon"
    pieces, reply = alice.chat_stream("who lives in Lisbon?")
    assert ("".join(pieces), reply.citations[0].memory_id) == ("she lives in Lisbon ", memory.id)
    assert client.delete(memory.id).memory_ids == (memory.id,)
    assert alice.list() == []


def test_no_server_says_how_to_start_one(connect):
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(
        ConnectionFailed, match=f"^no recalld server at {url} .*: start one with `recalld serve`"
    ) as caught:
        connect(url, real=True, retry=ONCE).health()
    assert caught.value.refused


def test_a_connection_cut_after_the_write_does_not_write_twice(server, connect, fake):
    fake.script.extend([fake.LOST, fake.LOST])
    client = connect(server, real=True)
    memory = client.add("once")
    assert len(fake.requests) == 3
    assert [each["id"] for each in fake.memories] == [memory.id]
    fake.script.append(fake.LOST)
    assert [each.text for each in client.add_many(["a", "b"])] == ["a", "b"]
    assert [each["text"] for each in fake.memories] == ["once", "a", "b"]


def test_a_connection_cut_every_time_is_an_error(server, connect, fake):
    fake.script.extend([httpx2.ReadError("cut")] * 4)
    with pytest.raises(ConnectionFailed, match="was cut before the answer was complete") as caught:
        connect(server, real=True).add("never")
    assert (len(fake.requests), caught.value.refused) == (4, False)


def test_a_kept_connection_that_the_server_closed_is_replaced(server, connect, fake):
    client = connect(server, real=True)
    client.stats()
    fake.script.append(httpx2.ReadError("cut"))
    assert client.stats().memories == {"active": 0}
    assert len(fake.requests) == 3


def test_a_server_that_does_not_answer_in_time_is_an_error(connect):
    # It accepts, as the kernel does for a listener, and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = connect(
            f"http://127.0.0.1:{silent.getsockname()[1]}", real=True, retry=ONCE, timeouts=Timeouts(reply_s=0.05)
        )
        with pytest.raises(TimedOut, match=r"in time: is it busy\? Timeouts\(\.\.\.\) waits longer") as caught:
            client.recall("anything")
    assert not caught.value.refused


def test_a_server_that_starts_late_is_found(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

    def start():
        time.sleep(0.1)
        with socket.create_server(address) as late:
            accepted, _ = late.accept()
            with accepted:
                accepted.recv(65536)
                accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    thread = threading.Thread(target=start)
    thread.start()
    url = f"http://127.0.0.1:{address[1]}"
    health = connect(url, real=True, retry=RetrySettings(attempts_max=200, backoff_s=0.05, backoff_s_max=0.05)).health()
    thread.join()
    assert health.status == "ok"


def test_threads_share_a_client(server, fake):
    with Recalld(server) as client, ThreadPoolExecutor(8) as pool:
        scopes = [client.scope(user_id=f"u{n}") for n in range(8)]
        memories = list(pool.map(lambda n: scopes[n % 8].add(f"note {n}"), range(80)))
    assert [(memory.text, memory.scope.user_id) for memory in memories] == [
        (f"note {n}", f"u{n % 8}") for n in range(80)
    ]
    assert len(fake.versions) == 80


def test_tasks_share_a_client(server, fake):
    async def add_all():
        async with AsyncRecalld(server) as client:
            return await asyncio.gather(*(client.scope(user_id=f"u{n}").add(f"note {n}") for n in range(40)))

    memories = asyncio.run(add_all())
    assert [(memory.text, memory.scope.user_id) for memory in memories] == [(f"note {n}", f"u{n}") for n in range(40)]
    assert len(fake.versions) == 40
