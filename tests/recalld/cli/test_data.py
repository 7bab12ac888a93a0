"""`add`, `recall`, `context`, `chat`, `stats`, on an instance that no server holds."""

import json
import re
from pathlib import Path

import pytest

from recalld.cli import data
from tests.processes import language_model
from tests.recalld.cli.conftest import CommandLine

MEMORY_FIELDS = [
    *("id", "namespace", "version", "state", "text", "kind", "role", "speaker", "occurred_at", "external_id"),
    *("metadata", "scope", "expires_at", "frame", "created_at", "recorded_at", "valid_from", "valid_to"),
    *("superseded_at", "sources", "deriver"),
]


def texts_of(recalld: CommandLine) -> list[str]:
    hits = recalld.json("recall", "anything", "--limit", "100")["results"]
    return sorted(hit["memory"]["text"] for hit in hits)


def ndjson(folder: Path, *lines: object) -> str:
    file = folder / "items.ndjson"
    file.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + b"\n"
    )
    return str(file)


def test_add_keeps_what_it_is_told_and_shows_it(recalld: CommandLine) -> None:
    options = ["--user", "alice", "--agent", "a1", "--session", "s1", "--role", "user", "--speaker", "Alice"]
    kept = recalld.json("add", "I moved to Lisbon.", *options, "--occurred-at", "2026-03-14T10:00:00+01:00")
    [memory] = kept["items"]
    assert list(memory) == MEMORY_FIELDS
    assert memory["text"] == "I moved to Lisbon."
    assert memory["scope"] == {"user_id": "alice", "agent_id": "a1", "session_id": "s1"}
    assert (memory["role"], memory["speaker"], memory["kind"]) == ("user", "Alice", "turn")
    assert memory["occurred_at"] == "2026-03-14T09:00:00Z"
    assert recalld.ok("add", "Another.", "--kind", "document").startswith("kept 1: mem_")


def test_add_reads_standard_input_byte_for_byte(recalld: CommandLine) -> None:
    text = "Zoë wrote:\r\n\t“日本語 🎈 e\u0301”\n\n"
    [memory] = recalld.json("add", "-", stdin=text.encode())["items"]
    assert memory["text"] == text


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (b"fine \xff not", "standard input: is not UTF-8 at byte 5"),
        (b"", "items.0.text: String should have at least 1 character"),
        (b"a\0b", "items.0.text: "),
        (b"x" * 65_537, "items.0.text: "),
    ],
)
def test_add_refuses_text_that_cannot_be_kept(recalld: CommandLine, stdin: bytes, says: str) -> None:
    assert recalld.error("add", "-", stdin=stdin).startswith(says)
    assert recalld.json("stats")["memories"] == {}


def test_add_takes_the_lines_of_a_file_in_order(recalld: CommandLine, tmp_path: Path) -> None:
    lines = [{"text": f"Grüße {number}", "metadata": {"n": number}} for number in range(5)]
    file = ndjson(tmp_path, *lines[:2], b"", b"  ", *lines[2:])
    kept = recalld.json("add", "--file", file, "--user", "alice", "--role", "user")["items"]
    assert [(memory["text"], memory["metadata"]) for memory in kept] == [(x["text"], x["metadata"]) for x in lines]
    assert {memory["scope"]["user_id"] for memory in kept} == {"alice"}
    assert recalld.ok("add", "--file", file).split(",")[2].endswith(" ...\n")


def test_a_line_wins_over_the_options_and_its_scope_is_completed_by_them(recalld: CommandLine, tmp_path: Path) -> None:
    line = {"text": "x", "role": "assistant", "scope": {"session_id": "s9"}}
    [memory] = recalld.json("add", "--file", ndjson(tmp_path, line), "--user", "alice", "--role", "user")["items"]
    assert memory["role"] == "assistant"
    assert memory["scope"] == {"user_id": "alice", "agent_id": None, "session_id": "s9"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"text": "cut', "line 3: is not JSON"),
        (b'["text"]', "line 3: is not a JSON object"),
        (b'{"text": "\xff"}', "line 3: is not UTF-8 at byte 10"),
        (b'{"text": "\\ud800"}', "line 3: is not JSON"),
        (b'{"text": "x", "metadata": {"a": NaN}}', "line 3: is not JSON"),
        (b'{"text": "x", "metadata": {"a": 1e999}}', "line 3: is not JSON"),
        (b'{"text": "x", "metadata": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, "line 3: is not JSON"),
        ({"text": ""}, "line 3: text: String should have at least 1 character (0 kept before)"),
        ({"text": "x", "txet": 1}, "line 3: txet: is not a field of this request (0 kept before)"),
        ({"text": "x", "occurred_at": "2026-03-14T09:00:00"}, "line 3: occurred_at: "),
        ({"text": "x", "scope": {"user_id": ""}}, "line 3: scope.user_id: "),
        ({"text": "x", "scope": "alice"}, "line 3: scope: "),
        ({"text": "x", "kind": "summary"}, "line 3: kind: "),
        ({"no": "text"}, "line 3: "),
    ],
)
def test_a_bad_line_is_named_and_nothing_of_its_batch_is_kept(
    recalld: CommandLine, tmp_path: Path, line: object, says: str
) -> None:
    file = ndjson(tmp_path, {"text": "one"}, b"", line, {"text": "four"})
    result = recalld("add", "--file", file)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[0].startswith(f"recalld: {says}")
    assert all(line.startswith("  line 3: ") for line in result.stderr.splitlines()[1:])
    assert recalld.json("stats")["memories"] == {}


def test_a_bad_line_in_a_later_batch_says_how_many_were_kept_before_it(
    recalld: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "BATCH_ITEMS_MAX", 2)
    file = ndjson(tmp_path, *({"text": f"number {number}"} for number in range(5)), {"text": ""})
    assert recalld.error("add", "--file", file).endswith(" (4 kept before)")
    assert texts_of(recalld) == [f"number {number}" for number in range(4)]


def test_a_file_of_long_lines_fits_into_requests(recalld: CommandLine, tmp_path: Path) -> None:
    file = ndjson(tmp_path, *({"text": "語" * 21_000} for _ in range(100)))
    assert len(recalld.json("add", "--file", file, RECALLD_BODY_BYTES_MAX=str(5 << 20))["items"]) == 100


def test_a_file_without_items_is_an_error(recalld: CommandLine, tmp_path: Path) -> None:
    assert recalld.error("add", "--file", ndjson(tmp_path, b"", b" ")) == "file: holds no items"


def test_add_takes_a_text_or_a_file(recalld: CommandLine, tmp_path: Path) -> None:
    for arguments in ([], ["text", "--file", ndjson(tmp_path, {"text": "x"})], ["--file", str(tmp_path / "none")]):
        result = recalld("add", *arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("Usage: recalld add")


def test_recall_finds_within_the_scope_and_says_what_is_relevant(recalld: CommandLine) -> None:
    recalld.ok("add", "I moved to Lisbon in March.", "--user", "alice", "--occurred-at", "2026-03-14T09:00:00Z")
    recalld.ok("add", "I moved to Porto in May.", "--user", "bob")
    found = recalld.json("recall", "who moved to Lisbon in March?", "--user", "alice")
    assert list(found) == ["recall_id", "results", "relevant", "pending", "took_ms", "explain"]
    assert [hit["memory"]["text"] for hit in found["results"]] == ["I moved to Lisbon in March."]
    assert list(found["results"][0]) == ["memory", "score", "relevance", "signals", "passage", "disagrees_with"]
    shown = recalld.ok("recall", "who moved to Lisbon in March?", "--user", "alice", "--explain").splitlines()
    line = next(line for line in shown if "Lisbon" in line)
    assert " 2026-03-14 turn: I moved to Lisbon in March. mem_" in line
    assert any(line.startswith("     ") for line in shown)
    assert shown[-1].endswith(" ms, 0 pending")


def test_recall_and_context_take_a_filter(recalld: CommandLine, tmp_path: Path) -> None:
    lines = [{"text": f"note {n}", "metadata": {"n": n, "it's": "é"}} for n in range(4)]
    recalld.ok("add", "--file", ndjson(tmp_path, *lines))
    wanted = json.dumps({"metadata.n": {"gte": 2}, "metadata.it's": "é"})
    found = recalld.json("recall", "note", "--filter", wanted)["results"]
    assert sorted(hit["memory"]["text"] for hit in found) == ["note 2", "note 3"]
    assert len(recalld.json("context", "note", "--filter", wanted)["blocks"]) == 2
    for command in ("recall", "context"):
        assert recalld.error(command, "note", "--filter", '{"metadata.n": {"near": 2}}').startswith(
            "filter.metadata.n.near: is no operator"
        )
        for text in (
            "",
            "{kind: turn}",
            '{"kind": "turn"',
            '{"metadata.n": NaN}',
            '{"kind": "\\ud800"}',
            "[" * 100_000,
        ):
            assert recalld.error(command, "note", "--filter", text) == "filter: is not JSON"
        assert recalld.error(command, "note", "--filter", '"kind"').startswith("filter: ")


def test_recall_is_honest_about_nothing(recalld: CommandLine) -> None:
    assert recalld.ok("recall", "anything").splitlines()[0] == "nothing is remembered here"
    recalld.ok("add", "The kettle is blue.")
    shown = recalld.ok("recall", "licence plate of the motorcycle").splitlines()
    assert shown[0] == "nothing here answers that; the nearest:"
    assert "The kettle is blue." in shown[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--limit", "0"], "limit: "),
        (["--limit", "101"], "limit: "),
        (["--kind", "nonsense"], "kinds.0: "),
        (["--as-of", "yesterday"], "as_of: "),
        (["--user", ""], "scope.user_id: "),
        (["--namespace", "../x"], "namespace: "),
    ],
)
def test_recall_names_the_option_that_is_wrong(recalld: CommandLine, arguments: list[str], says: str) -> None:
    assert recalld.error("recall", "query", *arguments).startswith(says)


def test_as_of_and_kind_are_passed_on(recalld: CommandLine) -> None:
    recalld.ok("add", "The cat sleeps.", "--occurred-at", "2026-03-14T09:00:00Z")
    recalld.ok("add", "The cat's papers.", "--kind", "document")
    before = recalld.json("recall", "cat", "--as-of", "2026-03-13T00:00:00Z")["results"]
    assert "The cat sleeps." not in [hit["memory"]["text"] for hit in before]
    documents = recalld.json("recall", "cat", "--kind", "document")["results"]
    assert [hit["memory"]["text"] for hit in documents] == ["The cat's papers."]


def test_context_prints_the_text_within_the_budget(recalld: CommandLine) -> None:
    for number in range(8):
        recalld.ok("add", f"Fact {number} about the harbour in Lisbon and its boats.")
    answer = recalld.json("context", "harbour", "--token-budget", "60")
    assert list(answer) == [
        *("text", "blocks", "tokens", "tokenizer", "recall_id", "relevant", "pending", "took_ms"),
    ]
    assert 0 < answer["tokens"] <= 60
    assert recalld.ok("context", "harbour", "--token-budget", "60") == answer["text"]
    assert recalld.error("context", "harbour", "--token-budget", "0").startswith("token_budget: ")


def test_state_prints_what_to_keep_in_mind_of_a_session(recalld: CommandLine) -> None:
    recalld.ok("add", "My budget is 900 euros.", "--user", "alice", "--session", "trip/1")
    shown = recalld.ok("state", "trip/1", "--user", "alice")
    assert re.fullmatch(r"recent: \[\w{4}\] My budget is 900 euros\.\n", shown)
    assert recalld.json("state", "trip/1", "--user", "bob")["entries"] == []
    assert recalld.error("state", "x" * 257).startswith("session_id: ")


def test_chat_streams_the_reply_cites_and_remembers(recalld: CommandLine) -> None:
    recalld.ok("add", "I moved to Lisbon in March.", "--user", "alice")
    with language_model("You live\nin \x1b[31mLisbon.") as model:
        shown = recalld.ok("chat", "Where in Lisbon do I live?", "--user", "alice", **model).splitlines()
        answer = recalld.json("chat", "Where in Lisbon do I live?", "--user", "alice", "--no-remember", **model)
    assert shown[:2] == ["You live", "in  [31mLisbon."]
    assert any("I moved to Lisbon in March." in line for line in shown[2:])
    assert answer["choices"][0]["message"]["content"] == "You live\nin \x1b[31mLisbon."
    assert answer["recalld"]["citations"]
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}
    assert recalld.json("stats")["memories"] == {"active": 3}


def test_chat_says_why_it_cannot(recalld: CommandLine) -> None:
    assert recalld.error("chat", "Hello?") == "there is no local model: RECALLD_LLM is `none`"
    nobody = {"RECALLD_LLM": "openai", "RECALLD_LLM_URL": "http://127.0.0.1:9/v1", "RECALLD_LLM_MODEL": "m"}
    assert recalld.error("chat", "Hello?", **nobody) == "the language model server cannot be reached, or hung up"
    missing = recalld.error("chat", "Hello?", RECALLD_LLM="smollm2")
    assert missing.endswith("run `recalld models pull smollm2`")


def test_stats_counts_by_namespace(recalld: CommandLine) -> None:
    recalld.ok("add", "one", "--namespace", "acme")
    recalld.ok("add", "two", "--namespace", "acme")
    told = recalld.json("stats", "--namespace", "acme")
    assert list(told) == [
        *("namespace", "memories", "versions", "text_bytes", "pending", "jobs", "vectors", "bytes"),
        *("kept", "bytes_per_memory", "encoder"),
    ]
    assert (told["namespace"], told["memories"], told["text_bytes"], told["pending"]) == ("acme", {"active": 2}, 6, 0)
    assert told["vectors"]["rows"] == 2
    assert recalld.json("stats")["memories"] == {}
    assert recalld.ok("stats", "--namespace", "acme").splitlines()[0].split() == ["namespace", "acme"]


def test_what_a_command_wrote_is_indexed_when_it_ends(recalld: CommandLine) -> None:
    recalld.ok("add", "one")
    assert recalld.json("worker", "--once") == {"applied": 0, "job_steps": 0}
    assert recalld.json("verify")["clean"] is True


def test_no_log_line_is_mixed_with_the_output(recalld: CommandLine) -> None:
    result = recalld("recall", "x", "--json", RECALLD_LOG_LEVEL="info")
    assert (result.stderr, json.loads(result.stdout)["results"]) == ("", [])
