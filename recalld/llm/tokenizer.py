"""Text to the model's token ids and back, built from what the GGUF file says.

Byte-level BPE as GPT-2 has it: a pre-tokenizer cuts the text, each piece's bytes become printable stand-ins, and the
file's merges join them; the `tokenizers` library does the work. Only ordinary tokens are in its vocabulary, so *no
text whatever encodes to a control token*: `<|im_end|>` in a memory becomes its letters. Control tokens enter a prompt
in one way, where the chat template's own text spells them. Text between two of them is encoded in one go, as the
reference does, because a white space run that spans a content's edge is one token.

A byte that the vocabulary lacks (SmolLM2 lacks six control characters and the unassigned planes 4 to 11) is dropped,
as in the reference implementations.

Source: Radford et al., Language Models are Unsupervised Multitask Learners, section 2.2; pre-tokenizers by name as in
llama.cpp, src/llama-vocab.cpp.
"""

import codecs
import re
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as InOrder

from recalld.llm.chat_template import ChatTemplate
from recalld.llm.gguf_file import GGUFFile
from recalld.llm.ports import ChatMessage

_NORMAL = 1

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def _gpt2() -> PreTokenizer:
    return ByteLevel(add_prefix_space=False)


def _single_digits() -> PreTokenizer:
    return InOrder([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])


def _llama3() -> PreTokenizer:
    return InOrder([Split(Regex(_LLAMA3), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])


# `tokenizer.ggml.pre` -> the pre-tokenizer, and whether a piece that is a token as a whole skips the merges.
_PRE_TOKENIZERS = {
    "gpt-2": (_gpt2, False),
    "smollm": (_single_digits, False),
    "starcoder": (_single_digits, False),
    "refact": (_single_digits, False),
    "llama-bpe": (_llama3, True),
}

# Tokens that end a reply under any model that has them as control tokens, as llama.cpp has it.
_END_NAMES = frozenset({"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>"})


class ChatTokenizer:
    """Encodes contents and prompts, and knows which tokens end a reply.

    Attributes:
        name: what it is called, for callers who state what they count with.
        vocabulary_size: V, control tokens included.
        stop_ids: tokens that end a reply.
    """

    def __init__(self, file: GGUFFile) -> None:
        """Build from the metadata `tokenizer.*`.

        Raises:
            ConfigError: another kind of tokenizer, an unknown pre-tokenizer, no chat template, or torn tables.
        """
        self._file_name = file.name
        kind = file.value("tokenizer.ggml.model", str)
        pre = file.value("tokenizer.ggml.pre", str, "gpt-2")
        if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
            raise file.refusal(f"has an unsupported tokenizer: {kind} with {pre}")
        self._tokens = file.values("tokenizer.ggml.tokens", str)
        types = file.values("tokenizer.ggml.token_type", int)
        if len(types) != len(self._tokens) or len(set(self._tokens)) != len(self._tokens):
            raise file.refusal("is damaged: its token table does not fit its token types")
        self.name = f"{file.value('general.basename', str, kind)}/{pre}"
        self.vocabulary_size = len(self._tokens)
        ordinary = {token: index for index, token in enumerate(self._tokens) if types[index] == _NORMAL}
        self._control = {token: index for index, token in enumerate(self._tokens) if types[index] != _NORMAL}
        make, ignore_merges = _PRE_TOKENIZERS[pre]
        self._bpe = Tokenizer(
            BPE(vocab=ordinary, merges=_merges(file, ordinary), ignore_merges=ignore_merges, fuse_unk=False)
        )
        self._bpe.pre_tokenizer = make()
        longest_first = sorted(self._control, key=lambda token: (-len(token), token))
        self._control_pattern = re.compile("|".join(re.escape(token) for token in longest_first) or "(?!)")
        bos, eos = (self._special(file, f"tokenizer.ggml.{which}_token_id") for which in ("bos", "eos"))
        ends = {eos, self._special(file, "tokenizer.ggml.eot_token_id"), *(self._control.get(n) for n in _END_NAMES)}
        self.stop_ids = frozenset(index for index in ends if index is not None)
        self._template = ChatTemplate(
            file.value("tokenizer.chat_template", str),
            bos_token="" if bos is None else self._tokens[bos],
            eos_token="" if eos is None else self._tokens[eos],
        )
        self._bytes = _token_bytes(self._tokens, ordinary)

    def encode(self, text: str) -> list[int]:
        """The ids of `text` as data: never a control token."""
        return self._bpe.encode(text, add_special_tokens=False).ids

    def encode_prompt(self, messages: Sequence[ChatMessage]) -> list[int]:
        """The ids of the whole prompt, up to where the reply begins.

        Raises:
            InvalidInput: the chat template does not take these messages.
        """
        ids: list[int] = []
        text = ""
        for segment in self._template.render(messages):
            if segment.content:
                text += segment.text
                continue
            end = 0
            for match in self._control_pattern.finditer(segment.text):
                ids += self.encode(text + segment.text[end : match.start()])
                ids.append(self._control[match[0]])
                text, end = "", match.end()
            text += segment.text[end:]
        return ids + self.encode(text)

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that a token stands for, perhaps a part of a character; none for a control token."""
        return self._bytes[token]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`; bytes that are not UTF-8 become U+FFFD."""
        return b"".join(self._bytes[token] for token in tokens).decode("utf-8", errors="replace")

    def _special(self, file: GGUFFile, key: str) -> int | None:
        """The token id under `key`, if there is one."""
        if key not in file.metadata:
            return None
        index = file.value(key, int)
        if not 0 <= index < len(self._tokens):
            raise file.refusal(f"is damaged: {key} is not a token")
        return index


class TextStream:
    """Tokens in, text out, a character held back until its last byte is there.

    The texts, joined, equal `ChatTokenizer.decode` of all tokens.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The text that `token` completes."""
        return self._decoder.decode(self._tokenizer.token_bytes(token))

    def flush(self) -> str:
        """The tokens have ended: U+FFFD for a character that was left incomplete."""
        return self._decoder.decode(b"", final=True)


def _merges(file: GGUFFile, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """The merge rules, each checked: both sides and the result are tokens."""
    merges: list[tuple[str, str]] = []
    for rule in file.values("tokenizer.ggml.merges", str):
        left, _, right = rule.partition(" ")
        if not (left in vocabulary and right in vocabulary and left + right in vocabulary):
            raise file.refusal("is damaged: a merge rule names a token that is not there")
        merges.append((left, right))
    return merges


def _token_bytes(tokens: Sequence[str], ordinary: dict[str, int]) -> list[bytes]:
    """Each token's bytes. GPT-2 writes a printable byte as itself and the others, in order, from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}
    # An ordinary token outside that alphabet (no such file is known) stands for its own text.
    return [
        b""
        if token not in ordinary
        else bytes(byte_of[character] for character in token)
        if all(character in byte_of for character in token)
        else token.encode()
        for token in tokens
    ]
