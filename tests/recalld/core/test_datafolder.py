"""One server holds a data folder; who asks is told which, and asking never gets in its way."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recalld.core import datafolder
from recalld.core.datafolder import DataFolder, Holder
from recalld.core.errors import ConfigError, Unavailable

URL = "http://127.0.0.1:7437"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataFolder]:
    folder = DataFolder(tmp_path / "data")
    yield folder
    folder.release()


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    DataFolder(tmp_path / "a" / "data")
    assert (tmp_path / "a" / "data").stat().st_mode & 0o777 == 0o700


def test_nobody_holds_a_new_folder(folder: DataFolder) -> None:
    assert folder.holder() is None


def test_the_holder_is_told_until_it_lets_go(folder: DataFolder) -> None:
    other = DataFolder(folder.path)
    assert folder.hold(URL) is True
    assert other.holder() == folder.holder() == Holder(URL, os.getpid())
    assert other.hold("http://127.0.0.1:1") is False
    assert other.holder() == Holder(URL, os.getpid()), "a second server changes nothing"
    other.release()
    assert other.holder() == Holder(URL, os.getpid()), "and lets go of nothing"
    folder.release()
    assert other.holder() is None
    assert other.hold("http://127.0.0.1:1") is True
    other.release()
    other.release()
    assert sorted(path.name for path in folder.path.iterdir()) == ["server.lock"]


def test_what_a_killed_server_left_is_not_believed(folder: DataFolder) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom recalld.core.datafolder import DataFolder\n"
        "folder = DataFolder(Path(sys.argv[1]))\nprint(folder.hold('http://127.0.0.1:9'), flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(folder.path)], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "True\n"
        assert folder.holder() == Holder("http://127.0.0.1:9", killed.pid)
        killed.kill()
    assert json.loads((folder.path / "server.json").read_text())["url"] == "http://127.0.0.1:9"
    assert folder.holder() is None
    assert folder.hold(URL) is True
    assert folder.holder() == Holder(URL, os.getpid())


def test_many_who_ask_keep_nobody_from_holding_and_never_see_a_wrong_holder(folder: DataFolder) -> None:
    (folder.path / "server.json").write_text('{"url": "stale", "pid": 1}')
    seen: set[Holder | None] = set()
    ended = threading.Event()

    def ask() -> None:
        own = DataFolder(folder.path)
        while not ended.is_set():
            seen.add(own.holder())

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    held = []
    for _ in range(20):
        held.append(folder.hold(URL))
        time.sleep(0.01)
        folder.release()
    ended.set()
    for asker in askers:
        asker.join()
    assert held == [True] * 20
    assert seen <= {None, Holder(URL, os.getpid())}


def test_of_many_who_want_to_hold_it_one_does(folder: DataFolder) -> None:
    for _ in range(10):
        folders = [DataFolder(folder.path) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            outcomes = list(threads.map(lambda one: one.hold(URL), folders))
        assert sorted(outcomes) == [False, False, False, True]
        for one in folders:
            one.release()


def test_a_lock_of_something_else_is_said(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datafolder, "WAIT_SECONDS_MAX", 0.05)
    with (folder.path / "server.lock").open("w") as strange:
        fcntl.flock(strange, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match=r"keeps .*server\.lock locked, and no server says that it does"):
            folder.holder()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(ConfigError, match=r"data_dir: .* cannot be made: (File exists|Not a directory)"):
            DataFolder(path)


def test_sizes_count_files_below_and_nothing_that_is_not_there(folder: DataFolder) -> None:
    (folder.path / "index" / "a").mkdir(parents=True)
    (folder.path / "index" / "one").write_bytes(b"x" * 10)
    (folder.path / "index" / "a" / "two").write_bytes(b"x" * 5)
    (folder.path / "index" / "gone").symlink_to(folder.path / "nowhere")
    assert folder.bytes_on_disk("index") == 15
    assert folder.bytes_on_disk("index", "a") == 5
    assert folder.bytes_on_disk("nothing") == 0
