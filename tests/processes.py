"""recalld as processes, for tests: a server, a worker, a command, and a language model server to talk to.

They see nothing of this machine's settings, and run in a folder of their own, far from the checkout.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 15.0
HASH = {"RECALLD_ENCODER": "hash", "RECALLD_LLM": "none"}
"""Settings of an instance that starts fast and needs no model."""


def _take_sigint() -> None:
    """A shell that runs the tests in the background has them ignore SIGINT, and what they start inherits that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """This process's environment, with an instance in `folder` and no settings but these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RECALLD_")}
    own = {
        "RECALLD_DATA_DIR": str(folder / "data"),
        "RECALLD_MODELS_DIR": str(folder / "models"),
        "RECALLD_LOG_FORMAT": "json",
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "2",
    }
    return kept | own | settings


def run_recalld(
    folder: Path,
    *arguments: str,
    stdin: str | bytes = b"",
    python: str = sys.executable,
    seconds_max: float = 120.0,
    **settings: str,
) -> subprocess.CompletedProcess[str]:
    """A command, to its end, over the instance in `folder`."""
    done = subprocess.run(
        [python, "-m", "recalld", *arguments],
        env=environment(folder, **settings),
        cwd=folder,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=seconds_max,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Process:
    """`recalld serve` or `recalld worker`, over the instance in `folder`.

    Attributes:
        url: where the server listens.
        started_s: the seconds until it said that it is there.
    """

    def __init__(
        self, folder: Path, command: str = "serve", *, arguments: Sequence[str] = (), python: str = sys.executable,
        **settings: str,
    ) -> None:  # fmt: skip
        """Start it, and wait until it says that it is there."""
        self.url = ""
        self._log = folder / f"{command}-{time.monotonic_ns()}.log"
        given = ["--port", "0"] if command == "serve" and "--port" not in arguments else []
        began = time.monotonic()
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                [python, "-m", "recalld", command, *given, *arguments],
                env=environment(folder, **settings),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_take_sigint,
            )
        try:
            self._wait("serving" if command == "serve" else "working", began + START_SECONDS_MAX)
        except BaseException:
            self.kill()
            raise
        self.started_s = time.monotonic() - began

    def _wait(self, word: str, give_up: float) -> None:
        while not (told := [event for event in self.events() if event["event"] == word]):
            assert self.popen.poll() is None, f"it ended: {self.output()}"
            assert time.monotonic() < give_up, f"it did not start in time: {self.output()}"
            time.sleep(0.02)
        self.url = told[0].get("url", "")
        if self.url:
            assert httpx2.get(f"{self.url}/healthz", trust_env=False, timeout=30).status_code == 200

    def output(self) -> str:
        """What it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def events(self) -> list[dict[str, Any]]:
        """What it has logged."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{") and line.endswith("}")]

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.popen.kill()
        self.popen.wait()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; returns its exit code."""
        self.popen.send_signal(number)
        try:
            return self.popen.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"it did not end within {STOP_SECONDS_MAX} s: {self.output()}") from None

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextmanager
def language_model(reply: str) -> Iterator[dict[str, str]]:
    """A server that answers every chat request with `reply`; gives the settings that make recalld use it."""
    words = re.findall(r"\s*\S+", reply)
    pieces = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    usage = {"prompt_tokens": 7, "completion_tokens": len(pieces), "prompt_tokens_details": {"cached_tokens": 3}}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in [*pieces, last]) + "data: [DONE]\n\n"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield {
        "RECALLD_LLM": "openai",
        "RECALLD_LLM_URL": f"http://127.0.0.1:{server.server_port}/v1",
        "RECALLD_LLM_MODEL": "far-model",
    }
    server.shutdown()
    thread.join()
    server.server_close()
