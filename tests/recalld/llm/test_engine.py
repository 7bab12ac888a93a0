"""The local engine: its greedy reply against transformers' own, its cache, its lock and its stops."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gguf", reason="the llm extra (gguf) is not installed")
pytest.importorskip("torch", reason="the llm extra (torch) is not installed")

import torch

from recalld.core.errors import InvalidInput, Unavailable
from recalld.llm.engine import EngineSettings, LocalModel
from recalld.llm.ports import ChatMessage, Chunk, GenerationSettings

HELLO = [ChatMessage("user", "The lazy dog")]
Variant = Callable[..., Path]


@pytest.fixture
def model(tiny_path: Path) -> LocalModel:
    return LocalModel.load(tiny_path, EngineSettings(wait_s_max=0.05))


def say(model: LocalModel, messages: list[ChatMessage] = HELLO, **settings: Any) -> tuple[str, Chunk]:
    """The whole reply and the last chunk."""
    chunks = list(model.generate(messages, GenerationSettings(**settings)))
    return "".join(chunk.text for chunk in chunks), chunks[-1]


def greedy_ids(reference: Any, prompt: list[int], count: int) -> list[int]:
    """What transformers says, without a cache."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(reference(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_a_greedy_reply_is_that_of_transformers(model: LocalModel, tiny: Any, reference_of: Any) -> None:
    prompt = model._tokenizer.encode_prompt(HELLO)
    wanted = greedy_ids(reference_of(tiny), prompt, 24)
    assert not model._tokenizer.stop_ids & set(wanted)
    text, last = say(model, tokens_max=24)
    assert text == model._tokenizer.decode(wanted)
    assert last.usage is not None
    assert (last.finish_reason, last.usage.prompt_tokens, last.usage.completion_tokens) == ("length", len(prompt), 24)


def test_an_end_token_ends_the_reply_and_is_not_shown(tiny: Any, variant: Variant, reference_of: Any) -> None:
    base = LocalModel.load(variant(), EngineSettings())
    wanted = greedy_ids(reference_of(tiny), base._tokenizer.encode_prompt(HELLO), 12)
    end = next(index for index in range(2, 12) if wanted[index] not in wanted[:index])
    text, last = say(LocalModel.load(variant(eos=wanted[end]), EngineSettings()), tokens_max=24)
    assert text == base._tokenizer.decode(wanted[:end])
    assert last.finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.completion_tokens == end + 1


def test_a_prompt_read_in_small_pieces_gets_the_same_reply(model: LocalModel, tiny_path: Path) -> None:
    pieces = LocalModel.load(tiny_path, EngineSettings(prefill_tokens_max=3))
    assert say(pieces, tokens_max=24)[0] == say(model, tokens_max=24)[0]


def test_a_prompt_that_begins_alike_starts_after_the_shared_tokens(model: LocalModel, tiny_path: Path) -> None:
    first, last = say(model, tokens_max=8)
    assert last.usage is not None
    assert last.usage.cached_tokens == 0
    longer = [*HELLO, ChatMessage("assistant", first), ChatMessage("user", "and the quick brown fox?")]
    again, last = say(model, longer, tokens_max=12)
    shared = model._tokenizer.encode_prompt(HELLO)
    assert last.usage is not None
    assert len(shared) <= last.usage.cached_tokens < last.usage.prompt_tokens
    fresh, last = say(LocalModel.load(tiny_path, EngineSettings(reuse_prefix=False)), longer, tokens_max=12)
    assert again == fresh
    assert last.usage is not None
    assert last.usage.cached_tokens == 0


def test_the_same_prompt_reads_its_last_token_only(model: LocalModel) -> None:
    first, _ = say(model, tokens_max=12)
    again, last = say(model, tokens_max=12)
    assert again == first
    assert last.usage is not None
    assert last.usage.cached_tokens == last.usage.prompt_tokens - 1


def test_a_dropped_cache_keeps_nothing(model: LocalModel) -> None:
    say(model, tokens_max=4)
    assert model._cache is not None
    model.drop_cache()
    assert (model._cache, model._ids) == (None, [])
    _, last = say(model, tokens_max=4)
    assert last.usage is not None
    assert last.usage.cached_tokens == 0


def test_without_reuse_nothing_is_kept_after_a_reply(tiny_path: Path) -> None:
    model = LocalModel.load(tiny_path, EngineSettings(reuse_prefix=False))
    say(model, tokens_max=4)
    assert (model._cache, model._ids) == (None, [])


def test_the_ids_are_the_rows_of_the_cache_after_a_reply_cut_short(model: LocalModel) -> None:
    whole, _ = say(model, tokens_max=10)
    chunks = model.generate(HELLO, GenerationSettings(tokens_max=10))
    next(chunks)
    chunks.close()
    assert model._cache is not None
    assert model._cache.length == len(model._ids)
    assert say(model, tokens_max=10)[0] == whole


def test_one_generation_at_a_time_and_a_closed_iterator_lets_the_next_go(model: LocalModel) -> None:
    first = model.generate(HELLO, GenerationSettings(tokens_max=10))
    next(first)
    second = model.generate(HELLO, GenerationSettings(tokens_max=10))
    with pytest.raises(Unavailable, match=r"busy for 0\.05 s"):
        next(second)
    with pytest.raises(Unavailable, match="busy"):
        model.drop_cache()
    first.close()
    assert say(model, tokens_max=10)[1].finish_reason == "length"


def test_an_iterator_that_never_began_holds_nothing(model: LocalModel) -> None:
    waiting = model.generate(HELLO, GenerationSettings(tokens_max=4))
    assert say(model, tokens_max=4)[1].finish_reason == "length"
    assert "".join(chunk.text for chunk in waiting) == say(model, tokens_max=4)[0]


def test_generations_of_several_threads_do_not_mix(tiny_path: Path) -> None:
    model = LocalModel.load(tiny_path, EngineSettings(wait_s_max=60))
    prompts = [[ChatMessage("user", f"number {n} and the fox")] for n in range(4)]
    wanted = [say(model, prompt, tokens_max=10)[0] for prompt in prompts]
    found: dict[int, list[str]] = {n: [] for n in range(4)}

    def work(n: int) -> None:
        for _ in range(3):
            found[n].append(say(model, prompts[n], tokens_max=10)[0])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [wanted[n]] * 3 for n in range(4)}


def test_an_iterator_may_move_between_threads(model: LocalModel) -> None:
    whole, _ = say(model, tokens_max=6)
    chunks = model.generate(HELLO, GenerationSettings(tokens_max=6))
    texts: list[str] = []
    while True:
        thread = threading.Thread(target=lambda: texts.extend(chunk.text for chunk in [next(chunks, None)] if chunk))
        before = len(texts)
        thread.start()
        thread.join()
        if len(texts) == before:
            break
    assert "".join(texts) == whole
    assert say(model, tokens_max=6)[0] == whole


def test_the_callers_thread_is_not_left_in_inference_mode(model: LocalModel) -> None:
    for _ in model.generate(HELLO, GenerationSettings(tokens_max=3)):
        assert not torch.is_inference_mode_enabled()


def test_closing_ends_a_generation_in_progress(model: LocalModel) -> None:
    chunks = model.generate(HELLO, GenerationSettings(tokens_max=10))
    next(chunks)
    model.close()
    with pytest.raises(Unavailable, match="closed"):
        list(chunks)
    assert model._cache is None


def test_the_end_of_the_context_ends_the_reply(tiny_path: Path) -> None:
    model = LocalModel.load(tiny_path, EngineSettings(context_tokens_max=40))
    assert model.context_tokens_max == 40
    prompt = model.count_prompt_tokens(HELLO)
    _, last = say(model, tokens_max=1000)
    assert last.usage is not None
    assert (last.finish_reason, last.usage.completion_tokens) == ("length", 40 - prompt)


def test_a_prompt_beyond_the_cap_is_refused_at_the_call(tiny_path: Path) -> None:
    model = LocalModel.load(tiny_path, EngineSettings(context_tokens_max=40))
    with pytest.raises(InvalidInput, match="must be shorter than the context of 40 tokens") as raised:
        model.generate([ChatMessage("user", "fox " * 40)], GenerationSettings())
    assert raised.value.fields[0].limit == 40
    assert "fox" not in str(raised.value)


def test_a_cap_above_the_models_own_context_changes_nothing(tiny_path: Path) -> None:
    assert LocalModel.load(tiny_path, EngineSettings(context_tokens_max=5000)).context_tokens_max == 96


def test_a_seed_repeats_a_sampled_reply_and_another_changes_it(model: LocalModel) -> None:
    def sampled(seed: int) -> str:
        return say(model, tokens_max=16, temperature=1.0, top_p=0.95, top_k=50, seed=seed)[0]

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(5)}) == 5


def test_bfloat16_replies_and_counts_alike(tiny_path: Path) -> None:
    model = LocalModel.load(tiny_path, EngineSettings(dtype="bfloat16"))
    text, last = say(model, tokens_max=8)
    assert (text, last) == (*say(LocalModel.load(tiny_path, EngineSettings()), tokens_max=8),)


@pytest.mark.slow
def test_the_real_model_knows_the_capital_of_france(real_path: Path) -> None:
    model = LocalModel.load(real_path, EngineSettings())
    text, last = say(model, [ChatMessage("user", "What is the capital of France?")], tokens_max=24)
    assert (text, last.finish_reason) == ("The capital of France is Paris.", "stop")
    assert (model.name, model.tokenizer_name) == ("SmolLM2-135M-Instruct.Q4_1", "smollm2/smollm")
