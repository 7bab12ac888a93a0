"""What stands, given all that was said: pure decisions on facts.

`settle` is a function of a *set* of statements: it sorts them itself, so what arrives late or out of order gives the
state that it would have given in order. `memory.reconcile` compares that state with what is stored and tells what has
to change.

    the same triple again, of no other time      -> one fact, one more source               (confirm)
    a single-valued slot, a confident new value  -> the old value ends when the new begins  (supersede)
    "from A to B"                                -> A ends                                  (supersede)
    "no longer", "used to"                       -> it ends when that was said              (supersede)
    a new value where words speak of one thing   -> both stay                               (possibly_supersedes)
    said and denied                              -> both stay                               (conflict)

Invariants: a decision that was undone (`vetoed` knows its digest) is not taken again; no statement makes another's
source invisible, it only closes the fact.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations, pairwise

from memory.facts import CONFIDENT, SINGLE_VALUED, Link, Settled, Standing, Statement, Triple
from memory.model import LinkKind

Vetoed = Callable[[str], bool]
Runs = list[Standing]


def settle(statements: Iterable[Statement], vetoed: Vetoed = lambda digest: False) -> Settled:
    """What stands after these statements, in whatever order they are given.

    Args:
        statements: of one scope; twice the same counts once.
        vetoed: whether the decision with a digest was undone.
    """
    kept: list[Statement] = []
    ignored: list[Statement] = []
    # Two readers may take the same place to say more and less: a set would give those in another order each time.
    for statement in sorted(sorted(set(statements), key=repr), key=lambda each: each.order):
        undone = vetoed(add_digest(statement.triple)) or vetoed(confirm_digest(statement.triple, statement.source_id))
        (ignored if undone else kept).append(statement)
    slots: dict[tuple[str, str], list[Statement]] = {}
    for statement in kept:
        slots.setdefault(statement.triple.slot, []).append(statement)
    facts: list[Standing] = []
    links: list[Link] = []
    for (_, predicate), said in slots.items():
        if predicate in SINGLE_VALUED:
            sure = [each for each in said if each.confidence >= CONFIDENT and not each.triple.negated]
            runs = _one_at_a_time(sure, SINGLE_VALUED[predicate], vetoed)
            unsure = _many([each for each in said if each not in sure], vetoed)
            links += _doubted(runs, unsure, vetoed)
            facts += [*_ended_by_denial(runs, unsure, vetoed), *unsure]
        else:
            many = _many(said, vetoed)
            links += [*_denied(many, vetoed), *_newer_values(many, vetoed)]
            facts += many
    return Settled(tuple(facts), tuple(dict.fromkeys(links)), tuple(ignored))


def add_digest(triple: Triple) -> str:
    """Of the decision to keep a fact at all."""
    return digest("add", triple)


def confirm_digest(triple: Triple, source_id: str) -> str:
    """Of the decision that a source says a fact."""
    return digest("confirm", triple, source_id)


def supersede_digest(older: Triple, newer: Triple | None) -> str:
    """Of the decision that a fact ended, and what took its place."""
    return digest("supersede", older, *([newer] if newer else []))


def link_digest(kind: LinkKind, newer: Triple, older: Triple) -> str:
    """Of the decision that two facts disagree."""
    return digest(kind, newer, older)


def decay_digest(about: Triple | str, sources: Iterable[str]) -> str:
    """Of the decision that a derived memory is dropped while it rests on these sources: another one may bring it back.

    Args:
        about: a fact's triple, or the external id of what another deriver made.
    """
    return digest("decay", about, *sorted(sources))


def digest(action: str, *about: Triple | str) -> str:
    """What names a decision, whenever it is taken again: 16 bytes that tell nothing of what it is about."""
    told = json.dumps([action, *(each if isinstance(each, str) else each.key for each in about)])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def _one_at_a_time(said: Sequence[Statement], reason: str, vetoed: Vetoed) -> Runs:
    """Runs of one value: each ends where the next begins. Statements are in order.

    A value that was said earlier, with no word on since when, does not end one of which more was said later.
    """
    runs: Runs = []
    for statement in said:
        if statement.ended:
            runs = _closed(runs, statement)
            continue
        same = next((at for at, run in enumerate(runs) if _is_open(run) and _agrees(run, statement.triple)), None)
        if same is not None:
            runs[same] = replace(runs[same], statements=(*runs[same].statements, statement))
            continue
        for at, run in enumerate(runs):
            unknown_since = statement.valid_from is None and run.statements[-1].said_at > statement.said_at
            if _is_open(run) and not unknown_since and not vetoed(supersede_digest(run.triple, statement.triple)):
                until = max(statement.from_when, run.valid_from)
                runs[at] = replace(run, valid_to=until, closed_by=statement.triple, reason=reason)
        runs.append(Standing((statement,)))
    return runs


def _many(said: Sequence[Statement], vetoed: Vetoed) -> Runs:
    """One fact a value; what says of a value that it is over ends the one before it."""
    runs: Runs = []
    for statement in said:
        if statement.ended:
            runs = _closed(runs, statement)
            continue
        if statement.replaces is not None:
            old = _with_object(statement.triple, statement.replaces)
            for at, run in enumerate(runs):
                if _is_open(run) and _says(run, old) and not vetoed(supersede_digest(run.triple, statement.triple)):
                    until = max(statement.from_when, run.valid_from)
                    why = "its source says that it changed to another value"
                    runs[at] = replace(run, valid_to=until, closed_by=statement.triple, reason=why)
        same = next((at for at, run in enumerate(runs) if _is_open(run) and _repeats(run, statement)), None)
        if same is None:
            runs.append(Standing((statement,)))
        else:
            runs[same] = replace(runs[same], statements=(*runs[same].statements, statement))
    return runs


def _with_object(triple: Triple, other: str) -> Triple:
    """The triple with another object."""
    return Triple(triple.subject, triple.predicate, other, triple.negated)


def _closed(runs: Runs, ending: Statement) -> Runs:
    """The runs after a statement that its triple is over. It is a source of what it ends."""
    why = "its source says that it is over"
    at = next((at for at, run in enumerate(runs) if _is_open(run) and _says(run, ending.triple)), None)
    if at is None:
        return [*runs, Standing((ending,), max(ending.said_at, ending.from_when), None, why)]
    run = runs[at]
    joined = replace(
        run, statements=(*run.statements, ending), valid_to=max(ending.from_when, run.valid_from), reason=why
    )
    return [*runs[:at], joined, *runs[at + 1 :]]


def _ended_by_denial(runs: Runs, unsure: Runs, vetoed: Vetoed) -> Runs:
    """A slot of one value whose value is denied afterwards ("I don't work at X any more") ends there."""
    for denial in unsure:
        if not (denial.triple.negated and denial.confidence >= CONFIDENT):
            continue
        for at, run in enumerate(runs):
            said = denial.statements[0]
            after = said.order > run.statements[-1].order
            undone = vetoed(supersede_digest(run.triple, denial.triple))
            if _is_open(run) and after and _opposite(run, denial.triple) and not undone:
                until = max(said.from_when, run.valid_from)
                runs[at] = replace(run, valid_to=until, closed_by=denial.triple, reason="it was denied afterwards")
    return runs


def _doubted(runs: Runs, unsure: Runs, vetoed: Vetoed) -> list[Link]:
    """Values of a slot that holds one, that stand beside each other."""
    values = [each for each in (*runs, *unsure) if _is_open(each) and not each.triple.negated]
    values.sort(key=lambda each: max(statement.said_at for statement in each.statements))
    found = [
        Link("possibly_supersedes", newer.triple, older.triple, "two values of what holds one at a time")
        for older, newer in combinations(values, 2)
        if not _agrees(newer, older.triple)
    ]
    return [link for link in found if not vetoed(link_digest(link.kind, link.newer, link.older))]


def _denied(facts: Runs, vetoed: Vetoed) -> list[Link]:
    """What is said and denied of the same object."""
    found = []
    for denial in facts:
        for other in facts:
            if denial.triple.negated and _opposite(other, denial.triple) and _is_open(other) and _is_open(denial):
                newer, older = sorted((denial, other), key=lambda each: each.statements[-1].order, reverse=True)
                found.append(Link("conflict", newer.triple, older.triple, "said and denied"))
    return [link for link in found if not vetoed(link_digest(link.kind, link.newer, link.older))]


def _newer_values(facts: Runs, vetoed: Vetoed) -> list[Link]:
    """Values of what its words call one thing: each may supersede the one before it."""
    values = [fact for fact in facts if _is_open(fact) and fact.statements[-1].unique and not fact.triple.negated]
    values.sort(key=lambda each: each.statements[-1].order)
    found = [
        Link("possibly_supersedes", newer.triple, older.triple, "a later value of what is spoken of as one thing")
        for older, newer in pairwise(values)
    ]
    return [link for link in found if not vetoed(link_digest(link.kind, link.newer, link.older))]


def _is_open(fact: Standing) -> bool:
    return fact.valid_to is None


def _agrees(fact: Standing, triple: Triple) -> bool:
    """Whether a value of a slot that holds one is the same, told more or less fully: Lisbon and Lisbon, Portugal.

    What is told more fully begins with what is told less fully, and goes on behind a comma; a name goes on with more
    names. So New York is no York told more fully, nor a nurse manager a nurse.
    """
    short, long = sorted((fact.triple.key[2], triple.key[2]), key=len)
    more = (",", " ") if triple.predicate == "name" else (",",)
    return fact.triple.slot == triple.slot and (long == short or long.startswith(tuple(short + mark for mark in more)))


def _says(fact: Standing, triple: Triple) -> bool:
    return fact.triple.key == triple.key


def _repeats(fact: Standing, statement: Statement) -> bool:
    """Whether a statement says what a fact says, and not of another time: a race in 2019 is not one in 2021."""
    time = statement.time
    times = [each.time for each in fact.statements if each.time is not None]
    apart = time is not None and any(time.end <= each.start or each.end <= time.start for each in times)
    return _says(fact, statement.triple) and not apart


def _opposite(fact: Standing, denial: Triple) -> bool:
    return fact.triple.key[:3] == denial.key[:3] and fact.triple.negated != denial.negated
