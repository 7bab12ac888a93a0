"""The prompt of a small conversation, at two of its turns."""

from bench.datasets import Conversation, Question, Turn
from bench.flat_prompt import BUDGET, _evidence, _measured, _write
from bench.instance import temporary_instance
from tests.conftest import NOW

TOLD = Conversation(
    "talk",
    tuple(Turn(str(n), f"s{n // 9}", f"I saw boat number {n} at the harbour.", NOW, role="user") for n in range(40)),
    (Question("Who saw boat number 7?", "4", NOW, frozenset({"7"}), frozenset({"s0"})),),
)


def test_the_history_grows_and_the_working_memory_does_not() -> None:
    took: list[float] = []
    with temporary_instance("hash") as instance:
        _write(instance, TOLD, 0, 20)
        early = _measured(instance, TOLD, 20, took)
        _write(instance, TOLD, 20, 40)
        late = _measured(instance, TOLD, 40, took)
        assert _evidence(instance, TOLD) == [
            {"with state": 1.0, "recall@10, with state": 1.0, "without": 1.0, "recall@10, without": 1.0}
        ]
    assert 0 < early["state"] <= BUDGET // 8
    assert late["state"] < 1.25 * early["state"]
    assert early["context"] <= BUDGET
    assert 1.9 * early["history"] < late["history"]
    assert late["prompt"] > late["context"] > late["state"]
    assert len(took) == 2
