"""From the outbox to the vectors: any batch, any failure and any race end in what SQL says."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.indexing import APPLY_ROWS, BATCH_ROWS, Difference
from memory.ingest import content_digest, embedded_texts
from memory.model import Item, Memory
from recalld.bootstrap import Parts, Service
from recalld.core.access import Principal
from recalld.core.errors import IndexDamaged
from recalld.core.scope import Scope
from retrieval.encode_hash import HashEncoder
from retrieval.passages import key, passage_of, possible_keys, row_of
from retrieval.ports import Floats, VectorChange
from retrieval.token_codes import content, pack, thresholds
from tests.conftest import NOW, WHO, SerialIds, SetClock, hide, long_text

ANN = Scope("ann", session_id="s")


class Watched(HashEncoder):
    """Tells what it encodes, and lets something happen meanwhile."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.meanwhile: Callable[[], Any] = lambda: None

    def encode(self, texts: Sequence[str]) -> Floats:
        self.encoded += texts
        act, self.meanwhile = self.meanwhile, lambda: None
        if texts:
            act()
        return super().encode(texts)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def encoder() -> Watched:
    return Watched()


@pytest.fixture
def service(make_service: Callable[..., Service], encoder: Watched) -> Service:
    return make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=encoder))


def turn(text: str, minute: int = 0) -> Item:
    return Item(text, scope=ANN, occurred_at=NOW + timedelta(minutes=minute))


def add(service: Service, *items: Item, who: Principal = WHO) -> list[Memory]:
    with service.write_store() as store:
        return service.memories.add(store, who, items)


def change(service: Service, call: str, *given: Any) -> Any:
    if call == "erase":
        return hide(service, WHO, *given)
    with service.write_store() as store:
        return getattr(service.memories, call)(store, WHO, *given)


def waiting(service: Service) -> int:
    with service.read_store() as store:
        return store.waiting()


def digests(service: Service, namespace: str = "default") -> dict[int, bytes]:
    return {row: state.digest for row, state in service.vectors.states(namespace).items()}


def rows(service: Service, namespace: str = "default") -> list[int]:
    """The memories in the index."""
    return list(dict.fromkeys(map(row_of, digests(service, namespace))))


def wanted(service: Service, namespace: str = "default") -> dict[int, bytes]:
    """What SQL says that the index should hold."""
    with service.read_store() as store:
        rows = store.active_rows(namespace, 0, 10_000)
        loaded, before = store.load(namespace, rows), store.previous_turns(namespace, rows)
        return {
            key(row, number): content_digest(text)
            for row in rows
            for number, text in enumerate(embedded_texts(loaded[row], before.get(row)))
        }


def assert_indexed(service: Service) -> None:
    while service.indexer.apply_all():
        pass
    assert waiting(service) == 0
    for namespace in ("default", "other"):
        assert digests(service, namespace) == wanted(service, namespace)
        assert service.indexer.differences(namespace) is None


def test_applying_brings_vectors_of_every_namespace_up_to_date(service: Service) -> None:
    kept = add(service, Item("dog"), Item("cat"), Item("cow"))
    add(service, Item("dog"), who=Principal("other"))
    assert service.indexer.apply(2) == 3
    assert (rows(service), rows(service, "other"), waiting(service)) == ([1, 2], [4], 1)
    assert service.indexer.apply_all() == 1
    change(service, "update", kept[0].id, {"text": "dogs"}, None)
    change(service, "set_state", kept[1].id, "forgotten")
    change(service, "erase", kept[2].id)
    assert_indexed(service)
    assert rows(service) == [1]
    assert service.vectors.states("default")[key(1)].version == 2
    assert service.indexer.apply_all() == 0


def test_applying_all_ends_while_others_write(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    apply = service.indexer.apply
    late = iter(range(100))

    def overtaken() -> int:
        add(service, Item(f"later {next(late)}"))
        return apply(1)

    add(service, Item("dog"), Item("cat"))
    monkeypatch.setattr(service.indexer, "apply", overtaken)
    assert service.indexer.apply_all() == 2
    assert waiting(service) == 2


def test_a_damaged_namespace_does_not_keep_the_others_waiting(service: Service) -> None:
    add(service, Item("dog"), who=Principal("other"))
    service.indexer.apply_all()
    manifest = next(service.settings.index_dir.glob("*/manifest.json"))
    manifest.write_bytes(b"torn")
    add(service, Item("cat"), who=Principal("other"))
    kept = add(service, Item("dog"), Item("cow"))
    assert service.indexer.apply() == 2
    assert rows(service) == [memory.row for memory in kept]
    with pytest.raises(IndexDamaged):
        service.indexer.apply()
    assert waiting(service) == 1


def test_an_erasure_is_applied_before_what_waits_and_with_it_the_turn_after(service: Service, encoder: Watched) -> None:
    asked, answered = add(service, turn("Where was it?", 0), turn("In Rome.", 1))
    service.indexer.apply_all()
    add(service, *(Item(f"waits {number}") for number in range(3)))
    encoder.encoded.clear()
    with service.write_store() as store:
        before = store.newest_entry()
    hide(service, WHO, asked.id)
    service.indexer.apply_since("default", before)
    assert encoder.encoded == ["In Rome."]
    assert rows(service) == [answered.row]
    assert waiting(service) == 3


def test_a_row_whose_encoded_text_did_not_change_is_left_alone(service: Service, encoder: Watched) -> None:
    kept = add(service, Item("dog"))[0]
    service.indexer.apply_all()
    encoder.encoded.clear()
    change(service, "update", kept.id, {"metadata": {"a": 1}}, None)
    service.indexer.apply_all()
    assert (encoder.encoded, waiting(service)) == ([], 0)


def test_equal_texts_and_pending_ones_are_encoded_once(service: Service, encoder: Watched) -> None:
    add(service, Item("dog"), Item("dog"), Item("cat"))
    with service.read_store() as store:
        fresh = service.indexer.fresh_vectors(store, "default", [1, 2, 3, 99])
    assert list(fresh.vectors) == list(fresh.codes) == [key(1), key(2), key(3)]
    assert fresh.vectors[key(1)].tolist() == fresh.vectors[key(2)].tolist() == HashEncoder().encode(["dog"])[0].tolist()
    service.indexer.apply_all()
    assert sorted(encoder.encoded) == ["cat", "dog"]
    kept = service.vectors.codes("default", np.array(list(fresh.codes)))
    assert kept.bits.tobytes() == b"".join(codes.tobytes() for codes in fresh.codes.values())


def test_vectors_of_memories_are_those_of_the_index_and_nothing_is_encoded(service: Service, encoder: Watched) -> None:
    dog, long = add(service, Item("dog"), Item("A cat sat on the mat. " * 120))
    service.indexer.apply_all()
    [late] = add(service, Item("bird"))
    encoder.encoded.clear()
    found = service.indexer.vectors_of("default", [long, late, dog])
    first, last = (service.vectors.vectors("default", np.array([key(one.row)]))[1][0] for one in (long, dog))
    assert [None if each is None else each.tolist() for each in found] == [first.tolist(), None, last.tolist()]
    assert service.indexer.vectors_of("other", [dog]) == [None]
    assert service.indexer.vectors_of("default", []) == []
    assert encoder.encoded == []


def test_token_codes_are_kept_of_what_was_encoded(service: Service) -> None:
    """Those of every row in the index are those of its text, after changes and in a rebuilt index."""
    kept = add(service, turn("Did you go to Porto?", 1), turn("Yes.", 2), Item("dog"), Item("…"))
    service.indexer.apply_all()
    change(service, "update", kept[0].id, {"text": "Was it hot?"}, None)
    change(service, "erase", kept[2].id)
    service.indexer.apply_all()
    encoder = HashEncoder()
    tokens = encoder.encode_tokens(["Was it hot?", "Was it hot? Yes.", "…"])
    wanted = [pack(content(found).vectors, thresholds(encoder)).tobytes() for found in tokens]
    for act in (lambda: None, lambda: service.indexer.rebuild("default")):
        act()
        found = service.vectors.codes("default", possible_keys(np.arange(10)))
        assert found.rows.tolist() == [key(1), key(2), key(4)]
        assert [found.bits[start:end].tobytes() for start, end in pairwise(found.starts)] == wanted
    assert list(map(len, wanted)) == [1 * 32, 2 * 32, 0]


def test_more_rows_than_a_batch_are_applied(service: Service) -> None:
    add(service, *(Item(f"dog {n}") for n in range(2 * APPLY_ROWS + 1)))
    assert service.indexer.apply() == APPLY_ROWS
    assert_indexed(service)


@pytest.mark.parametrize("minute", [1, 3, 5])
def test_a_turn_written_while_its_neighbours_are_encoded_is_not_lost(
    service: Service, encoder: Watched, minute: int
) -> None:
    """The indexer has read what stood before each of them; the new turn stands between them."""
    add(service, turn("Did you go to Porto?", 2), turn("Yes, last summer.", 4))
    encoder.meanwhile = lambda: add(service, turn("Was it hot?", minute))
    assert_indexed(service)


@pytest.mark.parametrize("call", [("update", {"text": "Was it hot?"}, None), ("set_state", "forgotten"), ("erase",)])
def test_a_turn_changed_while_it_is_encoded_is_applied_again(
    service: Service, encoder: Watched, call: tuple[Any, ...]
) -> None:
    asked = add(service, turn("Did you go to Porto?", 2), turn("Yes, last summer.", 4))[0]
    encoder.meanwhile = lambda: change(service, call[0], asked.id, *call[1:])
    assert_indexed(service)


def test_a_failure_while_encoding_loses_nothing(service: Service, encoder: Watched) -> None:
    def fail() -> None:
        raise MemoryError

    add(service, Item("dog"), Item("cat"))
    encoder.meanwhile = fail
    with pytest.raises(MemoryError):
        service.indexer.apply()
    assert (waiting(service), digests(service)) == (2, {})
    assert_indexed(service)


def test_a_kill_between_index_and_outbox_is_applied_twice_with_one_effect(
    service: Service, monkeypatch: pytest.MonkeyPatch, encoder: Watched
) -> None:
    def killed(_store: object, _entries: object) -> None:
        raise Killed

    add(service, Item("dog"))
    with monkeypatch.context() as patched:
        patched.setattr("memory.store.sql.SqlStore.finish", killed)
        with pytest.raises(Killed):
            service.indexer.apply()
    assert (rows(service), waiting(service)) == ([1], 1)
    encoder.encoded.clear()
    assert_indexed(service)
    assert encoder.encoded == []


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "edit", "move", "forget", "restore", "erase", "apply"]), st.integers(0, 99)
    ),
    max_size=15,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(acts=ACTS)
def test_whatever_happened_the_index_ends_as_sql_says(service: Service, acts: list[tuple[str, int]]) -> None:
    for act, number in acts:
        chosen = random.Random(number)
        with service.read_store() as store:
            known = list(store.load("default", range(1, 500)).values())
        memory = chosen.choice(known) if known else None
        if act == "add":
            text = chosen.choice(["Did you go?", "Yes.", "Where to?", "Home.", THREE])
            add(service, turn(text, number) if number % 5 else Item(text))
        elif act == "apply":
            service.indexer.apply(1 + number % 4)
        elif memory is None:
            continue
        elif act == "edit" and memory.state == "active":
            text = long_text(*["Was it?"] * (number % 4)) or f"Was it {number}?"
            change(service, "update", memory.id, {"text": text}, None)
        elif act == "move" and memory.state == "active":
            change(service, "update", memory.id, {"occurred_at": NOW + timedelta(minutes=number)}, None)
        elif act in ("forget", "restore"):
            change(service, "set_state", memory.id, "forgotten" if act == "forget" else "active")
        elif act == "erase":
            change(service, "erase", memory.id)
    assert_indexed(service)


# --- passages


THREE = long_text("The dog ran.", "In Porto it was hot.", "We saw a whale.")


def held(service: Service) -> list[tuple[int, int]]:
    """Row and passage of every key in the index."""
    return [(row_of(each), passage_of(each)) for each in digests(service)]


def test_a_long_memory_has_a_vector_and_codes_for_each_passage(service: Service) -> None:
    add(service, turn("How was it?", 1), turn(THREE, 2), Item("dog"))
    assert_indexed(service)
    assert held(service) == [(1, 0), (2, 0), (2, 1), (2, 2), (3, 0)]
    encoder = HashEncoder()
    for number, text in enumerate(embedded_texts(turn_of(service, 2), turn_of(service, 1))):
        _, kept = service.vectors.vectors("default", np.array([key(2, number)]))
        assert np.array_equal(kept, encoder.encode([text]).astype(np.float16))
        [tokens] = encoder.encode_tokens([text])
        codes = service.vectors.codes("default", np.array([key(2, number)]))
        assert np.array_equal(codes.bits, pack(content(tokens).vectors, thresholds(encoder)))


def turn_of(service: Service, row: int) -> Memory:
    with service.read_store() as store:
        return store.load("default", [row])[row]


@pytest.mark.parametrize(
    ("call", "left"),
    [
        (("update", {"text": "A cat."}, None), [(1, 0), (2, 0)]),
        (("update", {"text": long_text("A cat.", "A whale.")}, None), [(1, 0), (1, 1), (2, 0)]),
        (("set_state", "forgotten"), [(2, 0)]),
        (("erase",), [(2, 0)]),
    ],
    ids=["shorter", "one less", "forgotten", "erased"],
)
def test_a_memory_that_has_fewer_passages_leaves_no_key_behind(
    service: Service, call: tuple[Any, ...], left: list[tuple[int, int]]
) -> None:
    kept = add(service, Item(THREE), Item("dog"))[0]
    service.indexer.apply_all()
    assert held(service) == [(1, 0), (1, 1), (1, 2), (2, 0)]
    receipt = change(service, call[0], kept.id, *call[1:])
    if call[0] == "erase":
        assert receipt.removed["vectors"] == 3
    assert_indexed(service)
    assert held(service) == left


def test_only_the_passages_that_changed_are_encoded_again(service: Service, encoder: Watched) -> None:
    kept = add(service, Item(THREE))[0]
    service.indexer.apply_all()
    encoder.encoded.clear()
    change(service, "update", kept.id, {"text": THREE.replace("it was hot", "it is hot")}, None)
    assert_indexed(service)
    assert [text[:15] for text in encoder.encoded] == ["In Porto it is "]


@pytest.mark.parametrize("step", ["erase", "append", "manifest"])
def test_a_kill_within_the_apply_of_a_long_memory_shows_all_of_it_or_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def killed(*given: Any) -> None:
        raise Killed

    kept = add(service, Item(THREE), Item("dog"))[0]
    service.indexer.apply_all()
    before = digests(service)
    change(service, "update", kept.id, {"text": long_text("A cat.", "A whale.")}, None)
    name = {"erase": "erase_bodies", "append": "append", "manifest": "write_manifest"}[step]
    with monkeypatch.context() as patched:
        patched.setattr(f"retrieval.vector_log.{name}", killed)
        with pytest.raises(Killed):
            service.indexer.apply()
    assert digests(service) == (wanted(service) if step == "erase" else before)
    assert waiting(service) == 1
    assert_indexed(service)
    assert held(service) == [(1, 0), (1, 1), (2, 0)]


def test_a_batch_has_few_passages_or_one_memory(service: Service, encoder: Watched) -> None:
    """An erasure waits for the batch at work, so long memories are not all in one."""
    texts = [long_text(*(f"{name} {n}." for n in range(count))) for name, count in (("a", 20), ("b", 20), ("c", 40))]
    add(service, *map(Item, texts), Item("d"), Item("e"))
    taken = []
    while count := service.indexer.apply():
        taken.append((count, len(encoder.encoded)))
        encoder.encoded.clear()
    assert taken == [(1, 20), (1, 20), (1, 40), (2, 2)]
    assert_indexed(service)


def test_a_rebuild_has_every_passage_and_none_too_many(service: Service) -> None:
    kept = add(service, Item(THREE), Item("dog"))[0]
    service.indexer.apply_all()
    with service.vectors.rebuild("default") as rebuild:
        rebuild.add([VectorChange(each, 1, b"12345678", np.ones(256, np.float32)) for each in (key(1, 2), key(2, 7))])
    change(service, "update", kept.id, {"text": long_text("A cat.", "A whale.")}, None)
    assert service.indexer.rebuild("default") == 2
    assert held(service) == [(1, 0), (1, 1), (2, 0)]
    assert digests(service) == wanted(service)


def test_differences_of_single_passages_name_their_memory(service: Service) -> None:
    add(service, *(Item(long_text(f"dog {n}", "cat", "whale")) for n in range(4)))
    service.indexer.apply_all()
    vector = np.ones(256, dtype=np.float32)
    service.vectors.apply(
        "default",
        [
            VectorChange(key(1, 2), 1, b"12345678", None),
            VectorChange(key(2, 1), 1, b"12345678", vector),
            VectorChange(key(3, 3), 1, b"12345678", vector),
        ],
    )
    assert service.indexer.differences("default") == Difference("default", "vectors", (1,), (2,), (3,))


# --- rebuild


def test_a_rebuild_encodes_everything_again_and_drops_what_is_gone(service: Service, encoder: Watched) -> None:
    add(service, turn("Did you go?", 1), turn("Yes.", 2), Item("dog"))
    service.indexer.apply_all()
    vector = HashEncoder().encode(["x"])[0]
    service.vectors.apply(
        "default", [VectorChange(key(77), 1, b"surplus.", vector), VectorChange(key(1), 1, b"stale...", vector)]
    )
    told: list[int] = []
    encoder.encoded.clear()
    assert service.indexer.rebuild("default", told.append) == 3
    assert sum(told) == 3
    assert digests(service) == wanted(service)


def test_a_rebuild_that_was_killed_goes_on_where_it_was(service: Service, encoder: Watched) -> None:
    add(service, *(Item(f"dog {n}") for n in range(3 * BATCH_ROWS)))
    seen: list[int] = []

    def killed(rows: int) -> None:
        seen.append(rows)
        if len(seen) == 2:
            raise Killed

    with pytest.raises(Killed):
        service.indexer.rebuild("default", killed)
    assert digests(service) == {}
    fresh = Watched()
    service.indexer._encoder, service.indexer._recent = fresh, type(service.indexer._recent)()
    service.indexer.rebuild("default")
    assert len(fresh.encoded) == BATCH_ROWS
    assert digests(service) == wanted(service)


def test_what_is_written_while_a_rebuild_goes_on_is_in_it(service: Service, encoder: Watched) -> None:
    kept = add(service, turn("Did you go?", 1), turn("Yes.", 3), Item("dog"))

    def meanwhile() -> None:
        add(service, turn("Was it hot?", 2))
        change(service, "erase", kept[2].id)
        change(service, "update", kept[0].id, {"text": "Did you stay?"}, None)

    encoder.meanwhile = meanwhile
    service.indexer.rebuild("default")
    assert digests(service) == wanted(service)
    assert_indexed(service)


# --- differences


def test_differences_name_the_rows(service: Service) -> None:
    add(service, Item("dog"), Item("cat"), Item("cow"))
    service.indexer.apply_all()
    states, vector = service.vectors.states("default"), HashEncoder().encode(["x"])[0]
    service.vectors.apply(
        "default",
        [
            VectorChange(key(1), 1, states[key(1)].digest, None),
            VectorChange(key(2), 1, b"12345678", vector),
            VectorChange(key(9), 1, b"12345678", vector),
        ],
    )
    assert service.indexer.differences("default") == Difference("default", "vectors", (1,), (2,), (9,))


def test_what_is_still_in_the_outbox_is_late_not_different(service: Service) -> None:
    kept = add(service, Item("dog"), Item("cat"))
    service.indexer.apply_all()
    add(service, Item("cow"))
    change(service, "update", kept[0].id, {"text": "dogs"}, None)
    change(service, "erase", kept[1].id)
    with service.vectors.writer_lock():
        assert service.indexer.differences("default") is None
