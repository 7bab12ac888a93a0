"""Files that are sent and fetched: exports. A part of the file that an error left is removed, so that half an export is
never taken for a whole one.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

import httpx2

from recalld_client.calls import Call
from recalld_client.transport import AsyncTransport, Transport, failure


def fetch(transport: Transport, call: Call[None], path: Path) -> None:
    """Write a streamed reply to a new file."""
    with closing(transport.open(call)) as response, _new(path) as file:
        try:
            for data in response.iter_bytes():
                file.write(data)
        except httpx2.RequestError as error:
            raise failure(error, transport.settings) from error


async def fetch_async(transport: AsyncTransport, call: Call[None], path: Path) -> None:
    """The same, awaited."""
    response = await transport.open(call)
    try:
        with _new(path) as file:
            async for data in response.aiter_bytes():
                file.write(data)
    except httpx2.RequestError as error:
        raise failure(error, transport.settings) from error
    finally:
        await response.aclose()


@contextmanager
def _new(path: Path) -> Iterator[IO[bytes]]:
    beside = path.with_name(f"{path.name}.partial")
    whole = False
    try:
        with beside.open("wb") as file:
            yield file
        beside.rename(path)
        whole = True
    finally:
        if not whole:
            beside.unlink(missing_ok=True)
