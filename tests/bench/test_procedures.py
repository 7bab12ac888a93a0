"""The suite of procedures and rationales: whole, valid, and scored by place."""

import json

from bench.instance import temporary_instance
from bench.procedures import LABELS, cases_of, measure
from memory.ingest import check
from memory.procedures import mismatch, placeholders
from recalld.core.config import Limits

LABELLED = json.loads(LABELS.read_text(encoding="utf-8"))


def test_every_label_is_a_valid_memory_with_values_for_its_parameters() -> None:
    cases = cases_of(LABELLED)
    written = [
        item for told in cases.values() for case in told for item in (case.right, case.failed) if item is not None
    ]
    check(written, Limits.model_validate({}))
    assert {kind: len(told) for kind, told in cases.items()} == {"procedure": 60, "rationale": 40}
    assert sum(item.kind == "rationale" for item in written) == 63
    for case in cases["procedure"]:
        assert mismatch(case.right.frame or {}, case.parameters) == ([], [])
        assert placeholders(case.right.frame or {})
        assert case.request not in (case.right.frame or {})["task"]


def test_requests_that_say_the_task_itself_find_it_filled_and_before_what_failed() -> None:
    told = {
        "procedures": [each | {"request": each["task"]} for each in LABELLED["procedures"][:12]],
        "rationales": [each | {"request": each["question"]} for each in LABELLED["rationales"][:12]],
    }
    with temporary_instance("hash") as instance:
        for kind, cases in cases_of(told).items():
            instance.add(kind, [item for case in cases for item in (case.failed, case.right) if item is not None])
            found = measure(instance, cases, kind, (kind,))
            filled = 1.0 if kind == "procedure" else None
            assert found == {"recall@1": 1.0, "recall@3": 1.0, "filled": filled, "successful first": 1.0}
