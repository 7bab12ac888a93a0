"""Settings: `RECALLD_*` environment variables, then `recalld.toml`, then the defaults below.

This is the only place that reads the environment. `Limits` holds what a caller may send; it is its own class so that
the layers below the API can take it without knowing the rest. The settings table in the documentation is made from
here (`recalld doctor --settings`), so a field's description is what a user reads.

Invariant: settings are frozen; nothing changes them after start.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_config_dir, user_data_dir
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from recalld.core.errors import ConfigError

LlmDeriver = Literal["facts", "summaries", "episodes", "refined"]


class Limits(BaseModel):
    """What one request may hold. Every limit has its unit in its name."""

    model_config = ConfigDict(frozen=True)

    body_bytes_max: int = Field(16 * 1024 * 1024, ge=1024, description="largest request body")
    import_bytes_max: int = Field(4 << 30, ge=1024, description="largest file of an import")
    items_max: int = Field(1000, ge=1, description="most items in one request")
    list_limit_max: int = Field(500, ge=1, description="largest `limit` of a list")
    recall_limit_max: int = Field(100, ge=1, description="largest `limit` of a recall")
    text_bytes_max: int = Field(64 * 1024, ge=1, description="longest text of a memory, and longest query, in UTF-8")
    metadata_bytes_max: int = Field(16 * 1024, ge=2, description="largest `metadata` or `frame`, as JSON")
    metadata_depth_max: int = Field(32, ge=1, description="deepest nesting of `metadata` or `frame`")
    token_budget_max: int = Field(32_768, ge=1, description="largest token budget of a context")
    messages_max: int = Field(1000, ge=1, description="most messages in one chat request")


class Settings(BaseSettings, Limits):
    """Every setting, with its default."""

    model_config = SettingsConfigDict(env_prefix="RECALLD_", frozen=True, extra="forbid")

    data_dir: Path = Field(
        default_factory=lambda: Path(user_data_dir("recalld", appauthor=False)),
        description="the database and the index files",
    )
    models_dir: Path = Field(
        default_factory=lambda: Path(user_data_dir("recalld-models", appauthor=False)),
        description="model weights, shared by all instances; never inside the data folder",
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL; unset: SQLite in the data folder")
    host: str = Field("127.0.0.1", description="address to listen on; another than loopback needs a key")
    port: int = Field(7437, ge=0, le=65535, description="port to listen on; 0: a free one")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="more values of `Host` that are served, comma-separated; loopback names always are"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="values of `Origin` that are served, comma-separated; the server's own always is"
    )
    url: str | None = Field(None, description="for the command line: the server to talk to")
    api_key: SecretStr | None = Field(None, description="for the command line: the key to send")
    encoder: str = Field("minilm", description="`minilm` (ONNX int8), `hash` (reference), or `st:NAME_OR_FOLDER`")
    encoder_threads: int = Field(2, ge=1, le=64, description="runs of the encoder at once, a thread each")
    llm: str = Field("smollm2", description="local model for chat, `none`, or `openai` for `llm_url`")
    llm_url: str | None = Field(None, description="base URL of an OpenAI-compatible server, ending in /v1")
    llm_model: str | None = Field(None, description="model to ask that server for")
    llm_api_key: SecretStr | None = Field(None, description="key for that server")
    llm_timeout_s: float = Field(120.0, gt=0, description="longest wait for that server")
    llm_context_tokens: int = Field(8192, ge=256, description="context window to use, at most")
    llm_threads: int = Field(2, ge=1, le=64, description="threads of the local model")
    context_tokens: int = Field(1024, ge=1, description="token budget of a context where the caller gives none")
    state_tokens: int = Field(256, ge=32, le=4096, description="longest working memory of a session")
    pending_encode_max: int = Field(
        64,
        ge=0,
        description="passages not indexed yet that a recall encodes itself, so that it sees the caller's writes",
    )
    idempotency_hours: int = Field(24, ge=1, description="how long an Idempotency-Key is remembered")
    worker: bool = Field(True, description="whether `serve` applies the outbox and does jobs itself")
    consolidation: Literal["idle", "nightly", "off"] = Field(
        "idle",
        description="when what changed is consolidated without being asked: once writing pauses, at night, never",
    )
    consolidation_idle_s: float = Field(30.0, ge=0, description="pause in writing after which `idle` begins")
    nightly_hour: int = Field(3, ge=0, le=23, description="hour (UTC) from which the day's nightly jobs are done")
    parser: Literal["none", "spacy"] = Field(
        "none", description="what reads facts about others besides the rules (`pip install 'recalld[parser]'`)"
    )
    summary_tokens: int = Field(160, ge=16, le=4096, description="longest session summary")
    profile_tokens: int = Field(256, ge=16, le=4096, description="longest profile of a person")
    derive_llm: Annotated[tuple[LlmDeriver, ...], NoDecode] = Field(
        (),
        description="what the chat model derives besides, comma-separated: `facts`, `summaries`, `episodes`, `refined`",
    )
    derive_llm_tokens: int = Field(2048, ge=64, le=100_000, description="tokens of memories in one call of those")
    derive_llm_reply_tokens: int = Field(1024, ge=16, le=100_000, description="longest reply to one of those calls")
    derived_max: int = Field(
        100_000, ge=0, description="derived memories kept in a namespace; beyond, the least salient are forgotten"
    )
    half_life_days: dict[Literal["fact", "summary", "episode", "procedure", "rationale"], PositiveFloat] = Field(
        {"fact": 180.0, "summary": 90.0, "episode": 90.0, "procedure": 365.0, "rationale": 365.0},
        description="time in which the salience of a derived memory that nobody asks for fades by half, by kind (JSON)",
    )
    recall_use_max: float = Field(
        0.0,
        ge=0,
        le=0.25,
        description="what being recalled often adds to a memory's rank, at most, as a share of votes",
    )
    retention_days: int = Field(30, ge=0, description="how long a forgotten memory is kept before it is erased")
    job_lease_s: float = Field(30.0, ge=1, description="how long a worker that says nothing keeps a job")
    job_attempts_max: int = Field(5, ge=1, description="tries of one step before a job goes to the dead letter")
    job_keep_days: int = Field(7, ge=1, description="how long jobs that succeeded or were cancelled are listed")
    job_streams_max: int = Field(64, ge=1, description="most streams of job events at once")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["auto", "json", "text"] = Field("auto", description="`auto`: text on a terminal, else JSON")

    @field_validator("data_dir", "models_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    @field_validator("allowed_hosts", "allowed_origins", "derive_llm", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=_config_files())

    @property
    def sqlite_file(self) -> Path:
        """Where SQLite is when `database_url` is unset."""
        return self.data_dir / "recalld.db"

    @property
    def spool_dir(self) -> Path:
        """The folder of files that are being imported; empty but for that."""
        return self.data_dir / "spool"

    @property
    def filters_dir(self) -> Path:
        """Where the filters of near-duplicates are: with the indexes, made anew like them."""
        return self.index_dir / "filters"

    @property
    def index_dir(self) -> Path:
        """The folder of every index file: it can be deleted and rebuilt from SQL."""
        return self.data_dir / "index"


def _config_files() -> list[Path]:
    """`RECALLD_CONFIG`, else `recalld.toml` in the user's configuration folder and here (the latter wins)."""
    named = os.environ.get("RECALLD_CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigError(f"RECALLD_CONFIG names {named}, which is not a file")
        return [Path(named)]
    return [Path(user_config_dir("recalld", appauthor=False)) / "recalld.toml", Path("recalld.toml")]


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and the file, with `overrides` (None is left out) before both.

    Raises:
        ConfigError: a value is wrong; the message names the setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"settings: {wrong}") from None
    except ValueError as error:
        raise ConfigError(f"recalld.toml: {error}") from None
    if settings.models_dir.resolve().is_relative_to(settings.data_dir.resolve()):
        raise ConfigError("models_dir: must not be inside data_dir, which holds one instance's memories")
    return settings


def server_environment() -> dict[str, str]:
    """This process's environment without what says where data is and who may see it: for a server that stands alone."""
    kept_out = (
        "RECALLD_DATA_DIR",
        "RECALLD_DATABASE_URL",
        "RECALLD_HOST",
        "RECALLD_PORT",
        "RECALLD_URL",
        "RECALLD_API_KEY",
    )
    return {name: value for name, value in os.environ.items() if name not in kept_out}


def switch_off_telemetry() -> None:
    """Call before ONNX Runtime is imported, whose official builds report to their maker unless this is set."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def settings_table() -> str:
    """The settings as a Markdown table, for the documentation."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    shown = {"data_dir": "`$XDG_DATA_HOME/recalld`", "models_dir": "`$XDG_DATA_HOME/recalld-models`"}
    for name, field in Settings.model_fields.items():
        default = shown.get(name) or (f"`{field.default}`" if field.default not in (None, ()) else "")
        rows.append(f"| `RECALLD_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows)
