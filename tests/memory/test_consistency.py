"""SQL is the only truth: whatever is deleted, damaged or changed beside it is found, and built again from it."""

import shutil
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import text

from memory.consistency import Verified
from memory.indexing import Difference
from memory.model import Item, Memory
from memory.recall import Question
from memory.store import fulltext
from recalld.bootstrap import Parts, Service
from recalld.core.access import Principal, ensure_namespace
from recalld.core.errors import IndexDamaged
from recalld.core.scope import EVERYTHING, Scope
from retrieval.encode_hash import HashEncoder
from retrieval.passages import key
from retrieval.ports import Floats, VectorChange
from retrieval.vector_log import LogSettings
from retrieval.vector_segment import Segment
from tests.conftest import WHO, SerialIds, SetClock, long_text

OTHER = Principal("other")
TEXTS = [
    "The dog sleeps in the kitchen.",
    "Rent is due in May.",
    "Did you go to Porto?",
    "Yes, last summer.",
    "東京タワー",
]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def service(service: Service) -> Service:
    with service.database.write() as connection:
        ensure_namespace(connection, "other", service.clock)
    add(service, *(Item(told, scope=Scope("ann", session_id="s"), speaker="Ann") for told in TEXTS))
    kept = add(service, Item("forgotten dog"))[0]
    add(service, Item("elsewhere"), who=OTHER)
    with service.write_store() as store:
        service.memories.set_state(store, WHO, kept.id, "forgotten")
    service.indexer.apply_all()
    return service


def add(service: Service, *items: Item, who: Principal = WHO) -> list[Memory]:
    with service.write_store() as store:
        return service.memories.add(store, who, items)


def run_sql(service: Service, statement: str, **values: Any) -> None:
    with service.database.write() as connection:
        connection.execute(text(statement), values)


def answers(service: Service) -> list[list[tuple[str, float, float]]]:
    """Two recalls in each namespace, by value."""
    found = []
    for who in (WHO, OTHER):
        for query in ("where does the dog sleep", "東京"):
            with service.read_store() as store:
                recall = service.recaller.recall(store, who, Question(query))
            found.append([(hit.memory.id, hit.score, hit.relevance) for hit in recall.results])
    return found


def verified(service: Service, *differences: Difference, rows: int = 7) -> None:
    told: list[int] = []
    assert service.consistency.verify(told.append) == Verified(differences, (), 2, rows)
    assert sum(told) == rows


def assert_reindexed(service: Service, before: list[list[tuple[str, float, float]]]) -> None:
    assert service.consistency.reindex() == 6
    verified(service)
    assert answers(service) == before


def test_a_sound_folder_has_no_differences(service: Service) -> None:
    verified(service)
    assert service.consistency.verify().clean is True
    assert service.consistency.rows() == 7


def test_verify_brings_the_outbox_to_its_end_first(service: Service) -> None:
    add(service, Item("new"))
    verified(service, rows=8)
    with service.read_store() as store:
        assert store.waiting() == 0


def test_every_index_file_can_be_deleted_and_built_again(
    service: Service, make_service: Callable[..., Service]
) -> None:
    before = answers(service)
    service.close()
    shutil.rmtree(service.settings.index_dir)
    fresh = make_service()
    run_sql(fresh, "DELETE FROM memory_fts")
    verified(
        fresh,
        Difference("default", "fulltext", (1, 2, 3, 4, 5, 6), (), ()),
        Difference("default", "vectors", (1, 2, 3, 4, 5), (), ()),
        Difference("other", "fulltext", (7,), (), ()),
        Difference("other", "vectors", (7,), (), ()),
    )
    assert_reindexed(fresh, before)


def test_missing_stale_and_orphaned_full_text_is_found_and_repaired(service: Service) -> None:
    before = answers(service)
    run_sql(service, "DELETE FROM memory_fts WHERE rowid >> 10 IN (1, 7)")
    with service.database.write() as connection:
        fulltext.write(connection, "default", [(2, Scope("ann", session_id="s"), [["another"]])])
        fulltext.write(connection, "default", [(3, EVERYTHING, [["question"]]), (99, EVERYTHING, [["orphan"]] * 2)])
    verified(
        service,
        Difference("default", "fulltext", (1,), (2, 3), ()),
        Difference("other", "fulltext", (7,), (), ()),
        Difference("*", "fulltext", (), (), (99,)),
    )
    assert_reindexed(service, before)


@pytest.mark.parametrize(
    ("statement", "missing", "stale"),
    [
        ("DELETE FROM memory_fts WHERE rowid = (:row << 10) + 1", True, False),
        ("UPDATE memory_fts SET body = 'other' WHERE rowid = (:row << 10) + 2", False, True),
        ("INSERT INTO memory_fts (rowid, tags, body) VALUES ((:row << 10) + 3, 'x', 'x')", False, True),
        ("UPDATE memories SET passages = '[1,2,3]' WHERE row = :row", False, True),
        ("UPDATE memories SET passages = NULL WHERE row = :row", False, True),
    ],
)
def test_a_wrong_passage_of_full_text_is_found_and_repaired(
    service: Service, statement: str, missing: bool, stale: bool
) -> None:
    [kept] = add(service, Item(long_text("A dog sleeps.", "In 東京.", "A whale.")))
    service.indexer.apply_all()
    before = answers(service)
    run_sql(service, statement, row=kept.row)
    rows = [(kept.row,) if found else () for found in (missing, stale)]
    verified(service, Difference("default", "fulltext", rows[0], rows[1], ()), rows=8)
    assert service.consistency.reindex() == 7
    verified(service, rows=8)
    assert answers(service) == before


def test_a_wrong_length_is_found_and_repaired(service: Service) -> None:
    """The analysed terms of a row are counted beside it; BM25 reads them."""
    before = answers(service)
    run_sql(service, "UPDATE memories SET terms = 99 WHERE row = 1")
    assert answers(service) != before
    verified(service, Difference("default", "fulltext", (), (1,), ()))
    assert_reindexed(service, before)


def test_more_orphans_than_a_batch_are_removed(service: Service) -> None:
    before = answers(service)
    with service.database.write() as connection:
        fulltext.write(connection, "default", [(row, EVERYTHING, [["orphan"]]) for row in range(100, 1200)])
    verified(service, Difference("*", "fulltext", (), (), tuple(range(100, 110))))
    assert_reindexed(service, before)


def test_missing_stale_and_surplus_vectors_are_found_and_repaired(service: Service) -> None:
    before = answers(service)
    vector = HashEncoder().encode(["x"])[0]
    states = service.vectors.states("default")
    service.vectors.apply(
        "default", [VectorChange(key(1), 1, states[key(1)].digest, None), VectorChange(key(2), 1, b"12345678", vector)]
    )
    service.vectors.apply(
        "default", [VectorChange(key(6), 1, b"12345678", vector), VectorChange(key(99), 1, b"12345678", vector)]
    )
    verified(service, Difference("default", "vectors", (1,), (2,), (6, 99)))
    assert_reindexed(service, before)


def test_the_index_of_a_namespace_that_is_no_more_is_found_and_dropped(service: Service) -> None:
    before = answers(service)
    service.vectors.apply("gone", [VectorChange(key(5), 1, b"12345678", HashEncoder().encode(["x"])[0])])
    verified(service, Difference("gone", "vectors", (), (), (5,)))
    assert_reindexed(service, before)
    assert service.vectors.namespaces() == ["default", "other"]


def flip(data: bytes) -> bytes:
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "flipped vector": ("*.log", flip),
    "torn log": ("*.log", lambda data: data[:-100]),
    "empty log": ("*.log", lambda data: b""),
    "torn codes": ("*.codes", lambda data: data[:-5]),
    "the format before": ("manifest.json", lambda data: data.replace(b'"format": 3', b'"format": 2')),
    "flipped manifest": ("manifest.json", lambda data: data.replace(b'"rows": 5', b'"rows": 4')),
    "no manifest": ("manifest.json", lambda data: b"nothing"),
}


@pytest.mark.parametrize(("pattern", "damage"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_vector_file_is_found_never_served_and_rebuilt(
    service: Service, make_service: Callable[..., Service], pattern: str, damage: Callable[[bytes], bytes]
) -> None:
    before = answers(service)
    service.close()
    for file in service.settings.index_dir.glob(f"*/{pattern}"):
        if b'"other"' not in next(file.parent.glob("manifest.json")).read_bytes():
            file.write_bytes(damage(file.read_bytes()))
    fresh = make_service()
    with pytest.raises(IndexDamaged, match="recalld reindex"):
        answers(fresh)
    found = fresh.consistency.verify()
    assert [(one.namespace, one.index.partition(":")[0]) for one in found.differences] == [("default", "vectors")]
    assert "recalld reindex" in found.differences[0].index
    assert_reindexed(fresh, before)


def test_changed_token_codes_are_found_and_rebuilt(service: Service) -> None:
    """They are not read when an index is opened: `verify` reads them all."""
    before = answers(service)
    codes = max(service.settings.index_dir.glob("*/*.codes"), key=lambda file: file.stat().st_size)
    codes.write_bytes(flip(codes.read_bytes()))
    [found] = service.consistency.verify().differences
    assert (found.namespace, f"{codes.name}: the codes at byte" in found.index) == ("default", True)
    assert_reindexed(service, before)


def test_a_changed_vector_of_a_segment_is_found_and_rebuilt(service: Service) -> None:
    """It is checked when it is first read: `verify` reads them all."""
    before = answers(service)
    for log in service.vectors._logs.values():
        log._settings = LogSettings(head_rows_max=1)
    vector = HashEncoder().encode(["x"])[0]
    service.vectors.apply("default", [VectorChange(key(99), 1, b"12345678", vector)])
    service.vectors.apply("default", [VectorChange(key(99), 1, b"12345678", None)])
    assert answers(service) == before
    assert service.consistency.verify().differences == ()
    [path] = service.settings.index_dir.glob("*/*.seg")
    layout, raw = Segment(path, len(vector)).layout, bytearray(path.read_bytes())
    raw[layout.vectors + 7] ^= 1
    path.write_bytes(raw)
    service.vectors._logs.clear()
    [found] = service.consistency.verify().differences
    assert (found.namespace, f"{path.name}: the vector of row" in found.index) == ("default", True)
    assert_reindexed(service, before)


def test_an_index_of_another_encoder_does_not_serve_and_is_rebuilt(
    service: Service, make_service: Callable[..., Service]
) -> None:
    class Other(HashEncoder):
        fingerprint = "another"

    before = answers(service)
    service.close()
    fresh = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=Other()))
    found = fresh.consistency.verify()
    assert [one.index.partition(": ")[0] for one in found.differences] == ["vectors", "vectors"]
    assert all("another encoder" in one.index for one in found.differences)
    assert_reindexed(fresh, before)


def test_what_waits_in_the_outbox_of_a_damaged_index_is_applied_after_the_rebuild(
    service: Service, make_service: Callable[..., Service]
) -> None:
    service.close()
    log = max(service.settings.index_dir.glob("*/*.log"), key=lambda file: file.stat().st_size)
    log.write_bytes(flip(log.read_bytes()))
    fresh = make_service()
    add(fresh, Item("a new dog"))
    assert fresh.consistency.verify().clean is False
    assert fresh.consistency.reindex() == 7
    verified(fresh, rows=8)
    with fresh.read_store() as store:
        assert store.waiting() == 0


class Dying(HashEncoder):
    """Encodes so many texts, then the process ends."""

    def __init__(self, texts_max: int) -> None:
        self.left = texts_max
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> Floats:
        self.left -= len(texts)
        if self.left < 0:
            raise Killed
        self.encoded += texts
        return super().encode(texts)


def test_a_reindex_that_was_killed_in_the_middle_goes_on(
    service: Service, make_service: Callable[..., Service]
) -> None:
    """The old index serves meanwhile, and what was encoded before the end is not encoded again."""
    add(service, *(Item(f"a dog {n}") for n in range(290)))
    service.indexer.apply_all()
    before = answers(service)
    service.close()
    first, second = Dying(200), Dying(10_000)
    dying = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=first))
    with pytest.raises(Killed):
        dying.consistency.reindex()
    dying.close()
    assert 0 < len(first.encoded) <= 200
    fresh = make_service(Parts(clock=SetClock(), ids=SerialIds(), encoder=second))
    assert answers(fresh) == before
    second.encoded.clear()
    assert fresh.consistency.reindex() == 296
    assert set(second.encoded).isdisjoint(first.encoded)
    verified(fresh, rows=297)
    assert answers(fresh) == before


def test_what_sqlite_finds_wrong_with_its_file_is_told(service: Service) -> None:
    service.close()
    raw = bytearray(service.settings.sqlite_file.read_bytes())
    raw[36:40] = (99).to_bytes(4, "big")
    service.settings.sqlite_file.write_bytes(bytes(raw))
    found = service.consistency.verify()
    assert (found.differences, found.clean) == ((), False)
    assert "99" in found.database[0]
