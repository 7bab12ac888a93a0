"""A llama-architecture transformer in plain torch: the reference that every faster version is compared with.

RMSNorm, rotary positions, grouped-query attention, SwiGLU, and an output layer that may be tied to the embedding. All
sizes come from the file's metadata; a file with a part that is not computed here (rope scaling, experts, biases, a
sliding window) is refused by name. The residual stream, norms, rotation and logits are float32 under any dtype.

Two things are done once at load: query and key rows, which GGUF stores for rotation of adjacent pairs, are put back
into the order of halves (`x[i]` turns with `x[i + D/2]`), and q/k/v and gate/up are joined into one matrix each.

Invariants: row `s` of a cache holds the token that was s-th to enter it, and attention is causal by rows; the rotation
is by `positions`, which a caller may choose otherwise. `linear` and `attention` are the only two heavy operations.
B batch, T new tokens, S rows of cache, H heads, K key/value heads, D size of a head, E width, V vocabulary.

Sources: Touvron et al., LLaMA (arXiv:2302.13971), section 2.2; Su et al., RoFormer (arXiv:2104.09864), section 3.2;
Ainslie et al., GQA (arXiv:2305.13245); llama.cpp, conversion/llama.py (`permute`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from recalld.llm.gguf_file import GGUFFile

_KNOWN_KEYS = frozenset(
    {
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.attention.key_length",
        "llama.attention.layer_norm_rms_epsilon",
        "llama.attention.value_length",
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.rope.dimension_count",
        "llama.rope.freq_base",
        "llama.vocab_size",
    }
)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The sizes of a model.

    Attributes:
        layers: transformer blocks.
        width: E, of the residual stream.
        feed_forward: the inner width of SwiGLU.
        heads: H, query heads.
        heads_kv: K, key and value heads; H is a multiple of it.
        head_size: D.
        vocabulary: V.
        context: the most tokens that the model was trained for.
        rope_base: the base of the rotation's frequencies.
        norm_epsilon: added to the mean square under the root.
    """

    layers: int
    width: int
    feed_forward: int
    heads: int
    heads_kv: int
    head_size: int
    vocabulary: int
    context: int
    rope_base: float
    norm_epsilon: float

    @classmethod
    def read(cls, file: GGUFFile) -> "ModelConfig":
        """The sizes that the file's metadata states.

        Raises:
            ConfigError: another architecture, a feature that is not computed here, or sizes that cannot be.
        """
        architecture = file.value("general.architecture", str)
        if architecture != "llama":
            raise file.refusal(f"has the unsupported architecture {architecture}")
        if file.value("llama.rope.scaling.type", str, "none") != "none" or file.has_tensor("rope_freqs.weight"):
            raise file.refusal("uses rope scaling, which is not supported")
        for key in file.metadata:
            if key.startswith("llama.") and key not in _KNOWN_KEYS and key != "llama.rope.scaling.type":
                raise file.refusal(f"uses a feature that is not supported: {key}")
        width = file.value("llama.embedding_length", int)
        heads = file.value("llama.attention.head_count", int)
        heads_kv = file.value("llama.attention.head_count_kv", int, heads)
        if min(width, heads, heads_kv) < 1 or width % heads or heads % heads_kv:
            raise file.refusal(f"is damaged: {width} wide, {heads} heads, {heads_kv} kv heads")
        head_size = file.value("llama.attention.key_length", int, width // heads)
        same = ("llama.attention.value_length", "llama.rope.dimension_count")
        if head_size % 2 or any(file.value(key, int, head_size) != head_size for key in same):
            raise file.refusal("has head sizes that are not supported")
        return cls(
            layers=file.value("llama.block_count", int),
            width=width,
            feed_forward=file.value("llama.feed_forward_length", int),
            heads=heads,
            heads_kv=heads_kv,
            head_size=head_size,
            vocabulary=file.value("llama.vocab_size", int, len(file.values("tokenizer.ggml.tokens", str))),
            context=file.value("llama.context_length", int),
            rope_base=file.value("llama.rope.freq_base", float, 10000.0),
            norm_epsilon=file.value("llama.attention.layer_norm_rms_epsilon", float),
        )


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One block. Norms `[E]` are float32, matrices `[out, in]` of the model's dtype; q, k, v are rows of `qkv`."""

    attention_norm: Tensor
    qkv: Tensor
    attention_output: Tensor
    feed_forward_norm: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Weights:
    """A whole model: `embedding` and `output` are `[V, E]`, and one tensor where they are tied."""

    embedding: Tensor
    layers: Sequence[LayerWeights]
    norm: Tensor
    output: Tensor

    @classmethod
    def read(cls, file: GGUFFile, config: ModelConfig, dtype: torch.dtype) -> "Weights":
        """Dequantize every tensor of the file into `dtype`.

        Raises:
            ConfigError: a tensor is missing, damaged, or not known here.
        """

        def matrix(name: str, rows: int, columns: int) -> Tensor:
            return torch.from_numpy(file.tensor(f"{name}.weight", (rows, columns))).to(dtype)

        def norm(name: str) -> Tensor:
            return torch.from_numpy(file.tensor(f"{name}.weight", (config.width,)))

        width, inner, size = config.width, config.feed_forward, config.head_size
        q_rows, kv_rows = config.heads * size, config.heads_kv * size
        layers = []
        for index in range(config.layers):
            block = f"blk.{index}"
            query = halves_from_pairs(matrix(f"{block}.attn_q", q_rows, width), size)
            key = halves_from_pairs(matrix(f"{block}.attn_k", kv_rows, width), size)
            value = matrix(f"{block}.attn_v", kv_rows, width)
            gate, up = (matrix(f"{block}.ffn_{which}", inner, width) for which in ("gate", "up"))
            layers.append(
                LayerWeights(
                    attention_norm=norm(f"{block}.attn_norm"),
                    qkv=torch.cat([query, key, value]),
                    attention_output=matrix(f"{block}.attn_output", width, q_rows),
                    feed_forward_norm=norm(f"{block}.ffn_norm"),
                    gate_up=torch.cat([gate, up]),
                    down=matrix(f"{block}.ffn_down", width, inner),
                )
            )
        embedding = matrix("token_embd", config.vocabulary, width)
        output = matrix("output", config.vocabulary, width) if file.has_tensor("output.weight") else embedding
        weights = cls(embedding, layers, norm("output_norm"), output)
        if unread := file.unread():
            raise file.refusal(f"has tensors that are not supported, as {unread[0]}")
        return weights


class KVCache:
    """The keys and values of what a model has read: two tensors `[L, B, K, S, D]`, preallocated, that grow by doubling.

    Attributes:
        length: rows in use; the rows after it are free.
    """

    def __init__(self, config: ModelConfig, dtype: torch.dtype, batch: int = 1, capacity: int = 256) -> None:
        shape = (config.layers, batch, config.heads_kv, capacity, config.head_size)
        self.keys = torch.empty(shape, dtype=dtype)
        self.values = torch.empty(shape, dtype=dtype)
        self.length = 0

    @property
    def capacity(self) -> int:
        """Rows that fit without growing."""
        return self.keys.shape[3]

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows in all, keeping those in use."""
        if rows <= self.capacity:
            return
        capacity = max(rows, 2 * self.capacity)
        for name in ("keys", "values"):
            old: Tensor = getattr(self, name)
            new = old.new_empty((*old.shape[:3], capacity, old.shape[4]))
            new[..., : self.length, :] = old[..., : self.length, :]
            setattr(self, name, new)

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write `[B, K, T, D]` after the rows in use; returns the layer's `[B, K, S, D]` up to and with them."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def truncate(self, rows: int) -> None:
        """Keep the first `rows` rows only."""
        self.length = min(self.length, rows)


class LlamaModel:
    """Weights and the forward pass. Holds no state between calls: the cache is the caller's."""

    def __init__(self, config: ModelConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self.dtype = weights.embedding.dtype
        exponents = torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size
        self._frequencies = 1.0 / (config.rope_base**exponents)

    def forward(self, token_ids: Tensor, positions: Tensor, cache: KVCache | None = None) -> Tensor:
        """Read new tokens; with a cache, after what it holds, and they are added to it.

        Args:
            token_ids: `[B, T]` int64.
            positions: `[B, T]` int64, by which keys and queries are rotated.

        Returns:
            hidden states `[B, T, E]` float32 after the last norm.
        """
        config, weights = self.config, self.weights
        batch, new = token_ids.shape
        start = 0 if cache is None else cache.length
        if cache is not None:
            cache.reserve(start + new)
        angles = positions[..., None].float() * self._frequencies
        cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
        hidden = functional.embedding(token_ids, weights.embedding).float()
        for index, layer in enumerate(weights.layers):
            normed = rms_norm(hidden, layer.attention_norm, config.norm_epsilon).to(self.dtype)
            heads = linear(normed, layer.qkv).view(batch, new, -1, config.head_size).transpose(1, 2)
            query = rotate(heads[:, : config.heads], cosine, sine)
            key = rotate(heads[:, config.heads : -config.heads_kv], cosine, sine)
            value = heads[:, -config.heads_kv :]
            if cache is not None:
                key, value = cache.store(index, key, value)
            mixed = attention(query, key, value).transpose(1, 2).reshape(batch, new, -1)
            hidden = hidden + linear(mixed, layer.attention_output)
            normed = rms_norm(hidden, layer.feed_forward_norm, config.norm_epsilon).to(self.dtype)
            gate, up = linear(normed, layer.gate_up).chunk(2, dim=-1)
            hidden = hidden + linear(functional.silu(gate) * up, layer.down)
        if cache is not None:
            cache.length = start + new
        return rms_norm(hidden, weights.norm, config.norm_epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of every next token, `[..., V]` float32, from hidden states `[..., E]`."""
        return linear(hidden.to(self.dtype), self.weights.output).float()


def linear(inputs: Tensor, weight: Tensor) -> Tensor:
    """`[..., in]` times `[out, in]` -> `[..., out]`."""
    return functional.linear(inputs, weight)


def rms_norm(inputs: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """`[..., E]` float32 divided by its root mean square, times `weight` `[E]`."""
    return functional.rms_norm(inputs, weight.shape, weight, epsilon)


def rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions on `[B, H, T, D]`, with cosine and sine `[B, 1, T, D/2]` float32; keeps the dtype."""
    first, second = states.float().chunk(2, dim=-1)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    return turned.to(states.dtype)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal grouped-query attention.

    Args:
        query: `[B, H, T, D]`, the last T of the S rows.
        key, value: `[B, K, S, D]`.

    Returns:
        `[B, H, T, D]`.
    """
    batch, heads, new, size = query.shape
    groups, rows = key.shape[1], key.shape[2]
    if new == 1:
        # The heads that share a key become the rows of one product, so the keys are not repeated in memory.
        grouped = query.reshape(batch, groups, heads // groups, size)
        return functional.scaled_dot_product_attention(grouped, key, value).view(batch, heads, 1, size)
    if new == rows:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    mask = torch.ones(new, rows, dtype=torch.bool).tril(rows - new)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)


def halves_from_pairs(weight: Tensor, head_size: int) -> Tensor:
    """Rows `[H * D, E]` ordered for rotation of adjacent pairs -> ordered for rotation of halves (undoes `permute`)."""
    rows, columns = weight.shape
    return weight.view(-1, head_size // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
