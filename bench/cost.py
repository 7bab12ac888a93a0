"""What 1,000 turns cost: language model calls and tokens, processor seconds, wall time, and bytes by layer.

- *rules*: the first turns of each chat of BEAM-500K are written, indexed and consolidated as by default. No language
  model is configured, and none is asked: a scripted one that counts stands in its place. Bytes: the texts themselves,
  the database with history, full text and what is derived, the texts that were derived, and the index.
- *scripted*: calls and tokens of facts derived by a model that always replies validly, read in batches of whole
  segments after the noise flag, and one turn a call. The replies are scripted: a fact of one turn in three, the same
  turns either way. What is counted is exact all the same: the prompts are those that any model would be sent, and the
  tokenizer is a real one, the local model's where its weights are here.
- *model*: facts derived by SmolLM2-135M behind llama.cpp's server on some turns of one chat, in batches and one call a
  turn, in the same run; calls and tokens as the server counts them, those of replies that could not be used included
  (a model of this size often fails), but for the last try of a batch that was given up. Left out, with the reason,
  where the server or the weights are missing.
"""

import json
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.datasets import Conversation, Turn, beam, here, locomo
from bench.instance import consolidate
from bench.local_server import CONTEXT_TOKENS, local_server
from bench.runner import Options, say
from memory.context import TokenCounter
from memory.model import Memory, Selection
from recalld.bootstrap import Parts, Service
from recalld.bootstrap.making import make_encoder, make_token_counter
from recalld.core.access import DEFAULT_NAMESPACE, Principal
from recalld.core.config import load_settings
from recalld.core.errors import ConfigError
from recalld.jobs.model import Job
from recalld.jobs.tasks import READ
from recalld.llm.ports import ChatMessage, Chunk, GenerationSettings, Usage
from recalld.llm.scripted import ScriptedModel
from retrieval.encode_hash import HashEncoder

TURNS_A_CHAT, CHATS = 1000, 2
SCRIPTED_TURNS = {"locomo": 1000, "beam-500K": 250}
ONE_IN, QUOTE_WORDS = 3, 6
MODEL_TURNS, MODEL_CHARS = 4, 400
REPLY_TOKENS = 96
BATCH = 100
JOBS_MAX = 10_000


def run(options: Options) -> dict[str, Any]:
    """All parts."""
    chats = beam("500K", options.data)[: options.limit or CHATS]
    turns = [turn for chat in chats for turn in chat.turns[:TURNS_A_CHAT]]
    results: dict[str, Any] = {"rules": _rules(turns, options.encoder)}
    results["scripted"] = _scripted({"locomo": _first_turns(here(locomo)), "beam-500K": turns}, options.encoder)
    said = [turn for turn in chats[0].turns if turn.role == "user" and len(turn.text) <= MODEL_CHARS][:MODEL_TURNS]
    try:
        results["model"] = _model(said)
    except ConfigError as error:
        results["model"] = {"left out": error.detail}
    return results


def _rules(turns: Sequence[Turn], encoder: str) -> dict[str, Any]:
    model = ScriptedModel([])
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        folder = Path(name)
        service = _service(folder, Parts(llm=model), encoder=encoder)
        service.encoder.encode(["warm"])
        wall, processor = time.perf_counter(), time.process_time()
        _write(service, turns)
        service.indexer.apply_all()
        written = time.perf_counter() - wall
        consolidate(service, DEFAULT_NAMESPACE)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        sources, derived = (_all(service, derived) for derived in (False, True))
        service.close()
        files = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    index = sum(size for path, size in files.items() if path.is_relative_to(folder / "index"))
    a_thousand = 1000 / len(turns)
    results = {
        "turns": len(turns),
        "encoder": encoder,
        "derived rows": len(derived),
        "per 1,000 turns": {
            "calls": len(model.calls),
            "tokens": sum(model.count_prompt_tokens(messages) for messages, _ in model.calls),
            "cpu s": round(processor * a_thousand, 1),
            "wall s": round(wall * a_thousand, 1),
            "wall s, writing and indexing": round(written * a_thousand, 1),
            "bytes": {
                "source texts": round(_bytes(sources) * a_thousand),
                "derived texts": round(_bytes(derived) * a_thousand),
                "database": round(
                    sum(files[path] for path in files if path.name.startswith("recalld.db")) * a_thousand
                ),
                "index": round(index * a_thousand),
            },
        },
    }
    say(f"rules: {results}")
    return results


def _first_turns(told: Sequence[Conversation]) -> list[Turn]:
    """Their turns, one after another, with sessions of their own."""
    return [replace(turn, session=f"{each.name}:{turn.session}") for each in told for turn in each.turns]


def _scripted(data: Mapping[str, Sequence[Turn]], encoder: str) -> dict[str, Any]:
    counter = _tokenizer(encoder)
    found: dict[str, Any] = {}
    for name, every in data.items():
        turns = every[: SCRIPTED_TURNS[name]]
        if turns:
            ways = {
                "segments": read_by_script(turns, counter, encoder),
                "one a turn": read_by_script(turns, counter, "hash", alone=True),
            }
            found[name] = {"turns": len(turns), **ways}
            say(f"scripted: {name} {found[name]}")
    return {"tokenizer": counter.name, "reply": f"a fact of one turn in {ONE_IN}", "data": found}


def _tokenizer(encoder: str) -> TokenCounter:
    """The local model's, where its weights are here; else the encoder's."""
    settings = load_settings(encoder=encoder)
    return make_token_counter(settings, make_encoder(settings))


class CountingModel(ScriptedModel):
    """A scripted model whose tokens are those of a real tokenizer; of a role's marks it counts one."""

    def __init__(self, counter: TokenCounter) -> None:
        super().__init__([])
        self._counter = counter

    def count_tokens(self, text: str) -> int:
        return self._counter.count(text)

    def generate(self, messages: Sequence[ChatMessage], settings: GenerationSettings) -> Iterator[Chunk]:
        """The whole reply at once, with its usage."""
        reply = facts_of(messages)
        return iter([Chunk(reply, "stop", Usage(self.count_prompt_tokens(messages), self.count_tokens(reply)))])


def read_by_script(turns: Sequence[Turn], counter: TokenCounter, encoder: str, alone: bool = False) -> dict[str, Any]:
    """Counts of all calls; `alone`: each turn consolidated before the next is written."""
    model = CountingModel(counter)
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        service = _service(Path(name), Parts(llm=model), encoder=encoder, derive_llm=("facts",))
        total: Counter[str] = Counter()
        for some in [[turn] for turn in turns] if alone else [turns]:
            _write(service, some)
            if not alone:
                service.indexer.apply_all()
            consolidate(service, DEFAULT_NAMESPACE)
        for job in _jobs(service):
            total.update(_counts(job))
        service.close()
    return dict(total)


def facts_of(messages: Sequence[ChatMessage]) -> str:
    """A valid reply: of one turn in three, by a digest of its text, a fact in its own first words."""
    shown = [json.loads(line) for line in messages[1].content.splitlines()[1:-1]]
    facts = []
    for turn in shown:
        if zlib.crc32(turn["text"].encode()) % ONE_IN:
            continue
        words = " ".join(turn["text"].split(" ")[:QUOTE_WORDS])[:100]
        facts.append({"subject": turn["who"][:80], "predicate": "says", "object": words, "quote": words,
                      "source": turn["n"]})  # fmt: skip
    return json.dumps({"facts": facts})


def _model(turns: Sequence[Turn]) -> dict[str, Any]:
    with local_server() as url:
        batched = _asked(url, turns, batch_tokens=1024)
        single = _asked(url, turns, batch_tokens=64, alone=True)
    return {
        "turns": len(turns),
        "model": "smollm2",
        "reply tokens": REPLY_TOKENS,
        "batched": batched,
        "one a turn": single,
    }


def _asked(url: str, turns: Sequence[Turn], batch_tokens: int, alone: bool = False) -> dict[str, Any]:
    """Counts of the jobs that read, of all turns; `alone`: each turn consolidated before the next is written."""
    given = {
        "llm": "openai", "llm_url": url, "llm_model": "smollm2", "llm_context_tokens": CONTEXT_TOKENS,
        "derive_llm": ("facts",), "derive_llm_tokens": batch_tokens, "derive_llm_reply_tokens": REPLY_TOKENS,
    }  # fmt: skip
    total: dict[str, int] = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="recalld-bench-") as name:
        service = _service(Path(name), Parts(encoder=HashEncoder()), **given)
        for some in [[turn] for turn in turns] if alone else [turns]:
            _write(service, some)
            consolidate(service, DEFAULT_NAMESPACE)
        for job in _jobs(service):
            for key, count in _counts(job).items():
                total[key] = total.get(key, 0) + count
        service.close()
    a_turn = {name: round(total[name] / len(turns), 1) for name in ("calls", "prompt_tokens", "completion_tokens")}
    counted = {**total, "a turn": a_turn, "wall s": round(time.perf_counter() - started, 1)}
    say(f"model: {counted}")
    return counted


def _counts(job: Job) -> Mapping[str, int]:
    return job.result or (job.cursor or {}).get("counts", {})


def _service(folder: Path, parts: Parts, **settings: Any) -> Service:
    given = {"data_dir": folder, "database_url": f"sqlite:///{folder / 'recalld.db'}", **settings}
    return Service(load_settings(**given), parts)


def _write(service: Service, turns: Sequence[Turn]) -> None:
    for start in range(0, len(turns), BATCH):
        with service.write_store() as store:
            items = [turn.item() for turn in turns[start : start + BATCH]]
            service.memories.add(store, Principal(DEFAULT_NAMESPACE), items)


def _jobs(service: Service) -> list[Job]:
    with service.read_work() as work:
        return work.jobs.select(DEFAULT_NAMESPACE, JOBS_MAX, tasks=[READ])


def _all(service: Service, derived: bool) -> list[Memory]:
    wanted = Selection(derived=derived, states=("active", "superseded"))
    with service.read_store() as store:
        return store.select(DEFAULT_NAMESPACE, wanted, service.clock.now(), 1_000_000)


def _bytes(found: Sequence[Memory]) -> int:
    return sum(len(memory.item.text.encode()) for memory in found)
