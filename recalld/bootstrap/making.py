"""The parts of a service that have a choice of implementations, each made as the settings say.

Slow packages (torch, sentence-transformers, onnxruntime) are imported inside the constructor that needs them, so that a
service without them starts without them.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from memory.consolidate import Derives
from memory.context import TokenCounter
from memory.derive import parsed
from memory.derive.episodes import FirstPersonEpisodes
from memory.derive.refined import Refined
from memory.derive.summaries import SessionSummaries, SummarySettings
from memory.derive.topics import TopicSummaries
from memory.knowledge import Knowledge
from memory.segments import Vectors
from recalld.core.clock import Clock
from recalld.core.config import Settings, switch_off_telemetry
from recalld.core.errors import ConfigError, FeatureNotInstalled, ModelMissing
from recalld.core.ids import IdSource
from recalld.llm.ports import LanguageModel
from recalld.llm.remote import OpenAICompatibleModel
from recalld.models.folder import path_of
from retrieval.encode_hash import HashEncoder
from retrieval.ports import Encoder


def make_knowledge(settings: Settings, clock: Clock, ids: IdSource) -> Knowledge:
    """What learns facts: by rule, and by parser where `settings.parser` says so.

    Raises:
        FeatureNotInstalled: the parser is not.
    """
    if settings.parser == "none":
        return Knowledge(clock, ids)
    if not parsed.is_installed():
        raise FeatureNotInstalled("parser = spacy needs a package: pip install 'recalld[parser]'")
    return Knowledge(clock, ids, parsed.ParsedFacts().read_both, parsed.DERIVER)


def make_derivers(settings: Settings, encoder: Encoder, vectors: Vectors) -> tuple[Derives, ...]:
    """What consolidation derives, in this order."""
    length = SummarySettings(tokens_max=settings.summary_tokens)
    summaries = SessionSummaries(encoder.count_tokens, length)
    topics = TopicSummaries(encoder.count_tokens, vectors, length)
    return (summaries, topics, FirstPersonEpisodes(), Refined())


def make_encoder(settings: Settings) -> Encoder:
    """The encoder that `settings.encoder` names.

    Raises:
        ConfigError: there is no such encoder.
        FeatureNotInstalled: its extra is not installed.
    """
    name, _, argument = settings.encoder.partition(":")
    makers: dict[str, Callable[[], Encoder]] = {
        "minilm": lambda: _minilm(settings.encoder_threads),
        "hash": HashEncoder,
        "st": lambda: _sentence_transformers(argument),
    }
    if name not in makers or (name == "st") != bool(argument):
        raise ConfigError("encoder: must be minilm, hash, or st:NAME_OR_FOLDER")
    return makers[name]()


def _minilm(threads: int) -> Encoder:
    switch_off_telemetry()
    from retrieval.encode_onnx import OnnxEncoder, OnnxSettings

    return OnnxEncoder(OnnxSettings(threads=threads))


def _sentence_transformers(name: str) -> Encoder:
    if find_spec("sentence_transformers") is None:
        raise FeatureNotInstalled("the encoder st: needs sentence-transformers: pip install 'recalld[st]'")
    from retrieval.encode_st import SentenceTransformersEncoder

    return SentenceTransformersEncoder(name)


def make_llm(settings: Settings, encoder: Encoder) -> LanguageModel:
    """The language model that `settings.llm` names; see `Service.llm`."""
    if settings.llm == "openai":
        if not settings.llm_url or not settings.llm_model:
            raise ConfigError("llm: with `openai`, RECALLD_LLM_URL and RECALLD_LLM_MODEL must be set")
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        return OpenAICompatibleModel(
            base_url=settings.llm_url,
            model=settings.llm_model,
            api_key=key,
            timeout_s=settings.llm_timeout_s,
            context_tokens_max=settings.llm_context_tokens,
            counter=encoder.count_tokens,
            counter_name=encoder.name,
        )
    path = local_weights(settings)
    from recalld.llm.engine import EngineSettings, LocalModel

    # One engine serves every namespace: what it kept of one prompt must not show in the timing of another's.
    engine = EngineSettings(
        threads=settings.llm_threads, context_tokens_max=settings.llm_context_tokens, reuse_prefix=False
    )
    return LocalModel.load(path, engine, settings.llm)


def make_token_counter(settings: Settings, encoder: Encoder) -> TokenCounter:
    """How tokens are counted while the language model is not loaded: by its tokenizer alone, or by the encoder's."""
    try:
        path = local_weights(settings)
    except (FeatureNotInstalled, ModelMissing):
        return TokenCounter(encoder.name, encoder.count_tokens)
    from recalld.llm.gguf_file import GGUFFile
    from recalld.llm.tokenizer import ChatTokenizer

    tokenizer = ChatTokenizer(GGUFFile.open(path))
    return TokenCounter(tokenizer.name, lambda text: len(tokenizer.encode(text)))


def local_weights(settings: Settings) -> Path:
    """Where the weights of the local model are, if it can be loaded; see `Service.llm` for the errors."""
    if settings.llm in ("none", "openai"):
        raise FeatureNotInstalled(f"there is no local model: RECALLD_LLM is `{settings.llm}`")
    if any(find_spec(package) is None for package in ("torch", "gguf", "jinja2")):
        raise FeatureNotInstalled(
            "the local model needs torch: pip install 'recalld[llm]' (on Linux without a GPU, take PyTorch's CPU"
            " wheels: https://pytorch.org/get-started/locally/); or set RECALLD_LLM=openai and RECALLD_LLM_URL"
        )
    return path_of(settings.models_dir, settings.llm)
