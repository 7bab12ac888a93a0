"""Settings: where they come from, which wins, and errors that name the setting and never a secret."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from recalld.core.config import Limits, Settings, load_settings, server_environment, settings_table
from recalld.core.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


def toml(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.encoder, settings.database_url) == (
        "127.0.0.1",
        7437,
        "minilm",
        None,
    )
    assert settings.data_dir == tmp_path / "share" / "recalld"
    assert settings.models_dir == tmp_path / "share" / "recalld-models"
    assert settings.sqlite_file == settings.data_dir / "recalld.db"
    assert settings.index_dir == settings.data_dir / "index"


def test_limits_have_the_documented_values() -> None:
    assert Limits.model_validate({}).model_dump() == {
        "body_bytes_max": 16 * 1024 * 1024,
        "items_max": 1000,
        "list_limit_max": 500,
        "recall_limit_max": 100,
        "text_bytes_max": 64 * 1024,
        "metadata_bytes_max": 16 * 1024,
        "metadata_depth_max": 32,
        "token_budget_max": 32_768,
        "messages_max": 1000,
        "import_bytes_max": 4 * 1024**3,
    }


def test_an_argument_beats_the_environment_that_beats_the_file_that_beats_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml(tmp_path / "recalld.toml", 'port = 1\nhost = "::1"\nencoder = "hash"\n')
    monkeypatch.setenv("RECALLD_PORT", "2")
    monkeypatch.setenv("RECALLD_HOST", "0.0.0.0")
    settings = load_settings(port=3, host=None)
    assert (settings.port, settings.host, settings.encoder, settings.worker) == (3, "0.0.0.0", "hash", True)


def test_the_file_here_beats_the_users_and_a_named_one_is_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml(tmp_path / "no-config" / "recalld" / "recalld.toml", 'port = 1\nhost = "::1"\n')
    assert (load_settings().port, load_settings().host) == (1, "::1")
    toml(tmp_path / "recalld.toml", "port = 2\n")
    assert (load_settings().port, load_settings().host) == (2, "::1")
    named = toml(tmp_path / "other.toml", "port = 3\n")
    monkeypatch.setenv("RECALLD_CONFIG", str(named))
    assert (load_settings().port, load_settings().host) == (3, "127.0.0.1")
    monkeypatch.setenv("RECALLD_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigError, match=r"RECALLD_CONFIG names .*nowhere.toml, which is not a file"):
        load_settings()


@pytest.mark.parametrize("given", ["a.example,b.example", " a.example , b.example ,, "])
def test_lists_are_separated_by_commas_and_may_be_arrays_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("RECALLD_ALLOWED_HOSTS", given)
    toml(tmp_path / "recalld.toml", 'allowed_origins = ["https://a.example"]\n')
    settings = load_settings()
    assert settings.allowed_hosts == ("a.example", "b.example")
    assert settings.allowed_origins == ("https://a.example",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "abc"),
        ("port", "65536"),
        ("port", "-1"),
        ("encoder_threads", "0"),
        ("text_bytes_max", "0"),
        ("log_level", "loud"),
        ("worker", "perhaps"),
        ("llm_timeout_s", "0"),
        ("pending_encode_max", "-1"),
    ],
)
def test_a_wrong_value_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"RECALLD_{name.upper()}", value)
    with pytest.raises(ConfigError, match=rf"^settings: {name}: "):
        load_settings()
    monkeypatch.delenv(f"RECALLD_{name.upper()}")
    toml(tmp_path / "recalld.toml", f'{name} = "{value}"\n')
    with pytest.raises(ConfigError, match=rf"^settings: {name}: "):
        load_settings()


def test_every_wrong_setting_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALLD_PORT", "x")
    monkeypatch.setenv("RECALLD_ITEMS_MAX", "0")
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert {"port: ", "items_max: "} <= {part.partition(" ")[0] + " " for part in refused.value.detail[10:].split("; ")}


@pytest.mark.parametrize(
    ("text", "told"), [("prot = 1\n", "prot: "), ("port = \n", "recalld.toml: "), ("[port]\n", "port: ")]
)
def test_a_file_with_an_unknown_name_or_no_toml_is_refused(tmp_path: Path, text: str, told: str) -> None:
    toml(tmp_path / "recalld.toml", text)
    with pytest.raises(ConfigError, match=told):
        load_settings()


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^settings: prot: "):
        load_settings(prot=1)


@pytest.mark.parametrize("inside", [".", "models", "a/../models/deep"])
def test_models_inside_the_data_folder_are_refused(tmp_path: Path, inside: str) -> None:
    data = tmp_path / "data"
    (data / "a").mkdir(parents=True)
    with pytest.raises(ConfigError, match="models_dir: must not be inside data_dir"):
        load_settings(data_dir=data, models_dir=data / inside)
    (tmp_path / "link").symlink_to(data)
    with pytest.raises(ConfigError, match="models_dir"):
        load_settings(data_dir=tmp_path / "link", models_dir=data / inside)
    assert load_settings(data_dir=data, models_dir=tmp_path / "data-models").models_dir == tmp_path / "data-models"


def test_secrets_are_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECALLD_API_KEY", "rk_xylophone")
    monkeypatch.setenv("RECALLD_LLM_API_KEY", "sk_xylophone")
    settings = load_settings()
    assert "xylophone" not in repr(settings)
    assert settings.api_key is not None
    assert settings.api_key.get_secret_value() == "rk_xylophone"
    monkeypatch.setenv("RECALLD_PORT", "x")
    with pytest.raises(ConfigError) as refused:
        load_settings()
    assert "xylophone" not in refused.value.detail


def test_settings_do_not_change() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.port = 1


def test_a_server_that_stands_alone_gets_no_data_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    private = ("DATA_DIR", "DATABASE_URL", "HOST", "PORT", "URL", "API_KEY")
    for name in (*private, "ENCODER", "MODELS_DIR"):
        monkeypatch.setenv(f"RECALLD_{name}", "x")
    told = server_environment()
    assert {name for name in told if name.startswith("RECALLD_")} == {"RECALLD_ENCODER", "RECALLD_MODELS_DIR"}
    assert "PATH" in told


def test_the_table_has_a_row_with_a_meaning_for_every_setting() -> None:
    rows: list[Any] = [line.strip("| ").split(" | ") for line in settings_table().splitlines()[2:]]
    assert [row[0] for row in rows] == [f"`RECALLD_{name.upper()}`" for name in Settings.model_fields]
    assert all(row[-1].strip() not in ("", "None") for row in rows)
    assert str(Path.home()) not in settings_table()
