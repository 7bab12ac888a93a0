"""The one error tree: the table in the module's docstring is what the code does."""

import re

import pytest

from recalld.core import errors
from recalld.core.errors import FieldError, InvalidInput, RecalldError


def below(kind: type[RecalldError]) -> list[type[RecalldError]]:
    return [one for child in kind.__subclasses__() for one in (child, *below(child))]


OURS = [kind for kind in below(RecalldError) if kind.__module__ == errors.__name__]
LINE = re.compile(r"^ {6,8}(\w+) +(\w+) +(\d{3})( +\(retryable\))?$", re.MULTILINE)


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = [(name, code, int(status), bool(again)) for name, code, status, again in LINE.findall(errors.__doc__ or "")]
    assert sorted(drawn) == sorted((kind.__name__, kind.code, kind.status, kind.retryable) for kind in OURS)


def test_codes_are_unique() -> None:
    codes = [RecalldError.code, *(kind.code for kind in OURS)]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", OURS)
def test_a_retry_is_promised_only_by_what_may_pass(kind: type[RecalldError]) -> None:
    assert 400 <= kind.status < 600
    assert not kind.retryable or kind.status in (502, 503)
    assert kind.title


def test_an_error_tells_its_sentence_and_its_fields() -> None:
    plain = RecalldError("something is wrong")
    assert (str(plain), plain.detail, plain.fields) == ("something is wrong", "something is wrong", ())
    wrong = InvalidInput.of("items.3.text", "1 to 5 bytes", 5)
    assert wrong.detail == "items.3.text: 1 to 5 bytes"
    assert wrong.fields == (FieldError("items.3.text", "1 to 5 bytes", 5),)
