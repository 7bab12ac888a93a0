"""Any sentence-transformers model as the encoder: the `st` extra, on torch, for those who want another model.

Pooling and the longest input are the model's own; vectors are brought to unit length. The fingerprint is over the
weights, the vocabulary and what the modules say of themselves, so another revision is another encoder, whatever its
name.

Source: Reimers and Gurevych, "Sentence-BERT" (EMNLP 2019); https://sbert.net.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recalld.core.errors import FeatureNotInstalled, ModelMissing
from retrieval.ports import Floats, TokenVectors

try:
    from sentence_transformers import SentenceTransformer
except ImportError as error:
    raise FeatureNotInstalled("sentence-transformers is not installed; run `pip install 'recalld[st]'`") from error


@dataclass(frozen=True, slots=True)
class SentenceTransformersSettings:
    """How the model runs.

    Attributes:
        device: as torch names it.
        batch_texts: texts in one run.
        offline: never ask the model hub, use what is on this machine.
    """

    device: str = "cpu"
    batch_texts: int = 32
    offline: bool = False


class SentenceTransformersEncoder:
    """See the module's docstring, and `Encoder`."""

    def __init__(
        self, path_or_name: str, settings: SentenceTransformersSettings = SentenceTransformersSettings()
    ) -> None:
        """Load a model.

        Args:
            path_or_name: its folder, or its name on the model hub.

        Raises:
            ModelMissing: there is none.
        """
        self._name = path_or_name
        self._settings = settings
        local = settings.offline or Path(path_or_name).is_absolute()
        try:
            self._model = SentenceTransformer(path_or_name, device=settings.device, local_files_only=local)
        except (OSError, ValueError) as error:
            raise ModelMissing(f"{path_or_name}: no sentence-transformers model that can be loaded") from error
        self._fingerprint = _fingerprint(self._model)
        self._dimensions = int(self._encode([""]).shape[1])

    @property
    def name(self) -> str:
        return Path(self._name).name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @property
    def dimensions(self) -> int:
        return self._dimensions

    def encode(self, texts: Sequence[str]) -> Floats:
        if not texts:
            return np.zeros((0, self._dimensions), dtype=np.float32)
        return self._encode(texts)

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return self.encode_both(texts)[1]

    def encode_both(self, texts: Sequence[str]) -> tuple[Floats, list[TokenVectors]]:
        tokenizer = self._model.tokenizer
        outer = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        pooled = np.zeros((len(texts), self._dimensions), dtype=np.float32)
        found = []
        outputs: Any = self._model.encode(
            list(texts), batch_size=self._settings.batch_texts, output_value=None, show_progress_bar=False
        )
        for number, output in enumerate(outputs):
            whole = output["sentence_embedding"].float().cpu().numpy()
            pooled[number] = whole / np.linalg.norm(whole)
            ids = output["input_ids"].tolist()
            kept = [place for place, token in enumerate(ids) if token not in outer]
            vectors = output["token_embeddings"].float().cpu().numpy()[kept]
            tokens = tokenizer.convert_ids_to_tokens([ids[place] for place in kept])
            found.append(TokenVectors(tuple(tokens), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)))
        return pooled, found

    def count_tokens(self, text: str) -> int:
        return len(self._model.tokenizer.encode(text, add_special_tokens=False, verbose=False))

    def _encode(self, texts: Sequence[str]) -> Floats:
        vectors: Floats = self._model.encode(
            list(texts), batch_size=self._settings.batch_texts, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors.astype(np.float32, copy=False)


def _fingerprint(model: SentenceTransformer) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
    modules: list[Any] = list(model.children())
    settings = [(type(module).__name__, module.get_config_dict()) for module in modules]
    described = [settings, model.max_seq_length, model.tokenizer.get_vocab()]
    digest.update(json.dumps(described, sort_keys=True, default=str).encode())
    return digest.hexdigest()
