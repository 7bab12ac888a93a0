"""The ledger of erasures as a file: which ids were erased, as keyed hashes, and the secret that they are keyed with.

It holds no id and no text. Whoever has a memory's id can ask it whether that one was erased; ids are random, so nobody
can guess them. The secret is the instance's own and lies in its database, so a backup has it; the file repeats it, so
that a newer ledger can be asked about an older backup, and one of another instance too.

    {"recalld": "ledger", "schema": 1, "secret": "..."}
    {"hash": "...", "erasure": "era_..."}
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from memory.store import erasures_sql
from recalld.core.db import Connection, Database
from recalld.core.errors import InvalidInput

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class EraseLedger:
    """A ledger: a secret, and for each hash of an erased id its erasure."""

    secret: bytes
    entries: dict[str, str]

    def erased(self, ids: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Those of (namespace, id) that were erased."""
        return (each for each in ids if erasures_sql.hash_of(self.secret, each[1]) in self.entries)


def of_database(database: Database) -> EraseLedger:
    """The ledger that a database holds."""
    with database.write() as connection:
        return of_connection(connection)


def of_connection(connection: Connection) -> EraseLedger:
    """The same, within a write transaction."""
    return EraseLedger(erasures_sql.secret(connection), dict(erasures_sql.all_hashes(connection)))


def write(ledger: EraseLedger, path: Path) -> None:
    """Into a new file that its owner alone may read."""
    with path.open("x", encoding="utf-8") as file:
        path.chmod(0o600)
        file.write(json.dumps({"recalld": "ledger", "schema": SCHEMA, "secret": ledger.secret.hex()}) + "\n")
        file.writelines(json.dumps({"hash": entry, "erasure": name}) + "\n" for entry, name in ledger.entries.items())


def read(path: Path) -> EraseLedger:
    """From a file.

    Raises:
        InvalidInput: it is no ledger.
    """
    try:
        first, *rest = path.read_text(encoding="utf-8").splitlines()
        header = json.loads(first)
        if (header["recalld"], header["schema"]) != ("ledger", SCHEMA):
            raise ValueError
        lines = [json.loads(line) for line in rest]
        return EraseLedger(bytes.fromhex(header["secret"]), {line["hash"]: line["erasure"] for line in lines})
    except (ValueError, KeyError, TypeError):
        raise InvalidInput.of("ledger", f"{path} is no ledger of erasures") from None
