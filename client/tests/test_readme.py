"""The README's code runs as it stands, against a server."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_the_readme_has_code():
    assert len(BLOCKS) == 6


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs(block, server, fake, monkeypatch, capsys):
    monkeypatch.setenv("RECALLD_URL", server)
    exec(compile(block, str(README), "exec"), {"__name__": "__main__"})
    shown = capsys.readouterr().out
    expected = {
        0: "I moved to Lisbon in March. I work at the harbour.",
        1: "mem_000 I moved to Lisbon in March.",
        2: "[]",
        3: "",
        4: "200 stored\n400 stored\n500 stored",
        5: "not_found",
    }
    assert expected[BLOCKS.index(block)] in shown
    if BLOCKS.index(block) == 0:
        assert [memory["text"] for memory in fake.memories] == [
            "I moved to Lisbon in March.",
            "I work at the harbour.",
            "My sister is Ana.",
        ]
