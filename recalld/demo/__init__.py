"""`recalld demo`: a real conversation, questions over it with citations, and a server that is killed in the middle of
writing.

It does what a user does: starts `recalld serve` as a process of its own, with a temporary data folder and a free
port, and talks to it through the Python SDK. The conversation is one of LongMemEval's (MIT; `NOTICE.md` beside it),
413 turns over two months.

Every figure that it prints is measured in this run; the check after the kill reads back all that the burst wrote.
"""

import gzip
import json
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from recalld_client import Recalld, RecalldError, RetrySettings
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from recalld.core.datafolder import DataFolder
from recalld.core.errors import Unavailable

QUESTIONS = (
    "Which musical is playing at the Teatro Brancaccio in Rome?",
    "How much time did I spend on social media?",
    "Which plant did I choose for my living room?",
)
UNANSWERED = "What is the licence plate of my motorcycle?"
CHAT = QUESTIONS[0]
START_SECONDS_MAX = 120.0
ENCODE_SECONDS_MAX = 600.0
BURST_SECONDS = 1.5
SHOWN_CHARS = 200
_DATE = re.compile(r"(\d+)/(\d+)/(\d+) \(\w+\) (\d+):(\d+)")


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the conversation, as an item for the SDK."""

    text: str
    role: str
    session_id: str
    occurred_at: datetime

    def item(self) -> dict[str, Any]:
        """What `add_many` takes."""
        return {
            "text": self.text,
            "role": self.role,
            "occurred_at": self.occurred_at,
            "scope": {"session_id": self.session_id},
        }


def conversation() -> list[Turn]:
    """The shipped conversation, in order."""
    packed = files("recalld.demo").joinpath("conversation.json.gz").read_bytes()
    told = json.loads(gzip.decompress(packed))
    turns = []
    sessions = zip(told["haystack_sessions"], told["haystack_dates"], told["haystack_session_ids"], strict=True)
    for session, date, session_id in sessions:
        match = _DATE.fullmatch(date)
        assert match is not None
        year, month, day, hour, minute = (int(part) for part in match.groups())
        at = datetime(year, month, day, hour, minute, tzinfo=UTC)
        turns += [Turn(turn["content"], turn["role"], session_id, at) for turn in session if turn["content"].strip()]
    return turns


class Server:
    """`recalld serve` as a process of its own."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._log = (data_dir / "server.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str]) -> str:
        """Start it; returns its URL when it answers.

        Raises:
            Unavailable: it ended, or did not answer in time; the message holds the last line of its log.
        """
        command = [sys.executable, "-m", "recalld", "serve", "--port", "0"]
        own = {
            "RECALLD_DATA_DIR": str(self._data_dir),
            # Said here because a recalld.toml may say otherwise: no demo writes to a user's database.
            "RECALLD_DATABASE_URL": f"sqlite:///{self._data_dir / 'recalld.db'}",
            "RECALLD_HOST": "127.0.0.1",
            "RECALLD_WORKER": "true",
        }
        self._process = subprocess.Popen(command, env=environment | own, stdout=self._log, stderr=self._log)
        folder = DataFolder(self._data_dir)
        give_up = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < give_up and self._process.poll() is None:
            holder = folder.holder()
            if holder is not None and holder.pid == self._process.pid and _answers(holder.url):
                return holder.url
            time.sleep(0.1)
        self.kill()
        lines = (self._data_dir / "server.log").read_text(encoding="utf-8", errors="replace").splitlines()
        raise Unavailable(f"the server did not start: {lines[-1] if lines else 'no output'}")

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self._log.close()


def run(console: Console, environment: dict[str, str], no_chat: str) -> int:
    """The whole demo; returns how many acknowledged memories were lost (0).

    Args:
        environment: of the server that it starts.
        no_chat: why the chat answer is left out; empty: it is not.
    """
    with tempfile.TemporaryDirectory(prefix="recalld-demo-") as folder, _server(Path(folder)) as server:
        with console.status("starting recalld serve ..."):
            url = server.start(environment)
        console.print(f"[bold]recalld[/] serves on {url}, data in a temporary folder")
        with Recalld(url) as client:
            _ingest(console, client)
            for question in QUESTIONS:
                _ask(console, client, question)
            _ask(console, client, UNANSWERED)
            _chat(console, client, no_chat)
        lost = _kill_while_writing(console, server, url, environment)
        console.print("\nNext: [bold]recalld serve[/] in one terminal, then in another:")
        console.print('  [bold]recalld add "I moved to Lisbon in March." --user alice[/]')
        console.print('  [bold]recalld recall "where did she move to?" --user alice[/]')
        return lost


def _ingest(console: Console, client: Recalld) -> None:
    turns = conversation()
    started = time.perf_counter()
    with Progress(
        TextColumn("adding a conversation"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=len(turns))
        me = client.scope(user_id="me")
        me.add_many(
            [turn.item() for turn in turns], items_max=50, progress=lambda done: bar.update(task, completed=done)
        )
    took = time.perf_counter() - started
    sessions = len({turn.session_id for turn in turns})
    console.print(f"added {len(turns)} turns of {sessions} sessions in {took:.1f} s: durable, and searchable at once")
    with console.status("encoding ..."):
        while client.stats().pending:
            if time.perf_counter() - started > ENCODE_SECONDS_MAX:
                raise Unavailable("the server does not get done with encoding")
            time.sleep(0.2)
    console.print(f"encoded for vector search after {time.perf_counter() - started:.1f} s, in the background\n")


def _ask(console: Console, client: Recalld, question: str) -> None:
    found = client.scope(user_id="me").recall(question, limit=3)
    console.print(f"[bold cyan]{question}[/]  [dim]{found.took_ms:.0f} ms[/]")
    if not found.relevant:
        console.print("  [yellow]nothing here answers that[/]; the nearest is:")
    for hit in list(found)[: 3 if found.relevant else 1]:
        memory = hit.memory
        when = memory.occurred_at.date().isoformat() if memory.occurred_at else "unknown"
        text = escape(_excerpt(memory.text, question))
        console.print(f"  [bold]{hit.relevance:.2f}[/] {when} {memory.role}: {text} [dim]{memory.id}[/]")
    console.print()


def _excerpt(text: str, question: str) -> str:
    """The beginning of a text, or what follows from the sentence on that shares most words with the question."""
    words = {word for word in re.findall(r"\w+", question.lower()) if len(word) > 3}
    sentences = re.finditer(r"\S.*?(?=(?<=[.!?])\s|\n|$)", text)
    best = max(sentences, key=lambda sentence: sum(word in sentence[0].lower() for word in words))
    start = 0 if best.end() <= SHOWN_CHARS else best.start()
    return textwrap.shorten(text[start:], SHOWN_CHARS, placeholder=" …")


def _chat(console: Console, client: Recalld, left_out: str) -> None:
    if left_out:
        console.print(f"[dim]chat is left out: {escape(left_out)}[/]\n")
        return
    console.print(f"[bold cyan]chat: {CHAT}[/]  ", end="")
    started = time.perf_counter()
    first: float | None = None
    with client.scope(user_id="me").chat_stream(CHAT, remember=False, token_budget=300, max_tokens=60) as stream:
        for piece in stream:
            first = first or time.perf_counter() - started
            console.print(escape(piece), end="")
        cited = len(stream.reply.citations)
    console.print(
        f"\n  [dim]first words after {first or 0:.1f} s, from {cited} cited memories; a small model's words[/]\n"
    )


def _kill_while_writing(console: Console, server: Server, url: str, environment: dict[str, str]) -> int:
    acknowledged: list[str] = []
    stopped = threading.Event()
    writer = threading.Thread(target=_write_until_it_fails, args=(url, acknowledged, stopped))
    writer.start()
    time.sleep(BURST_SECONDS)
    server.kill()
    stopped.set()
    writer.join()
    console.print(f"[red]SIGKILL[/] in the middle of a write burst, after {len(acknowledged)} acknowledged writes")
    with console.status("starting again ..."):
        started = time.perf_counter()
        url = server.start(environment)
    with Recalld(url) as client:
        kept = [memory.id for memory in client.scope(user_id="burst").list()]
    lost = len(set(acknowledged) - set(kept))
    double = len(kept) - len(set(kept))
    colour = "green" if not lost and not double else "red"
    console.print(
        f"up again after {time.perf_counter() - started:.1f} s: [{colour}]{len(acknowledged) - lost} of"
        f" {len(acknowledged)} acknowledged memories are there, {lost} lost, {double} doubled[/]"
    )
    return lost + double


def _write_until_it_fails(url: str, acknowledged: list[str], stopped: threading.Event) -> None:
    with Recalld(url, retry=RetrySettings(attempts_max=1)) as client:
        burst = client.scope(user_id="burst")
        while not stopped.is_set():
            try:
                acknowledged.append(burst.add(f"Note number {len(acknowledged)} of the burst.").id)
            except RecalldError:
                return


@contextmanager
def _server(data_dir: Path) -> Iterator[Server]:
    server = Server(data_dir)
    try:
        yield server
    finally:
        server.stop()


def _answers(url: str) -> bool:
    try:
        with Recalld(url, retry=RetrySettings(attempts_max=1)) as client:
            client.ready()
            return True
    except RecalldError:
        return False
