"""The two clients and the table of operations have one list of names, arguments and words: they cannot drift."""

import asyncio
import inspect
import typing
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from recalld_client import (
    AsyncChatStream,
    AsyncRecalld,
    AsyncScope,
    Change,
    ChatStream,
    Job,
    Memory,
    Recalld,
    Scope,
    Standing,
    operations,
    transport,
)

PAIRS = [(Recalld, AsyncRecalld), (Scope, AsyncScope), (ChatStream, AsyncChatStream)]
PAIRS += [(transport.Transport, transport.AsyncTransport)]
ASYNC_NAMES = {"__aenter__": "__enter__", "__aexit__": "__exit__", "__aiter__": "__iter__", "__anext__": "__next__"}
SYNC_TYPES = {
    AsyncScope: Scope,
    AsyncChatStream: ChatStream,
    AsyncIterator[Memory]: Iterator[Memory],
    AsyncIterator[Job]: Iterator[Job],
    AsyncIterator[Change]: Iterator[Change],
    AsyncIterator[Standing]: Iterator[Standing],
    httpx2.AsyncBaseTransport | None: httpx2.BaseTransport | None,
    httpx2.AsyncBaseTransport: httpx2.BaseTransport,
    transport.AsyncTransport: transport.Transport,
}
# These stand for two operations each, or for none.
WITHOUT_OPERATION = {"scope", "close"}
NAMED_OTHERWISE = {"list": "listing"}


def members(owner):
    """Public and protocol members by the sync name, whoever in the package defines them."""
    found = {}
    for each in reversed(owner.__mro__[:-1]):
        for name, value in vars(each).items():
            value = value.fget if isinstance(value, property) else value
            if inspect.isfunction(value) and (not name.startswith("_") or name.startswith("__")):
                found[ASYNC_NAMES.get(name, name)] = value
    return found


def shape(function):
    """Parameters with defaults and types, and the result, in terms of the sync client."""
    types = typing.get_type_hints(function)
    types = {name: SYNC_TYPES.get(each, each) for name, each in types.items()}
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters], types


@pytest.mark.parametrize(("sync", "other"), PAIRS, ids=lambda each: each.__name__)
def test_sync_and_async_have_the_same_names_signatures_and_words(sync, other):
    ours, theirs = members(sync), members(other)
    assert list(ours) == list(theirs)
    assert {name: shape(each) for name, each in ours.items()} == {name: shape(each) for name, each in theirs.items()}
    # What speaks of `with` differs by that word.
    words = {name: (each.__doc__ or "").replace("async with", "with") for name, each in theirs.items()}
    assert {name: each.__doc__ or "" for name, each in ours.items()} == words


@pytest.mark.parametrize(("sync", "other"), PAIRS, ids=lambda each: each.__name__)
def test_what_waits_is_awaited(sync, other):
    theirs = members(other)
    waits = {name for name, each in theirs.items() if inspect.iscoroutinefunction(each)}
    at_once = set(theirs) - waits
    assert at_once <= {
        *(
            "scope",
            "list",
            "history",
            "sources",
            "derived",
            "facts",
            "changes",
            "episodes",
            "workspace",
            "chat_stream",
            "job_events",
            "reply",
        ),
        *("__init__", "__repr__", "__iter__"),
    }
    assert not any(inspect.iscoroutinefunction(each) for each in members(sync).values())


def test_each_method_is_an_operation_with_the_same_arguments():
    methods = {name: each for name, each in members(Recalld).items() if not name.startswith("_")}
    table = {
        name: each
        for name, each in vars(operations).items()
        if inspect.isfunction(each) and each.__module__ == operations.__name__
    }
    table = {
        name: each
        for name, each in vars(operations).items()
        if inspect.isfunction(each) and each.__module__ == operations.__name__ and not name.startswith("_")
    }
    assert {NAMED_OTHERWISE.get(name, name) for name in set(methods) - WITHOUT_OPERATION} == set(table)
    for name in set(methods) - WITHOUT_OPERATION:
        taken, types = shape(methods[name])
        wanted, wanted_types = shape(table[NAMED_OTHERWISE.get(name, name)])
        assert [each for each in taken if each[0] not in ("self", "progress")] == [
            each for each in wanted if each[0] != "bound"
        ], name
        shared = set(types) & set(wanted_types) - {"return"}
        assert {each: types[each] for each in shared} == {each: wanted_types[each] for each in shared}, name


def test_a_scope_can_do_all_but_what_has_no_scope():
    assert set(members(Recalld)) - set(members(Scope)) == {
        *("embeddings", "erasure", "import_", "stats", "health", "ready", "close"),
        *("__enter__", "__exit__"),
    }


def test_every_public_method_says_what_it_does():
    undocumented = [name for name, each in members(Recalld).items() if not name.startswith("_") and not each.__doc__]
    assert undocumented == []


def test_with_closes_the_connections(fake):
    with Recalld(transport=httpx2.MockTransport(fake)) as client:
        assert client.stats().memories == {"active": 0}
    with pytest.raises(RuntimeError, match="closed"):
        client.stats()


def test_async_with_closes_the_connections(fake):
    async def use():
        async with AsyncRecalld(transport=httpx2.MockTransport(fake)) as client:
            assert (await client.stats()).memories == {"active": 0}
        with pytest.raises(RuntimeError, match="closed"):
            await client.stats()

    asyncio.run(use())


def test_a_list_is_fetched_page_by_page_as_it_is_read(fake):
    with Recalld(transport=httpx2.MockTransport(fake)) as client:
        client.add_many([f"note {n}" for n in range(150)])
        fake.requests.clear()
        memories = client.list()
        assert fake.requests == []
        assert next(memories).text == "note 149"
        assert len(fake.requests) == 1
        assert sum(1 for _ in memories) == 149
        assert len(fake.requests) == 2
