"""`recalld serve` as a process: where it listens, who else may, how it ends, and what it says."""

import json
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.processes import HASH, STOP_SECONDS_MAX, Process, environment, language_model, run_recalld

TEXT = "The wardrobe key is under the blue pot."


def get(url: str, path: str = "/healthz", **headers: str) -> httpx2.Response:
    return httpx2.get(f"{url}{path}", headers=headers, trust_env=False, timeout=30)


def add(url: str, text: str) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/memories", json={"items": [{"text": text}]}, trust_env=False, timeout=30)


def test_it_serves_on_a_free_port_and_ends_at_sigterm_with_0(tmp_path: Path) -> None:
    with Process(tmp_path, **HASH) as server:
        assert get(server.url, "/readyz").json()["status"] == "ready"
        assert add(server.url, TEXT).status_code == 201
        asked = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - asked < 5
        assert not (tmp_path / "data" / "server.json").exists()
        assert TEXT not in server.output()
        assert "Traceback" not in server.output()
    assert run_recalld(tmp_path, "verify", **HASH).stdout == "clean: 1 memories in 1 namespaces\n"


def test_what_a_crash_left_of_an_upload_is_removed_when_it_starts(tmp_path: Path) -> None:
    with Process(tmp_path, **HASH):
        pass
    left = tmp_path / "data" / "spool" / "imp_left.ndjson"
    left.parent.mkdir(exist_ok=True)
    left.write_text(TEXT)
    with Process(tmp_path, **HASH) as server:
        assert get(server.url, "/readyz").json()["status"] == "ready"
        assert not left.exists()


def test_a_reply_does_not_wait_for_the_clients_acknowledgement(tmp_path: Path) -> None:
    """With Nagle's algorithm on, the second segment of every reply waits 40 ms for a delayed acknowledgement."""
    with Process(tmp_path, **HASH) as server, httpx2.Client(trust_env=False) as client:
        took = []
        for _ in range(50):
            asked = time.monotonic()
            assert client.get(f"{server.url}/healthz").status_code == 200
            took.append(time.monotonic() - asked)
        assert statistics.median(took) < 0.03


def test_sigint_ends_it_with_130(tmp_path: Path) -> None:
    with Process(tmp_path, **HASH) as server:
        assert server.stop(signal.SIGINT) == 130
        assert "Traceback" not in server.output()
        assert not (tmp_path / "data" / "server.json").exists()


def test_a_request_at_hand_is_answered_before_it_ends(tmp_path: Path) -> None:
    with Process(tmp_path, **HASH) as server:
        items = [{"text": f"number {number} " + "word " * 200} for number in range(1000)]
        replies: list[httpx2.Response] = []
        body = {"items": items}
        writer = threading.Thread(
            target=lambda: replies.append(
                httpx2.post(f"{server.url}/v1/memories", json=body, trust_env=False, timeout=60)
            )
        )
        writer.start()
        time.sleep(0.3)
        assert server.stop() == 0
        writer.join()
    assert [reply.status_code for reply in replies] == [201]
    stats = run_recalld(tmp_path, "stats", "--json", **HASH)
    assert json.loads(stats.stdout)["memories"] == {"active": 1000}


def test_an_open_stream_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    with language_model("word " * 50) as model, Process(tmp_path, **HASH | model) as server:
        body = {"messages": [{"role": "user", "content": "hello"}], "stream": True}
        with httpx2.stream(
            "POST", f"{server.url}/v1/chat/completions", json=body, trust_env=False, timeout=30
        ) as stream:
            next(stream.iter_lines())
            assert server.stop() == 0


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_recalld(tmp_path, "serve", "--port", str(port), **HASH)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"recalld: port: 127.0.0.1:{port} can not be listened on: Address already in use\n"
    assert not (tmp_path / "data" / "server.json").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "memory.example.org"])
def test_an_address_beyond_loopback_needs_a_key(tmp_path: Path, host: str) -> None:
    done = run_recalld(tmp_path, "serve", "--host", host, "--port", "0", **HASH)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"recalld: host: {host} is not loopback, and there is no key:"
        " make one first with `recalld keys create --namespace NAME`\n"
    )


def test_with_a_key_it_serves_every_address_to_who_has_it(tmp_path: Path) -> None:
    key = json.loads(run_recalld(tmp_path, "keys", "create", "--namespace", "acme", "--json", **HASH).stdout)["key"]
    with Process(tmp_path, arguments=["--host", "0.0.0.0"], **HASH) as server:
        assert server.url.startswith("http://127.0.0.1:"), "what it says can be opened"
        assert server.events()[0]["host"] == "0.0.0.0"
        assert get(server.url, "/v1/stats").status_code == 401
        assert get(server.url, "/v1/stats", Authorization=f"Bearer {key}").json()["namespace"] == "acme"
        done = run_recalld(tmp_path, "stats", "--json", RECALLD_API_KEY=key, **HASH)
        assert json.loads(done.stdout)["namespace"] == "acme"


def test_it_serves_ipv6_loopback(tmp_path: Path) -> None:
    with Process(tmp_path, arguments=["--host", "::1"], **HASH) as server:
        assert server.url.startswith("http://[::1]:")
        assert get(server.url, "/v1/stats").status_code == 200
        assert json.loads(run_recalld(tmp_path, "stats", "--json", **HASH).stdout)["namespace"] == "default"


def test_an_address_that_is_not_this_machines_is_one_line(tmp_path: Path) -> None:
    run_recalld(tmp_path, "keys", "create", "--namespace", "acme", **HASH)
    for host in ("192.0.2.1", "no such host"):
        done = run_recalld(tmp_path, "serve", "--host", host, "--port", "0", **HASH)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(f"recalld: port: {host}:0 can not be listened on: ")


def test_a_second_server_shares_the_folder_and_the_first_stays_the_one_that_is_found(tmp_path: Path) -> None:
    with Process(tmp_path, **HASH) as first, Process(tmp_path, **HASH) as second:
        assert "folder_shared" in [event["event"] for event in second.events()]
        assert add(second.url, TEXT).status_code == 201
        question = {"query": "where is the wardrobe key?"}
        hits = httpx2.post(f"{first.url}/v1/recall", json=question, trust_env=False).json()["results"]
        assert [hit["memory"]["text"] for hit in hits] == [TEXT]
        assert json.loads((tmp_path / "data" / "server.json").read_text())["url"] == first.url
        assert second.stop() == 0
        assert json.loads((tmp_path / "data" / "server.json").read_text())["url"] == first.url
        assert run_recalld(tmp_path, "stats", **HASH).returncode == 0
        assert [event["route"] for event in first.events() if event["event"] == "request"][-1] == "/v1/stats"


def test_commands_that_ask_do_not_keep_a_server_from_holding_the_folder(tmp_path: Path) -> None:
    code = (
        "import time\nfrom pathlib import Path\nfrom recalld.core.datafolder import DataFolder\n"
        f"folder = DataFolder(Path({str(tmp_path / 'data')!r}))\n"
        "while folder.holder() is None:\n    time.sleep(0.001)\nprint(folder.holder().url)\n"
    )
    askers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment(tmp_path))
        for _ in range(2)
    ]
    with Process(tmp_path, **HASH) as server:
        assert [asker.communicate(timeout=30)[0] for asker in askers] == [f"{server.url}\n"] * 2
        assert "folder_shared" not in [event["event"] for event in server.events()]


def test_every_line_that_it_prints_is_a_log_line(tmp_path: Path) -> None:
    with Process(tmp_path, arguments=["--json"], **HASH) as server:
        add(server.url, TEXT)
        get(server.url, "/nonsense")
        httpx2.post(f"{server.url}/v1/memories", content=b"{", trust_env=False)
        server.stop()
        lines = server.output().splitlines()
        assert len(lines) == len(server.events()) >= 5
        assert {event["event"] for event in server.events()} == {"serving", "request"}
        assert all({"timestamp", "level", "component"} <= event.keys() for event in server.events())


def test_sigterm_while_it_starts_ends_it_too(tmp_path: Path) -> None:
    for delay in (0.1, 0.8, 1.6):
        popen = subprocess.Popen(
            [sys.executable, "-m", "recalld", "serve", "--port", "0"],
            env=environment(tmp_path, **HASH), cwd=tmp_path, stderr=subprocess.PIPE,
        )  # fmt: skip
        time.sleep(delay)
        popen.terminate()
        _, errors = popen.communicate(timeout=STOP_SECONDS_MAX)
        assert popen.returncode in (0, -signal.SIGTERM)
        assert b"Traceback" not in errors
