"""Flat prompt: how long is what an agent sends at turn 10, 100 and 1,000, with working memory and without any?

Each conversation is written as one session. At each of these turns its context is packed as `/v1/context` does, for the
last turn as the query, and counted with that turn: `prompt`; beside it the working memory alone, and the `history`, all
turns so far word for word. Some questions of each LoCoMo conversation are asked at its end too: `recall@10` is that of
the recalls behind the contexts, which do not look at the working memory; `evidence cited` is the share of the evidence
turns that a context cites, with the working memory and without it: what could be lost is room in the budget.
"""

from dataclasses import replace
from time import perf_counter
from typing import Any

from bench.datasets import Conversation, beam, locomo
from bench.instance import Instance, temporary_instance
from bench.metrics import means, percentiles
from bench.runner import Options, say
from memory.context import Context
from memory.recall import Question, Recall, context_of
from memory.working import CONTEXT_SHARE, WorkingMemory, working_memory
from recalld.core.access import Principal
from recalld.core.scope import Scope

TURNS = (10, 30, 100, 300, 1000)
LIMIT, BUDGET, FIRST = 50, 1024, 10
QUESTIONS_STEP = 3
SESSION = Scope(session_id="one")


def run(options: Options) -> dict[str, Any]:
    """LoCoMo's conversations, and of BEAM-500K's that have a thousand turns the one with the fewest words."""
    thousand = [told for told in beam("500K", options.data) if len(told.turns) >= TURNS[-1]]
    long = sorted(thousand, key=lambda told: sum(len(turn.text) for turn in told.turns))[:1]
    told = [*locomo(), *long][: options.limit]
    stages: dict[int, list[dict[str, float]]] = {turns: [] for turns in TURNS}
    evidence: list[dict[str, float]] = []
    took: list[float] = []
    with temporary_instance(options.encoder) as instance:
        for conversation in told:
            say(f"{conversation.name}: {len(conversation.turns)} turns")
            done = 0
            for turns in TURNS:
                if turns <= len(conversation.turns):
                    _write(instance, conversation, done, turns)
                    done = turns
                    stages[turns].append(_measured(instance, conversation, turns, took))
            if conversation.questions and conversation not in long:
                _write(instance, conversation, done, len(conversation.turns))
                evidence += _evidence(instance, conversation)
    return {
        "budget": BUDGET,
        "conversations": {conversation.name: len(conversation.turns) for conversation in told},
        "tokens": {str(turns): means(found) for turns, found in stages.items() if found},
        "most": {str(turns): max(one["prompt"] for one in found) for turns, found in stages.items() if found},
        "evidence cited": means(evidence),
        "state_ms": percentiles(took),
    }


def _write(instance: Instance, told: Conversation, start: int, end: int) -> None:
    items = [replace(turn.item(), scope=SESSION) for turn in told.turns[start:end]]
    instance.add(told.name, items)


def _measured(instance: Instance, told: Conversation, turns: int, took: list[float]) -> dict[str, float]:
    """Tokens of each part at one turn, and of the history."""
    last = told.turns[turns - 1].text
    _, context, state = _context(instance, told.name, last[:2000], took)
    count = instance.service.encoder.count_tokens
    history = sum(count(turn.text) for turn in told.turns[:turns])
    return {
        "state": state.tokens,
        "context": context.tokens,
        "prompt": context.tokens + count(last),
        "history": history,
    }


def _context(
    instance: Instance, namespace: str, query: str, took: list[float], with_state: bool = True
) -> tuple[Recall, Context, WorkingMemory]:
    service = instance.service
    counter = service.token_counter()
    with service.read_store() as store:
        answer = service.recaller.recall(store, Principal(namespace), Question(query, SESSION, LIMIT))
        started = perf_counter()
        most = min(service.settings.state_tokens, BUDGET // CONTEXT_SHARE)
        state = working_memory(store, namespace, SESSION, service.clock.now(), most, counter)
        took.append((perf_counter() - started) * 1000)
    return answer, context_of(answer, BUDGET, counter, state if with_state else None), state


def _evidence(instance: Instance, told: Conversation) -> list[dict[str, float]]:
    """Of every `QUESTIONS_STEP`th question, the share of its evidence that the context cites."""
    found = []
    for asked in [one for one in told.questions if one.evidence][::QUESTIONS_STEP]:
        shares = {}
        for name, with_state in (("with state", True), ("without", False)):
            answer, context, _ = _context(instance, told.name, asked.text, [], with_state)
            ids = [each for block in context.blocks for each in block.memory_ids]
            with instance.service.read_store() as store:
                cited = {memory.item.external_id for memory in store.get(told.name, ids)}
            first = {hit.memory.item.external_id for hit in answer.results[:FIRST]}
            shares[name] = len(asked.evidence & cited) / len(asked.evidence)
            shares[f"recall@{FIRST}, {name}"] = len(asked.evidence & first) / len(asked.evidence)
        found.append(shares)
    return found
