"""Paragraphs with multi-hop questions about them: HotpotQA and MuSiQue, in upstream's formats.

Upstream gives each question its paragraphs, those that support the answer and distractors. The corpus is all of them,
each once: a title alone does not tell two paragraphs apart (MuSiQue has up to several of one title), title and text do.

HotpotQA: Yang et al. (EMNLP 2018). MuSiQue: Trivedi et al. (TACL 2022).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import files
from bench.datasets import Question, fitting
from memory.model import Item


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph: one memory, its title in the first line."""

    id: str
    title: str
    text: str

    def item(self) -> Item:
        """What is written."""
        return Item(fitting(f"{self.title}\n{self.text}"), kind="document", external_id=self.id)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Distinct paragraphs in the order in which the questions bring them; evidence is ids of paragraphs."""

    name: str
    paragraphs: tuple[Paragraph, ...]
    questions: tuple[Question, ...]


# A question's text and category, and its paragraphs: title, text and whether it supports the answer.
Told = tuple[str, str, list[tuple[str, str, bool]]]


def hotpot(data: Path | None = None, limit: int | None = None) -> Corpus:
    """HotpotQA with distractors: the first `limit` questions and their paragraphs.

    Raises:
        ConfigError: the file is not there; says where a user gets it.
    """
    names = ("hotpotqa_train.json.gz", "hotpot_dev_distractor_v1.json", "hotpot_train_v1.1.json")
    where = "https://hotpotqa.github.io (hotpot_dev_distractor_v1.json)"
    return _corpus("hotpot", _read("hotpot", data, names, where)[:limit], _hotpot_question)


def musique(data: Path | None = None, limit: int | None = None) -> Corpus:
    """MuSiQue, answerable: the first `limit` questions and their paragraphs.

    Raises:
        ConfigError: the file is not there; says where a user gets it.
    """
    names = ("musique_train.json.gz", "musique_ans_v1.0_dev.jsonl", "musique_ans_v1.0_train.jsonl")
    where = "https://github.com/StonyBrookNLP/musique (musique_ans_v1.0_dev.jsonl)"
    return _corpus("musique", _read("musique", data, names, where)[:limit], _musique_question)


def _read(name: str, data: Path | None, names: Sequence[str], where: str) -> Sequence[Any]:
    told: Sequence[Any] = files.read(files.find(data or files.folder(f"{name}_mini"), name, names, where))
    return told


def _hotpot_question(told: Any) -> Told:
    """Its category is `bridge` or `comparison`."""
    supporting = {title for title, _ in told["supporting_facts"]}
    paragraphs = [(title, "".join(sentences), title in supporting) for title, sentences in told["context"]]
    return told["question"], told["type"], paragraphs


def _musique_question(told: Any) -> Told:
    """Its category is the number of hops, which its id begins with: `2hop`, `3hop`, `4hop`."""
    paragraphs = [(one["title"], one["paragraph_text"], one["is_supporting"]) for one in told["paragraphs"]]
    return told["question"], told["id"][: len("2hop")], paragraphs


def _corpus(name: str, told: Iterable[Any], read: Callable[[Any], Told]) -> Corpus:
    numbers: dict[tuple[str, str], str] = {}
    questions = []
    for text, category, paragraphs in map(read, told):
        ids = [numbers.setdefault((title, body), str(len(numbers))) for title, body, _ in paragraphs]
        evidence = frozenset(one for one, (*_, supports) in zip(ids, paragraphs, strict=True) if supports)
        questions.append(Question(text, category, None, evidence, frozenset()))
    paragraphs_once = (Paragraph(number, title, body) for (title, body), number in numbers.items())
    return Corpus(name, tuple(paragraphs_once), tuple(questions))
