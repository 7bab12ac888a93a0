"""Commands on data find the server that holds the folder, go over HTTP while there is one, and need its key."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.processes import HASH, Process, environment, language_model, run_recalld
from tests.recalld.cli.conftest import CommandLine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Process]:
    with language_model("You live in Lisbon.") as model, Process(folder, **HASH | model) as server:
        yield server


@pytest.fixture
def served(server: Process, folder: Path, recalld: CommandLine) -> CommandLine:
    """A command line over the folder that the server holds."""
    recalld.folder = folder
    recalld.settings |= {"RECALLD_DATA_DIR": str(folder / "data"), "RECALLD_MODELS_DIR": str(folder / "models")}
    return recalld


def requests(server: Process) -> list[tuple[str, str, int]]:
    return [(e["method"], e["route"], e["status"]) for e in server.events() if e["event"] == "request"][1:]


def wait_for_requests(server: Process, count: int) -> list[tuple[str, str, int]]:
    """A request is logged after its reply."""
    give_up = time.monotonic() + 10
    while len(requests(server)) < count and time.monotonic() < give_up:
        time.sleep(0.02)
    return requests(server)


def test_commands_go_to_the_server_that_holds_the_folder(server: Process, served: CommandLine) -> None:
    seen = len(requests(server))
    [memory] = served.json("add", "I moved to Lisbon in March.", "--user", "alice")["items"]
    [hit] = served.json("recall", "who moved to Lisbon in March?", "--user", "alice")["results"]
    assert hit["memory"] == memory
    assert "I moved to Lisbon in March." in served.ok("context", "Lisbon", "--user", "alice")
    assert served.json("stats")["memories"] == {"active": 1}
    assert served.ok("chat", "Where do I live?", "--user", "alice").startswith("You live in Lisbon.\n")
    answer = served.json("chat", "Where do I live?", "--user", "alice", "--no-remember")
    assert answer["choices"][0]["message"]["content"] == "You live in Lisbon."
    assert wait_for_requests(server, seen + 6)[seen:] == [
        ("POST", "/v1/memories", 201),
        ("POST", "/v1/recall", 200),
        ("POST", "/v1/context", 200),
        ("GET", "/v1/stats", 200),
        ("POST", "/v1/chat/completions", 200),
        ("POST", "/v1/chat/completions", 200),
    ]


def test_an_error_of_the_server_is_one_line(served: CommandLine) -> None:
    assert served.error("recall", "x", "--limit", "0").startswith("limit: ")
    assert served.error("add", "x" * 70_000).startswith("items.0.text: ")


def test_the_namespace_is_the_keys_where_a_server_runs(served: CommandLine) -> None:
    says = "--namespace: a running server takes the namespace from the key (RECALLD_API_KEY)"
    assert served.error("stats", "--namespace", "acme") == says


def test_verify_reindex_worker_and_doctor_work_beside_the_server(server: Process, served: CommandLine) -> None:
    served.ok("add", "Kept while the server runs.")
    assert served.json("reindex")["rows"] >= 1
    assert served.json("worker", "--once")["applied"] >= 0
    assert served.json("verify")["clean"] is True
    found = {check["name"]: check["detail"] for check in served.json("doctor")["required"]}
    assert found["server"] == f"running at {server.url}"
    hits = served.json("recall", "kept while the server runs")["results"]
    assert hits[0]["memory"]["text"] == "Kept while the server runs."


def test_a_url_in_the_settings_wins_over_the_folder(server: Process, recalld: CommandLine) -> None:
    assert recalld.json("stats", RECALLD_URL=server.url)["namespace"] == "default"
    assert not (recalld.folder / "data").exists()


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(server: Process, served: CommandLine) -> None:
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), "http://127.0.0.1:9")
    assert served.json("stats", **proxy)["namespace"] == "default"
    assert served.json("stats", RECALLD_URL=server.url, **proxy)["namespace"] == "default"


def test_a_killed_server_is_not_found_and_the_folder_is_opened_here(tmp_path: Path, recalld: CommandLine) -> None:
    with Process(tmp_path, **HASH) as server:
        recalld.ok("add", "Written over HTTP.")
        told = json.loads((tmp_path / "data" / "server.json").read_text())
        assert told == {"url": server.url, "pid": server.popen.pid}
        server.kill()
    assert (tmp_path / "data" / "server.json").exists(), "a killed server leaves it behind"
    recalld.ok("add", "Written here.")
    assert recalld.json("stats")["memories"] == {"active": 2}
    assert recalld.json("verify")["clean"] is True
    with Process(tmp_path, **HASH) as again:
        assert json.loads((tmp_path / "data" / "server.json").read_text())["url"] == again.url != server.url
        assert recalld.json("stats")["memories"] == {"active": 2}


def test_with_keys_the_servers_commands_need_one(tmp_path: Path, recalld: CommandLine) -> None:
    with Process(tmp_path, **HASH):
        recalld.ok("add", "Local mode.")
        key = recalld.json("keys", "create", "--namespace", "acme")["key"]
        reader = recalld.json("keys", "create", "--namespace", "acme", "--read-only")["key"]
        alices = recalld.json("keys", "create", "--namespace", "acme", "--user-id", "alice")["key"]
        says = (
            "send the key as `Authorization: Bearer rk_...`; `recalld keys create` makes one;"
            " RECALLD_API_KEY holds the key"
        )
        for arguments in (["add", "x"], ["recall", "x"], ["context", "x"], ["chat", "x"], ["stats"]):
            assert recalld.error(*arguments) == says
        refused = "this key is unknown, expired or revoked; RECALLD_API_KEY holds the key"
        assert recalld.error("stats", RECALLD_API_KEY="rk_nonsense") == refused
        assert recalld.json("stats", RECALLD_API_KEY=key)["namespace"] == "acme"
        assert recalld.error("add", "x", RECALLD_API_KEY=reader) == "this key is read-only"
        [memory] = recalld.json("add", "Alice's.", RECALLD_API_KEY=alices)["items"]
        assert memory["scope"]["user_id"] == "alice"
        assert recalld.error("recall", "x", "--user", "bob", RECALLD_API_KEY=alices).startswith("scope.user_id: ")
        recalld.ok("keys", "revoke", recalld.json("keys", "list")["items"][0]["id"])
        assert recalld.error("stats", RECALLD_API_KEY=key) == refused
    assert recalld.json("stats", "--namespace", "acme")["memories"] == {"active": 1}, "without a server, the operator's"


def test_two_who_ask_at_once_do_not_take_each_other_for_a_server(tmp_path: Path) -> None:
    run_recalld(tmp_path, "migrate", **HASH)
    (tmp_path / "data" / "server.json").write_text('{"url": "http://127.0.0.1:9", "pid": 1}')
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "recalld", "add", f"number {number}"],
            env=environment(tmp_path, **HASH), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]  # fmt: skip
    outcomes = [(*command.communicate(), command.returncode) for command in commands]
    assert [(error, code) for _, error, code in outcomes] == [(b"", 0)] * 2
    assert json.loads(run_recalld(tmp_path, "stats", "--json", **HASH).stdout)["memories"] == {"active": 2}
    assert run_recalld(tmp_path, "verify", **HASH).returncode == 0


class Stranger(BaseHTTPRequestHandler):
    """A server that is not recalld."""

    def do_GET(self) -> None:
        status, body = {"/a": (200, b"<html>hello</html>"), "/b": (404, b"not here"), "/c": (302, b"")}[self.path[:2]]
        self.send_response(status)
        self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize(("path", "status"), [("a", 200), ("b", 404), ("c", 302)])
def test_a_server_that_is_not_recalld_is_one_line(recalld: CommandLine, path: str, status: int) -> None:
    stranger = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    thread = threading.Thread(target=stranger.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{stranger.server_port}/{path}"
    lines = {recalld.error(*command, RECALLD_URL=url) for command in (["stats"], ["recall", "x"], ["add", "x"])}
    stranger.shutdown()
    thread.join()
    stranger.server_close()
    assert lines == {f"127.0.0.1 answered {status}, but not as recalld does"}
