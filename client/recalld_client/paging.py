"""Lists, fetched page by page as they are iterated over, for threads; `async_paging` mirrors it line by line."""

from collections.abc import Iterator
from typing import Any, overload

from recalld_client.calls import Listing
from recalld_client.frame_models import Standing, WorkspacePage
from recalld_client.models import Change, ChangePage, Memory, Page
from recalld_client.transport import Transport


class Paging:
    """What reads lists."""

    _transport: Transport

    @overload
    def _pages(self, listing: Listing[Page]) -> Iterator[Memory]: ...
    @overload
    def _pages(self, listing: Listing[ChangePage]) -> Iterator[Change]: ...
    @overload
    def _pages(self, listing: Listing[WorkspacePage]) -> Iterator[Standing]: ...
    def _pages(self, listing: Listing[Any]) -> Iterator[Any]:
        left: Listing[Any] | None = listing
        while left is not None:
            page = self._transport.send(left.call())
            yield from page.items
            left = left.after(page)
