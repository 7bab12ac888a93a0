"""Many items: how they are cut, that they are taken lazily, and what a failure in the middle says."""

import json

import httpx2
import pytest

from recalld_client import InvalidRequest, InvalidValue, Unavailable, UnexpectedReply
from recalld_client.batches import batches


def cut(items, items_max=1000, body_bytes_max=10**6):
    return list(batches(items, {}, items_max=items_max, body_bytes_max=body_bytes_max))


def test_no_batch_passes_the_count_and_nothing_is_lost_or_moved():
    texts = [f"note {n}" for n in range(11)]
    found = cut(texts, items_max=4)
    assert [batch.items for batch in found] == [4, 4, 3]
    assert [item["text"] for batch in found for item in json.loads(batch.body)["items"]] == texts


def test_no_batch_passes_the_bytes_and_one_that_just_fits_is_whole():
    items = ["x" * 10, "y" * 10, "z" * 10]
    (whole,) = cut(items)
    # The trailing comma's byte is counted too, so a body may stay one byte under the limit.
    assert [batch.items for batch in cut(items, body_bytes_max=len(whole.body) + 1)] == [3]
    smaller = cut(items, body_bytes_max=len(whole.body) - 1)
    assert [batch.items for batch in smaller] == [2, 1]
    assert max(len(batch.body) for batch in smaller) <= len(whole.body) - 1


def test_bytes_are_counted_and_not_characters():
    # "é" is two bytes, so three such items of 100 characters do not fit where three of ASCII would.
    (ascii_body,) = cut(["e" * 100] * 3)
    assert [batch.items for batch in cut(["é" * 100] * 3, body_bytes_max=len(ascii_body.body) + 1)] == [1, 1, 1]


def test_an_item_larger_than_the_limit_goes_alone():
    assert [batch.items for batch in cut(["a", "b" * 500, "c"], body_bytes_max=100)] == [1, 1, 1]


def test_no_items_make_no_request(client, fake):
    assert client.add_many([]) == []
    assert fake.requests == []


def test_add_many_gives_the_memories_in_order_and_reports_progress(client, fake):
    told = []
    memories = client.add_many((f"note {n}" for n in range(450)), progress=told.append)
    assert [memory.text for memory in memories] == [f"note {n}" for n in range(450)]
    assert told == [200, 400, 450]
    assert len({each.headers["idempotency-key"] for each in fake.requests}) == 3


def test_items_are_taken_only_as_they_are_needed(client):
    taken = []

    def items():
        for n in range(50):
            taken.append(n)
            yield f"note {n}"

    seen = []
    client.add_many(items(), items_max=10, progress=lambda stored: seen.append((stored, len(taken))))
    # The first item of the next batch is what shows that this one is full.
    assert seen == [(10, 11), (20, 21), (30, 31), (40, 41), (50, 50)]


def test_a_failure_says_how_many_were_stored_before_it(client, fake):
    fake.script.extend([None, None, *[httpx2.ConnectError("refused")] * 4])
    with pytest.raises(Unavailable) as caught:
        client.add_many([f"note {n}" for n in range(50)], items_max=10)
    assert caught.value.acknowledged == 20 == len(fake.versions)
    assert caught.value.__notes__ == ["add_many: the 20 items before this batch were stored"]


def test_an_item_that_the_server_refuses_is_named(client, fake):
    with pytest.raises(InvalidRequest) as caught:
        client.add_many(["a", "b", {"text": ""}], items_max=2)
    assert [(each.field, each.limit) for each in caught.value.errors] == [("items.0.text", 65536)]
    assert caught.value.acknowledged == 2 == len(fake.versions)


def test_an_item_that_cannot_be_sent_is_named_by_its_place_among_all(client, fake):
    with pytest.raises(ValueError, match=r"^items\.3\.text: has a lone surrogate at character 1") as caught:
        client.add_many(["a", "b", "c", "d\udc80"], items_max=2)
    assert caught.value.acknowledged == 2 == len(fake.versions)


def test_an_import_under_its_own_key_can_be_run_again_as_a_whole(client, fake):
    texts = [f"note {n}" for n in range(25)]
    fake.script.extend([None, *[httpx2.ConnectError("refused")] * 4])
    with pytest.raises(Unavailable):
        client.add_many(texts, items_max=10, idempotency_key="import-1")
    memories = client.add_many(texts, items_max=10, idempotency_key="import-1")
    assert [memory.text for memory in memories] == texts
    assert [memory["text"] for memory in fake.memories] == texts


@pytest.mark.parametrize("items", ["one text", {"text": "one item"}, b"bytes"])
def test_one_item_is_not_taken_for_many(client, items):
    with pytest.raises(InvalidValue, match=r"^items: must be an iterable of items, not one item: use add$"):
        client.add_many(items)


@pytest.mark.parametrize("items_max", [0, 1001, 2.5])
def test_a_batch_size_out_of_range_is_refused(client, items_max):
    with pytest.raises(InvalidValue, match=r"^items_max: must be a whole number from 1 to 1000$"):
        client.add_many(["a"], items_max=items_max)


def test_an_item_that_is_no_item_is_named(client):
    with pytest.raises(InvalidValue, match=r"^items\.1: must be a text, or a mapping"):
        client.add_many(["a", 7])
    with pytest.raises(InvalidValue, match=r"^items\.0\.scope: must be a mapping of scope fields$"):
        client.add_many([{"text": "a", "scope": "alice"}])


def test_a_server_that_loses_an_item_is_not_believed(client, fake):
    fake.script.append(httpx2.Response(201, json={"items": []}))
    with pytest.raises(UnexpectedReply, match=r"^1 items were sent and 0 came back$"):
        client.add_many(["a"])
