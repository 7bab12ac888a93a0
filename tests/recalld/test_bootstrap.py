"""The composition root: what the settings name is what the service is made of, and it lets go of everything."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from memory.model import Item
from recalld.bootstrap import Parts, Service, making
from recalld.bootstrap.making import make_encoder, make_llm
from recalld.core import access
from recalld.core.access import Principal
from recalld.core.config import Settings
from recalld.core.errors import ConfigError, FeatureNotInstalled, IndexDamaged, ModelMissing, Unavailable
from recalld.llm.remote import OpenAICompatibleModel
from recalld.llm.scripted import ScriptedModel
from retrieval.encode_hash import HashEncoder
from retrieval.vector_faiss import SegmentedVectorIndex
from tests.conftest import WHO, SetClock
from tests.processes import environment

Make = Callable[..., Service]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes packages look as if they were not installed."""

    def hide(*names: str) -> None:
        monkeypatch.setattr(making, "find_spec", lambda name: None if name in names else object())

    return hide


def test_the_encoder_is_the_one_that_is_named(settings: Settings) -> None:
    assert isinstance(make_encoder(settings), HashEncoder)
    minilm = make_encoder(settings.model_copy(update={"encoder": "minilm"}))
    assert (minilm.name, minilm.dimensions) == ("all-MiniLM-L6-v2-int8", 384)


@pytest.mark.parametrize("name", ["", "nonsense", "st", "st:", "hash:x", "minilm:x", ":", "HASH"])
def test_an_encoder_that_there_is_not_is_refused(settings: Settings, name: str) -> None:
    with pytest.raises(ConfigError, match="encoder: must be minilm, hash, or st:NAME_OR_FOLDER"):
        make_encoder(settings.model_copy(update={"encoder": name}))


def test_an_encoder_of_an_extra_says_what_to_install(settings: Settings, without: Callable[..., None]) -> None:
    without("sentence_transformers")
    with pytest.raises(FeatureNotInstalled, match=r"pip install 'recalld\[st\]'"):
        make_encoder(settings.model_copy(update={"encoder": "st:some/model"}))


@pytest.mark.parametrize("missing", ["torch", "gguf", "jinja2"])
def test_chat_without_its_packages_says_what_to_install(
    make_service: Make, without: Callable[..., None], missing: str
) -> None:
    service = make_service(llm="smollm2")
    without(missing)
    with pytest.raises(FeatureNotInstalled, match=r"pip install 'recalld\[llm\]'"):
        service.llm()
    assert service.llm_name() is None
    assert service.token_counter().name == "hash-256"


def test_chat_without_weights_says_what_to_pull(make_service: Make, without: Callable[..., None]) -> None:
    service = make_service(llm="smollm2")
    without()
    with pytest.raises(ModelMissing, match="run `recalld models pull smollm2`"):
        service.llm()
    assert service.llm_name() is None


def test_chat_can_be_switched_off(service: Service) -> None:
    with pytest.raises(FeatureNotInstalled, match="RECALLD_LLM is `none`"):
        service.llm()


def test_another_server_answers_where_it_is_named(settings: Settings, make_service: Make) -> None:
    named = {"llm": "openai", "llm_url": "http://127.0.0.1:9/v1", "llm_model": "far"}
    model = make_llm(settings.model_copy(update=named), HashEncoder())
    assert isinstance(model, OpenAICompatibleModel)
    assert (model.name, model.tokenizer_name) == ("far", "hash-256")
    model.close()
    assert make_service(**named).llm_name() == "far"
    for left_out in ("llm_url", "llm_model"):
        with pytest.raises(ConfigError, match="RECALLD_LLM_URL and RECALLD_LLM_MODEL must be set"):
            make_llm(settings.model_copy(update=named | {left_out: None}), HashEncoder())


def test_the_language_model_is_made_once_counts_tokens_and_is_closed_with_the_service(make_service: Make) -> None:
    model = ScriptedModel(["Hello."])
    service = make_service(Parts(llm=model))
    assert service.llm() is service.llm() is model
    counter = service.token_counter()
    assert (counter.name, counter.count("three words here")) == ("words", model.count_tokens("three words here"))
    service.close()
    with pytest.raises(Unavailable, match="closed"):
        model.generate([], None)  # type: ignore[arg-type]


def test_a_new_instance_has_the_default_namespace_and_one_with_keys_keeps_its_own(make_service: Make) -> None:
    first = make_service()
    with first.database.read() as connection:
        assert access.list_namespaces(connection) == ["default"]
    with first.database.write() as connection:
        access.ensure_namespace(connection, "acme", first.clock)
    again = make_service()
    with again.database.read() as connection:
        assert access.list_namespaces(connection) == ["acme", "default"]


def test_upkeep_drops_replies_whose_time_has_run_out(make_service: Make, clock: SetClock) -> None:
    service = make_service(Parts(clock=clock), idempotency_hours=2)
    reply = access.StoredReply(201, {})
    with service.database.write() as connection:
        access.keep_reply(connection, WHO, "old", "digest", reply, [], clock)
        clock.advance(hours=1)
        access.keep_reply(connection, WHO, "new", "digest", reply, [], clock)
    clock.advance(hours=1, seconds=1)
    service.upkeep()
    with service.database.write() as connection:
        kept = [
            access.find_reply(connection, WHO, key, "digest", SetClock(), 10_000) is not None for key in ("old", "new")
        ]
    assert kept == [False, True]


def test_closing_writes_what_waits_lets_go_of_the_folder_and_can_be_repeated(make_service: Make) -> None:
    service = make_service()
    assert service.folder.hold("http://127.0.0.1:1") is True
    service.worker.start()
    with service.write_store() as store:
        service.memories.add(store, Principal("default"), [Item("one")])
    service.close()
    service.close()
    again = make_service()
    assert again.folder.holder() is None
    assert again.consistency.verify().clean


def test_a_service_imports_no_package_that_it_does_not_use(tmp_path: Path) -> None:
    slow = {"torch", "gguf", "onnxruntime", "sentence_transformers", "transformers", "fastapi", "huggingface_hub"}
    code = (
        "import sys\nfrom recalld.bootstrap import Service\nfrom recalld.core.config import load_settings\n"
        f"Service(load_settings()).close()\nprint(*sorted({slow!r} & sys.modules.keys()))\n"
    )
    for encoder, used in (("hash", "\n"), ("minilm", "onnxruntime\n")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(tmp_path, RECALLD_ENCODER=encoder),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == used


def test_nothing_is_left_or_told_outside_the_data_folder(tmp_path: Path) -> None:
    code = (
        "from recalld.bootstrap import Service\nfrom recalld.core.config import load_settings\n"
        "service = Service(load_settings())\nprint(service.encoder.encode(['hello']).shape)\nservice.close()\n"
    )
    places = {name: tmp_path / name for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    for place in places.values():
        place.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path, **{name: str(place) for name, place in places.items()}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "(1, 384)\n"
    # ONNX Runtime's telemetry would keep a session, a device's id and events there.
    assert [list(place.rglob("*")) for place in places.values()] == [[], [], []]


def test_upkeep_merges_segments_and_leaves_a_damaged_index_to_whoever_reads_it(
    make_service: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service()
    with service.write_store() as store:
        for name in ("default", "other"):
            who = replace(WHO, namespace=name)
            service.memories.add(store, who, [Item("A cat.")])
    service.indexer.apply_all()
    merged = []

    def merge(index: SegmentedVectorIndex, namespace: str) -> int:
        merged.append(namespace)
        raise IndexDamaged("torn")

    monkeypatch.setattr(SegmentedVectorIndex, "merge", merge)
    service.upkeep()
    assert merged == ["default", "other"]
