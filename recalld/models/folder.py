"""The models folder: which models are in it, where a model is, whether it is whole, and how one leaves.

    <models_dir>/
      smollm2/                     one folder a model, complete or absent
        SmolLM2-135M-Instruct.Q4_1.gguf
        manifest.json              where it came from, and each file's size and sha256
      .smollm2.lock                held while a process pulls or removes smollm2
      .smollm2.part/  .smollm2.old/      a pull or a removal under way, or one that was killed: never served

Invariant: a model's folder appears and disappears by one rename, so a reader sees all of a model or none of it. What is
served is checked by size (`path_of`, at every start); `verify` reads every byte.
"""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from recalld.core.errors import ConfigError, Conflict, InvalidInput, ModelMissing, NotFound, Unavailable
from recalld.models.registry import (
    ADDED,
    MANIFEST,
    MODELS,
    ModelFile,
    ModelSpec,
    WheelSource,
    check_model_name,
    unknown_model,
)

Progress = Callable[[str, int, int], None]
"""Called with a file's name, its bytes done and its bytes in total (0: not known)."""

FileState = Literal["ok", "missing", "wrong size", "wrong sha256", "damaged"]

BLOCK_BYTES = 1 << 20
_LOCK_SECONDS_MAX = 3600.0


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of `models list`.

    Attributes:
        source: where it comes from, as a user writes it.
        bytes: what the model takes on disk; for one that is not installed, what it will take.
        path: where it is (see `path_of`); None: not installed.
        bundled: whether it is there because its package is installed, not because it was pulled.
        must_accept: whether pulling it needs its licence to be accepted.
    """

    name: str
    purpose: str
    licence: str
    licence_url: str
    source: str
    bytes: int
    path: Path | None
    bundled: bool
    must_accept: bool


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What `verify` found about one file of one model."""

    model: str
    file: str
    state: FileState
    path: Path


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a pull wrote about the model it brought: its source, and what each file was then."""

    source: str
    licence: str
    pulled_at: str
    files: tuple[ModelFile, ...]


def silent(name: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


def list_models(models_dir: Path, known: Mapping[str, ModelSpec] = MODELS) -> list[ModelStatus]:
    """Every known model, then what users added, by name."""
    added = sorted(path.parent.name for path in models_dir.glob(f"[!.]*/{MANIFEST}") if path.parent.name not in known)
    statuses = []
    for name in [*known, *added]:
        spec, manifest = known.get(name), read_manifest(models_dir / name)
        place, files = _place_of(models_dir, name, known), files_of(models_dir, name, known)
        statuses.append(
            ModelStatus(
                name=name,
                purpose=spec.purpose if spec else ADDED,
                licence=spec.licence if spec else manifest.licence,
                licence_url=spec.licence_url if spec else "",
                source=spec.label if spec else manifest.source,
                bytes=sum(file.bytes or 0 for file in files),
                path=place and _served(place, files),
                bundled=place is not None and place != models_dir / name,
                must_accept=spec is not None and spec.must_accept,
            )
        )
    return statuses


def path_of(models_dir: Path, name: str, known: Mapping[str, ModelSpec] = MODELS) -> Path:
    """Where a model is: the file of a model that is one file, else its folder.

    Raises:
        ModelMissing: it is not there, or not whole by the sizes of its files.
    """
    check_model_name(name)
    place = _place_of(models_dir, name, known)
    if place is not None:
        return _served(place, files_of(models_dir, name, known))
    state = f"in {models_dir} is damaged" if (models_dir / name).is_dir() else f"is not in {models_dir}"
    source = "" if name in known else " --from SOURCE"
    raise ModelMissing(f"the model {name} {state}: run `recalld models pull {name}{source}`")


def verify(
    models_dir: Path,
    name: str | None = None,
    on_progress: Progress = silent,
    known: Mapping[str, ModelSpec] = MODELS,
) -> list[FileCheck]:
    """Read every file of a model, or of all that are here, and compare it with its pinned size and sha256.

    Raises:
        NotFound: the model is neither known nor in the folder.
    """
    if name is None:
        here = [status.name for status in list_models(models_dir, known)]
        here = [one for one in here if (models_dir / one).is_dir() or _package_folder(known.get(one)) is not None]
        return [check for one in here for check in verify(models_dir, one, on_progress, known)]
    check_model_name(name)
    place = models_dir / name
    if not place.is_dir():
        if name not in known:
            raise unknown_model(known)
        place = _package_folder(known[name]) or place
    files = files_of(models_dir, name, known)
    if not files:
        return [FileCheck(name, MANIFEST, "damaged", place / MANIFEST)]
    return [
        FileCheck(name, file.name, check_file(place / file.name, file, on_progress), place / file.name)
        for file in files
    ]


def remove(models_dir: Path, name: str, known: Mapping[str, ModelSpec] = MODELS) -> int:
    """Delete a model's folder, and what a killed pull of it left.

    Returns:
        The bytes freed.

    Raises:
        NotFound: it is not in the folder.
        InvalidInput: it is only there as a package, which pip removes.
    """
    check_model_name(name)
    places = [models_dir / name, *left_over(models_dir, name)]
    if not any(place.exists() for place in places):
        spec = known.get(name)
        if spec is not None and _package_folder(spec) is not None:
            raise InvalidInput.of("name", f"{name} comes with an installed package, not from the models folder")
        raise NotFound(f"the model {name} is not in {models_dir}")
    with locked(models_dir, name):
        freed = sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())
        retire(models_dir, name)
        for place in left_over(models_dir, name):
            shutil.rmtree(place, ignore_errors=True)
    return freed


def left_over(models_dir: Path, name: str) -> tuple[Path, Path]:
    """The folders of a pull and of a removal under way."""
    return models_dir / f".{name}.part", models_dir / f".{name}.old"


def retire(models_dir: Path, name: str) -> None:
    """Take a model's folder away in one rename; the caller holds the lock."""
    _, old = left_over(models_dir, name)
    shutil.rmtree(old, ignore_errors=True)
    if (models_dir / name).exists():
        (models_dir / name).rename(old)


@contextmanager
def locked(models_dir: Path, name: str) -> Iterator[None]:
    """One process at a time changes a model; what the disk refuses becomes a clear error.

    Raises:
        Conflict: another process held it for an hour.
        ConfigError: the folder can not be written.
        Unavailable: the disk is full or fails.
    """
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(models_dir / f".{name}.lock", timeout=_LOCK_SECONDS_MAX):
            yield
    except Timeout:
        raise Conflict(f"another process has been changing the model {name} for an hour") from None
    except PermissionError:
        raise ConfigError(f"models_dir: {models_dir} can not be written") from None
    except OSError as error:
        raise Unavailable(f"the models folder {models_dir}: {error.strerror or type(error).__name__}") from error


def require_space(folder: Path, needed_bytes: int) -> None:
    """Refuse to begin what the disk can not hold.

    Raises:
        Unavailable: less than `needed_bytes` are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise Unavailable(f"{folder} has {free / 1e6:,.0f} MB free, and {needed_bytes / 1e6:,.0f} MB are needed")


def check_file(path: Path, file: ModelFile, on_progress: Progress = silent) -> FileState:
    """Compare the file at `path` with what it has to be, the cheapest difference first."""
    if not path.is_file():
        return "missing"
    if path.stat().st_size != file.bytes:
        return "wrong size"
    return "ok" if sha256_of(path, file.name, on_progress) == file.sha256 else "wrong sha256"


def sha256_of(path: Path, name: str, on_progress: Progress = silent) -> str:
    """The file's digest in hex."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            on_progress(name, done, total)
    return digest.hexdigest()


def files_of(models_dir: Path, name: str, known: Mapping[str, ModelSpec]) -> tuple[ModelFile, ...]:
    """The files that the model has to have: as pinned where recalld knows it, else as they were pulled."""
    return known[name].files if name in known else read_manifest(models_dir / name).files


def read_manifest(folder: Path) -> Manifest:
    """What is written about the model in `folder`; where nothing is or it can not be read, a manifest of no files."""
    try:
        raw = json.loads((folder / MANIFEST).read_bytes())
        files = tuple(ModelFile(str(row["name"]), int(row["bytes"]), str(row["sha256"])) for row in raw["files"])
        return Manifest(str(raw["source"]), str(raw["licence"]), str(raw["pulled_at"]), files)
    except (OSError, ValueError, KeyError, TypeError, InvalidInput):
        return Manifest("unknown", "unknown", "unknown", ())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Describe the model in `folder`."""
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")


def _place_of(models_dir: Path, name: str, known: Mapping[str, ModelSpec]) -> Path | None:
    """The folder that the model can be read from, judged by the sizes of its files."""
    files = files_of(models_dir, name, known)
    for place in (models_dir / name, _package_folder(known.get(name))):
        if place and files and all(_has_size(place / file.name, file) for file in files):
            return place
    return None


def _has_size(path: Path, file: ModelFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes


def _package_folder(spec: ModelSpec | None) -> Path | None:
    """The folder inside the installed package that a bundled model's files are in."""
    source = spec.sources[0] if spec and spec.bundled else None
    if not isinstance(source, WheelSource):
        return None
    try:
        distribution = importlib.metadata.distribution(source.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file(source.members[0].path))).parent


def _served(place: Path, files: tuple[ModelFile, ...]) -> Path:
    return place / files[0].name if len(files) == 1 else place
