"""A corpus holds each paragraph once, and evidence is the paragraphs that support the answer."""

from pathlib import Path

from bench.corpora import Paragraph, hotpot, musique
from bench.datasets import Question


def test_hotpots_paragraphs_are_once_each_and_supporting_titles_are_evidence(hotpot_file: Path) -> None:
    corpus = hotpot(hotpot_file)
    assert [(paragraph.id, paragraph.title) for paragraph in corpus.paragraphs] == [
        ("0", "Canoe museum"),
        ("1", "Porto"),
        ("2", "Piano"),
        ("3", "Lighthouse"),
    ]
    assert corpus.paragraphs[1].text == "Porto is a city. The Douro river runs through it."
    assert [(question.category, question.evidence) for question in corpus.questions] == [
        ("bridge", {"0", "1"}),
        ("comparison", {"2", "3"}),
    ]


def test_paragraphs_of_one_title_are_told_apart_by_their_text(musique_file: Path) -> None:
    corpus = musique(musique_file)
    assert corpus.paragraphs == (
        Paragraph("0", "Canoe", "A boat."),
        Paragraph("1", "Canoe", "A film of 1999."),
        Paragraph("2", "Bob", "Bob sails."),
    )
    assert corpus.questions == (
        Question("Who sailed the canoe?", "3hop", None, frozenset({"1", "2"}), frozenset()),
        Question("Who is Bob?", "2hop", None, frozenset({"2"}), frozenset()),
    )


def test_a_limit_takes_the_first_questions_and_their_paragraphs(hotpot_file: Path) -> None:
    corpus = hotpot(hotpot_file, 1)
    assert len(corpus.questions) == 1
    assert [paragraph.title for paragraph in corpus.paragraphs] == ["Canoe museum", "Porto", "Piano"]


def test_a_paragraph_is_written_as_a_document_under_its_title() -> None:
    item = Paragraph("4", "Porto", "A city.").item()
    assert (item.text, item.kind, item.external_id) == ("Porto\nA city.", "document", "4")
