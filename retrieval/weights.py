"""How much each signal counts, for three kinds of memory: people who talk, a user with an assistant, documents.

Which of them a search is over is decided by what is known of its rows (their kinds, speakers and roles), never by who
asks or what for. A weight of 0 leaves a signal out; the benchmarks have a row for each (`bench/results`).

    late        late interaction with neighbouring turns             standard score over the pool
    dense       cosine of the pooled vectors                         standard score over all searched rows
    lexical     BM25                                                 standard score over all searched rows
    speaker     said by the one person whom the query names          0 to 1
    date        said on, or about, a date that the query names       0 to 1
    answer      could hold the sort of answer that is asked for      0 or 1, minus its mean
    standing    an instruction or a preference for all that follows  1 or .5
    question    ends in a question                                   0 or 1, taken off
    agreement   only agrees                                          0 or 1, taken off
    noise       says nothing to keep                                 0 or 1, taken off
    reply       said by the assistant                                0 or 1, taken off
    exchange    the best late interaction of the replies to it       standard score over the pool
    length      words that are looked for in vain add up             log(1 + terms)
    previous    its own late interaction where it follows a question standard score, above 0
    session     the best row of its session                          standard score over the pool
    feedback    what votes and recalls say of it                     -1 to 1, added last: it moves no other row
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each signal; see the module's docstring."""

    late: float = 0.0
    dense: float = 0.0
    lexical: float = 0.0
    speaker: float = 0.0
    date: float = 0.0
    answer: float = 0.0
    standing: float = 0.0
    question: float = 0.0
    agreement: float = 0.0
    noise: float = 0.0
    reply: float = 0.0
    exchange: float = 0.0
    length: float = 0.0
    previous: float = 0.0
    session: float = 0.0
    feedback: float = 0.5


SIGNALS = tuple(field.name for field in fields(Weights))

PEOPLE = Weights(
    late=1.0,
    dense=0.4,
    lexical=0.1,
    speaker=4.5,
    date=4.0,
    answer=1.2,
    question=0.9,
    noise=0.3,
    length=0.2,
    previous=0.1,
    session=0.3,
)
ASSISTANT = Weights(
    late=0.7,
    dense=0.9,
    lexical=0.5,
    date=2.0,
    standing=1.5,
    agreement=0.7,
    noise=0.3,
    reply=3.5,
    exchange=0.4,
    session=0.5,
)
DOCUMENTS = Weights(late=0.4, dense=1.0, lexical=0.2, date=1.0)
TASKS = Weights(late=0.7, dense=1.0, lexical=0.3)
"""For what is looked for by what it is for: procedures by their task, rationales by their question."""


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """What a pipeline ranks by.

    Attributes:
        people, assistant, documents: the weights for each kind of memory.
        first_person: whether the encoder sees the speakers that a query names as "I" and "my".
        names_out: whether full text is asked without the names of speakers.
        pool_rows: how many rows the cheap signals hand on to the dear ones.
        hops: whether documents that complete the first ones are looked for.
        distinct: whether near-duplicates go behind what is new.
        date_chars_max: how much of a text is read for dates.
        relevant_from: the relevance from which a recall counts as answered.
    """

    people: Weights = PEOPLE
    assistant: Weights = ASSISTANT
    documents: Weights = DOCUMENTS
    first_person: bool = True
    names_out: bool = True
    pool_rows: int = 256
    hops: bool = True
    distinct: bool = True
    date_chars_max: int = 1000
    relevant_from: float = 0.5
