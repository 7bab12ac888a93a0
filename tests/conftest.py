"""What many tests share: a clock that is set, ids in a known order, a migrated database, both stores, a whole service.

Nothing here needs a model, a network or a real second. Import the plain functions and classes (`from tests.conftest
import ...`); take the rest as fixtures.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

from memory.erase import Target
from memory.model import Item, Memory, Receipt
from memory.ports import Store
from memory.store.inmemory import InMemoryStore
from memory.store.sql import SqlStore
from recalld.bootstrap import Parts, Service
from recalld.core.access import DEFAULT_NAMESPACE, Principal
from recalld.core.config import Settings, load_settings
from recalld.core.db import Database
from recalld.core.ids import Prefix
from retrieval.encode_hash import DIMENSIONS, HashEncoder
from retrieval.ports import Floats, TokenVectors

hypothesis.settings.register_profile("recalld", deadline=None, derandomize=True)
hypothesis.settings.load_profile("recalld")

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
WHO = Principal(DEFAULT_NAMESPACE)

Transaction = Callable[[], AbstractContextManager[Store]]


class SetClock:
    """Tells `moment`, and moves on by `step` each time it is asked."""

    def __init__(self, moment: datetime = NOW, step: timedelta = timedelta(0)) -> None:
        self.moment = moment
        self.step = step

    def now(self) -> datetime:
        told = self.moment
        self.moment += self.step
        return told

    def advance(self, **duration: float) -> datetime:
        """Move on; returns the new moment."""
        self.moment += timedelta(**duration)
        return self.moment


class SerialIds:
    """Ids that count up: the first is `mem_00000000000000000000000001`."""

    def __init__(self) -> None:
        self._last = 0

    def new(self, prefix: Prefix) -> str:
        self._last += 1
        return f"{prefix}_{self._last:026d}"


def make_memory(number: int, text: str = "", namespace: str = DEFAULT_NAMESPACE, **fields: Any) -> Memory:
    """The memory `mem_...<number>`, recorded `number` seconds after `NOW`; `fields` are its own and its item's."""
    own = {name: fields.pop(name) for name in tuple(fields) if name in Memory.__dataclass_fields__}
    at = NOW + timedelta(seconds=number)
    given = {"created_at": at, "recorded_at": at} | own
    return Memory(f"mem_{number:026d}", namespace, Item(text or f"memory {number}", **fields), **given)


def long_text(*sentences: str, title: str = "") -> str:
    """A text of one passage a sentence, which begins the passage; between them nothing that a test would ask for."""
    filler = "So it went on and on for quite some time. "
    passages = [f"{title}\n{sentence} " if title and not n else f"{sentence} " for n, sentence in enumerate(sentences)]
    return "\n\n".join((said + filler * ((990 - len(said)) // len(filler))).rstrip() for said in passages)


class TurnedEncoder(HashEncoder):
    """The reference encoder turned around, so that the signs of a token's vector tell something; same cosines."""

    TURN, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((DIMENSIONS, DIMENSIONS)).astype(np.float32))

    @property
    def name(self) -> str:
        return "turned-256"

    def encode(self, texts: Sequence[str]) -> Floats:
        return super().encode(texts) @ self.TURN

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return [TokenVectors(found.tokens, found.vectors @ self.TURN) for found in super().encode_tokens(texts)]


def hide(service: Service, who: Principal, *memory_ids: str) -> Receipt:
    """Begin an erasure: nothing shows these memories any more, and the outbox says so. Nothing is removed yet."""
    with service.database.write() as connection:
        return service.erasures.begin(connection, who, Target("ids", memory_ids))


def erase(service: Service, *memory_ids: str, who: Principal = WHO) -> Receipt:
    """Erase memories, and finish it."""
    return service.erasures.finish(hide(service, who, *memory_ids).id)


@dataclass(frozen=True)
class Stores:
    """A kind of store, and how to open a transaction on it that is kept when its block ends."""

    name: str
    write: Transaction


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the machine that it runs on."""
    for name in (*(f"RECALLD_{field.upper()}" for field in Settings.model_fields), "RECALLD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def ids() -> SerialIds:
    return SerialIds()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models", encoder="hash", llm="none")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database at the newest revision, to copy."""
    file = tmp_path_factory.mktemp("migrated") / "recalld.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.close()
    return file


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    file = tmp_path / "own.db"
    shutil.copy(migrated, file)
    database = Database(f"sqlite:///{file}")
    yield database
    database.close()


@pytest.fixture(params=["inmemory", "sqlite"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Each kind of store in turn."""
    if request.param == "inmemory":
        return Stores("inmemory", InMemoryStore().transaction)
    return Stores("sqlite", sql_transactions(request.getfixturevalue("database")))


def sql_transactions(database: Database) -> Transaction:
    """Opens the SQL store on `database`."""

    @contextmanager
    def write() -> Iterator[Store]:
        with database.write() as connection:
            yield SqlStore(connection)

    return write


@pytest.fixture
def make_service(
    settings: Settings, migrated: Path, clock: SetClock, ids: SerialIds
) -> Iterator[Callable[..., Service]]:
    """Makes services on one data folder, with other settings or parts where they are given; closes them at the end."""
    settings.data_dir.mkdir(parents=True)
    shutil.copy(migrated, settings.sqlite_file)
    made: list[Service] = []

    def make(parts: Parts | None = None, **other: Any) -> Service:
        own = settings.model_copy(update=other)
        made.append(Service(own, parts or Parts(clock=clock, ids=ids)))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A whole service with the reference encoder; its worker is not running."""
    return make_service()
