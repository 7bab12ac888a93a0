"""Lists, fetched page by page as they are iterated over, for asyncio; it mirrors `paging` line by line."""

from collections.abc import AsyncIterator
from typing import Any, overload

from recalld_client.calls import Listing
from recalld_client.frame_models import Standing, WorkspacePage
from recalld_client.models import Change, ChangePage, Memory, Page
from recalld_client.transport import AsyncTransport


class AsyncPaging:
    """What reads lists."""

    _transport: AsyncTransport

    @overload
    def _pages(self, listing: Listing[Page]) -> AsyncIterator[Memory]: ...
    @overload
    def _pages(self, listing: Listing[ChangePage]) -> AsyncIterator[Change]: ...
    @overload
    def _pages(self, listing: Listing[WorkspacePage]) -> AsyncIterator[Standing]: ...
    async def _pages(self, listing: Listing[Any]) -> AsyncIterator[Any]:
        left: Listing[Any] | None = listing
        while left is not None:
            page = await self._transport.send(left.call())
            for each in page.items:
                yield each
            left = left.after(page)
