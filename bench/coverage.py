"""Coverage: does what consolidation derives make recall or contexts worse, and does it put the newest evidence first?

Every conversation is written once, as one user's, and asked twice: *off*, before anything is derived, and *on*, after
consolidation has read all of it (facts, summaries, episodes, links between turns that disagree). In the same run:

- recall@10 and NDCG@10 of the evidence, of turns on LoCoMo and of exchanges on BEAM (`bench.locomo`, `bench.beam`);
- answer-token coverage of `/v1/context` at three budgets: of the distinct words of the answer that say something
  (stemmed, without stop words), the share that stand in the context;
- of BEAM's `knowledge_update` questions whose evidence is two of the user's messages or more: whether the newest of
  them stands before every older one in the context, and whether a context that shows an older one first, or alone, says
  that a newer one disagrees.

BEAM dates few of its messages: one without a date has that of the one before it, so that their order is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.beam import exchanges
from bench.datasets import Conversation, Question, beam, locomo
from bench.instance import CONTEXT_LIMIT, Instance, consolidate, temporary_instance
from bench.metrics import means, ndcg_at, paired_interval, percentiles, recall_at
from bench.runner import Options, say
from memory.context import Context
from memory.model import Item
from memory.recall import Recall, context_of
from recalld.core.scope import Scope
from retrieval.analysis import STOP_WORDS, terms

BUDGETS = (500, 1000, 2000)
LAYERS = ("off", "on")
TALKS = 3
"""Of LoCoMo, where no limit is given: rules link next to nothing there, and its questions are many."""
ADVERSARIAL, UPDATE = "5", "knowledge_update"
COMPARED = ("recall@10", "ndcg@10", *(f"coverage@{budget}" for budget in BUDGETS))
Metrics = dict[str, float]


def run(options: Options) -> dict[str, Any]:
    """LoCoMo, then BEAM-100K."""
    talks, chats = locomo()[: options.limit or TALKS], beam("100K", options.data)[: options.limit]
    results: dict[str, Any] = {}
    with temporary_instance(options.encoder) as instance:
        for name, conversations in (("locomo", talks), ("beam-100K", chats)):
            if not conversations:
                continue
            measured: dict[str, list[Metrics]] = {layer: [] for layer in LAYERS}
            order: dict[str, list[Metrics]] = {layer: [] for layer in LAYERS}
            took: dict[str, list[float]] = {layer: [] for layer in LAYERS}
            derived = 0
            for told in conversations:
                say(f"{told.name}: {len(told.turns)} turns, {len(told.questions)} questions")
                instance.add(told.name, items(told))
                for layer in LAYERS:
                    if layer == "on":
                        derived += consolidate(instance.service, told.name)
                    measured[layer] += _measured(instance, told, took[layer])
                    order[layer] += _order(instance, told)
            results[name] = {
                "conversations": len(conversations),
                "derived": derived,
                "layers": {layer: means(found) for layer, found in measured.items()},
                "on against off": {
                    metric: paired_interval(*_pairs(measured, metric), options.seed) for metric in COMPARED
                },
                "recall_ms": {layer: percentiles(found) for layer, found in took.items()},
            }
            if order["on"]:
                results[name][UPDATE] = {layer: means(found) for layer, found in order.items()}
    return results


def items(told: Conversation) -> list[Item]:
    """What is written: one user's turns, each with the date of the one before it where it has none."""
    found, at = [], None
    for turn in told.turns:
        at = turn.at or at
        written = replace(turn, at=at).item()
        found.append(replace(written, scope=Scope("user", session_id=turn.session)))
    return found


def coverage(text: str, answer: str) -> float | None:
    """The share of the answer's words that stand in the text; None where it has none that say something."""
    wanted = {word for word in terms(answer) if word not in STOP_WORDS}
    return len(wanted & set(terms(text))) / len(wanted) if wanted else None


def _measured(instance: Instance, told: Conversation, took: list[float]) -> list[Metrics]:
    """Each question that has evidence."""
    unit = exchanges(told.turns) if told.turns[0].role else {turn.id: turn.id for turn in told.turns}
    counter = instance.service.token_counter()
    found = []
    for asked in told.questions:
        if not asked.evidence or asked.category == ADVERSARIAL:
            continue
        answer = _recall(instance, told, asked)
        took.append(answer.took_ms)
        ranking = list(dict.fromkeys(unit[str(hit.memory.item.external_id)] for hit in answer.results))
        evidence = {unit[each] for each in asked.evidence}
        metrics = {"recall@10": recall_at(10, ranking, evidence), "ndcg@10": ndcg_at(10, ranking, evidence)}
        for budget in BUDGETS:
            share = coverage(context_of(answer, budget, counter).text, asked.answer)
            if share is not None:
                metrics[f"coverage@{budget}"] = share
        found.append(metrics)
    return found


def _order(instance: Instance, told: Conversation) -> list[Metrics]:
    """Each question for what was updated; nothing for conversations that have none."""
    place = {turn.id: number for number, turn in enumerate(told.turns) if turn.role == "user"}
    found = []
    for asked in told.questions:
        pair = sorted(asked.evidence & place.keys(), key=lambda each: place[each])
        if asked.category == UPDATE and len(pair) > 1:
            answer = _recall(instance, told, asked)
            metrics: Metrics = {}
            for budget in BUDGETS:
                context = context_of(answer, budget, instance.service.token_counter())
                told_of = order_of(context, _external(instance, told, context), pair[-1], pair[:-1])
                metrics |= {f"{name}@{budget}": float(holds) for name, holds in told_of.items()}
            found.append(metrics)
    return found


def order_of(context: Context, external: Mapping[str, str], newest: str, older: Sequence[str]) -> dict[str, bool]:
    """How the newest of some memories stands to the older ones in a context.

    Args:
        external: the external id of each memory that is cited.
    """
    places: dict[str, int] = {}
    said: set[str] = set()
    for number, block in enumerate(context.blocks):
        name = external[block.memory_ids[0]]
        places.setdefault(name, number)
        if len(block.memory_ids) > 1:
            said.add(name)
    shown = [each for each in older if each in places]
    first = newest in places and all(places[newest] < places[each] for each in shown)
    return {
        "newest first": first,
        "newest shown": newest in places,
        "older shown": bool(shown),
        "older first, or alone": bool(shown) and not first,
        "that is said": bool(shown) and not first and not said.isdisjoint(shown),
    }


def _recall(instance: Instance, told: Conversation, asked: Question) -> Recall:
    return instance.recall(instance.recaller(), told.name, asked.text, asked.asked_at, CONTEXT_LIMIT)


def _external(instance: Instance, told: Conversation, context: Context) -> dict[str, str]:
    ids = [each for block in context.blocks for each in block.memory_ids]
    with instance.service.read_store() as store:
        return {memory.id: str(memory.item.external_id) for memory in store.get(told.name, ids)}


def _pairs(measured: Mapping[str, Sequence[Metrics]], metric: str) -> tuple[list[float], list[float]]:
    on, off = ([one[metric] for one in measured[layer] if metric in one] for layer in ("on", "off"))
    return on, off
