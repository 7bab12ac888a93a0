"""The local language model: a GGUF file run in this process by `recalld.llm.model`, no server and no key needed.

One generation at a time: a lock that the iterator holds from its first chunk until it ends or is closed. The keys and
values of the last conversation stay in memory, and a prompt that begins with the same tokens starts after them
(`Usage.cached_tokens`): the same reply up to rounding, since a token's keys depend only on the tokens before it. What
is kept leaves memory with the next generation that does not share it, or with `drop_cache`, which whoever erases
memories calls.

Invariants: `_ids` are the tokens whose rows `_cache` holds; both change only under the lock. Nothing yields inside
`torch.inference_mode`, which is a property of the thread and would leak to the caller.
"""

import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from recalld.core.errors import InvalidInput, Unavailable
from recalld.llm.gguf_file import GGUFFile
from recalld.llm.model import KVCache, LlamaModel, ModelConfig, Weights
from recalld.llm.ports import ChatMessage, Chunk, FinishReason, GenerationSettings, Usage
from recalld.llm.sampling import choose
from recalld.llm.stops import StopStrings
from recalld.llm.tokenizer import ChatTokenizer, TextStream

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the local model runs.

    Attributes:
        dtype: of weights and cache.
        threads: of torch, for the whole process; None leaves them as they are.
        context_tokens_max: a cap below the model's own context; None is the model's own.
        prefill_tokens_max: a prompt is read in pieces of so many tokens, which bounds memory.
        reuse_prefix: keep the last conversation's keys and values for a prompt that begins alike.
        wait_s_max: how long a generation waits for the one before it.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int | None = None
    context_tokens_max: int | None = None
    prefill_tokens_max: int = 512
    reuse_prefix: bool = True
    wait_s_max: float = 120.0


class LocalModel:
    """A `LanguageModel` over a model and its tokenizer."""

    def __init__(self, name: str, model: LlamaModel, tokenizer: ChatTokenizer, settings: EngineSettings) -> None:
        self._name = name
        self._model: LlamaModel | None = model
        self._tokenizer = tokenizer
        self._settings = settings
        self._context = min(model.config.context, settings.context_tokens_max or model.config.context)
        self._lock = threading.Lock()
        self._cache: KVCache | None = None
        self._ids: list[int] = []

    @classmethod
    def load(cls, path: Path, settings: EngineSettings, name: str | None = None) -> "LocalModel":
        """Read a GGUF file of the llama architecture.

        Args:
            name: what the model is called; None: as its file.

        Raises:
            ModelMissing: there is no such file.
            ConfigError: the file is damaged or needs something that is not supported; says what.
        """
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        file = GGUFFile.open(path)
        config = ModelConfig.read(file)
        tokenizer = ChatTokenizer(file)
        if tokenizer.vocabulary_size != config.vocabulary:
            raise file.refusal(f"is damaged: {tokenizer.vocabulary_size} tokens, {config.vocabulary} expected")
        weights = Weights.read(file, config, _DTYPES[settings.dtype])
        return cls(name or path.stem, LlamaModel(config, weights), tokenizer, settings)

    @property
    def name(self) -> str:
        return self._name

    @property
    def context_tokens_max(self) -> int:
        return self._context

    @property
    def tokenizer_name(self) -> str:
        return self._tokenizer.name

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text))

    def count_prompt_tokens(self, messages: Sequence[ChatMessage]) -> int:
        return len(self._tokenizer.encode_prompt(messages))

    def generate(self, messages: Sequence[ChatMessage], settings: GenerationSettings) -> Iterator[Chunk]:
        """See `LanguageModel.generate`. The input is checked at the call, the work begins at the first chunk.

        Raises:
            Unavailable: closed, or another generation took longer than `wait_s_max`.
        """
        self._open_model()
        prompt = self._tokenizer.encode_prompt(messages)
        if len(prompt) >= self._context:
            raise InvalidInput.of(
                "messages",
                f"the prompt has {len(prompt)} tokens and must be shorter than the context of {self._context} tokens",
                self._context,
            )
        return self._generate(prompt, settings)

    def drop_cache(self) -> None:
        """Forget the last conversation's keys and values (waits for a generation in progress).

        Raises:
            Unavailable: the generation in progress took longer than `wait_s_max`.
        """
        self._acquire()
        self._forget()
        self._lock.release()

    def close(self) -> None:
        """Give the memory back; a generation in progress ends with `Unavailable` at its next token."""
        self._model = None
        if self._lock.acquire(blocking=False):
            self._forget()
            self._lock.release()

    def _open_model(self) -> LlamaModel:
        if self._model is None:
            raise Unavailable("the language model is closed")
        return self._model

    def _acquire(self) -> None:
        if not self._lock.acquire(timeout=self._settings.wait_s_max):
            raise Unavailable(f"the language model was busy for {self._settings.wait_s_max:g} s")

    def _forget(self) -> None:
        self._cache = None
        self._ids = []

    def _generate(self, prompt: list[int], settings: GenerationSettings) -> Iterator[Chunk]:
        self._acquire()
        try:
            cached, logits = self._prefill(prompt)
            stream, stops = TextStream(self._tokenizer), StopStrings(settings.stop)
            uniform = random.Random(settings.seed)
            finish: FinishReason = "length"
            used = 0
            while True:
                token = choose(logits, settings, uniform.random())
                used += 1
                if token in self._tokenizer.stop_ids:
                    finish = "stop"
                    break
                if text := stops.push(stream.push(token)):
                    yield Chunk(text)
                if stops.found or used == settings.tokens_max or len(prompt) + used == self._context:
                    break
                logits = self._read([token])
            text = stops.push(stream.flush()) + stops.flush()
            yield Chunk(text, "stop" if stops.found else finish, Usage(len(prompt), used, cached))
        finally:
            if self._model is None or not self._settings.reuse_prefix:
                self._forget()
            self._lock.release()

    def _prefill(self, prompt: list[int]) -> tuple[int, Tensor]:
        """Read the prompt after what the cache shares with it; returns how much that was, and the last logits `[V]`."""
        # The last token is always read, for its logits.
        shared = _shared(self._ids, prompt[:-1])
        del self._ids[shared:]
        piece = self._settings.prefill_tokens_max
        for start in range(shared, len(prompt), piece):
            logits = self._read(prompt[start : start + piece])
        return shared, logits

    def _read(self, tokens: list[int]) -> Tensor:
        """Read tokens after those of `_ids`, and add them to these; returns the last one's logits `[V]` float32."""
        model = self._open_model()
        if self._cache is None:
            self._cache = KVCache(model.config, model.dtype)
        start = len(self._ids)
        self._cache.truncate(start)
        with torch.inference_mode():
            positions = torch.arange(start, start + len(tokens))
            hidden = model.forward(torch.tensor([tokens]), positions[None], self._cache)
            logits = model.logits(hidden[0, -1])
        self._ids += tokens
        return logits


def _shared(first: Sequence[int], second: Sequence[int]) -> int:
    """The length of the longest common beginning."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
