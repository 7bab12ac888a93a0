"""`backup` and `restore`: the whole instance, beside a server and back without one."""

from tests.processes import HASH, Process
from tests.recalld.cli.conftest import CommandLine


def test_a_backup_comes_back_and_what_was_erased_does_not(recalld: CommandLine) -> None:
    for text in ("The quokka sleeps in the pantry.", "The walrus sings."):
        recalld.ok("add", text)
    made = recalld.json("backup", str(recalld.folder / "b"))
    assert made["bytes"] > 0
    assert recalld.json("erase", "--filter", '{"text": {"contains": "quokka"}}', "--yes")["memories"] == 1
    assert "--replace" in recalld.error("restore", str(recalld.folder / "b"))
    done = recalld.json("restore", str(recalld.folder / "b"), "--replace")
    assert (done["memories"], done["erased"]) == (1, 1)
    data = recalld.folder / "data"
    assert [path for path in data.rglob("*") if path.is_file() and b"quokka" in path.read_bytes()] == []
    assert recalld.json("verify")["clean"]


def test_a_backup_inside_the_data_folder_or_of_nothing_is_refused(recalld: CommandLine) -> None:
    assert "no database" in recalld.error("backup", str(recalld.folder / "b"))
    recalld.ok("add", "one")
    assert "outside" in recalld.error("backup", str(recalld.folder / "data" / "b"))


def test_a_server_is_backed_up_while_it_serves_and_not_restored_over(recalld: CommandLine) -> None:
    with Process(recalld.folder, **HASH) as server:
        recalld.ok("add", "one")
        recalld.ok("backup", str(recalld.folder / "b"))
        assert "a server holds" in recalld.error("restore", str(recalld.folder / "b"), "--replace")
        assert server.url
    assert recalld.json("restore", str(recalld.folder / "b"), "--replace")["memories"] == 1
