"""The house rules that a machine can check, on every source file, by reading it (nothing is imported).

A rule is a function from a file to what is wrong in it. Each stands in `CASES` with the files it is for, snippets that
it has to catch and snippets that it has to let pass: a rule that cannot fail is no rule. Exceptions are in the tables
below with their reason, and an exception that is no longer needed is a failure too. Import directions are checked by
`test_layers.py`; what ruff checks as well is here because it must not depend on its settings.
"""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
SERVER = ("memory", "retrieval", "compress", "api", "recalld")
PRODUCT = (*SERVER, "client", "bench")

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
DOCSTRING_FROM_LINES = 30

LONG_FILES: dict[str, str] = {
    "client/recalld_client/operations.py": "the one table of operations: what a call sends is decided here alone",
    "client/recalld_client/scoped.py": "thin methods, one for each operation, mirrored line by line",
    "client/recalld_client/async_scoped.py": "mirrors scoped.py line by line",
    "client/recalld_client/models.py": "a flat list of frozen models, one for each answer",
    "recalld/bootstrap.py": "the one composition root: whatever has a choice is chosen here alone",
    "memory/store/inmemory.py": "the reference of all that a store does, to be read beside the port",
}
"""Path -> why it is one file all the same."""
LONG_FUNCTIONS: dict[str, str] = {}
"""`path::Class.function` -> why it is one function all the same."""

ENVIRONMENT_PLACES = ("recalld/core/config", "client/recalld_client/settings")
BROAD_EXCEPT_PLACES = ("api", "recalld/jobs/worker")
LATE_IMPORT_PLACES = ("recalld/bootstrap", "recalld/cli")
SQL_PLACES = ("memory/store", "recalld/jobs/queue", "recalld/core/db", "recalld/core/access")
SLOW = {
    *("torch", "triton", "gguf", "jinja2", "transformers", "sentence_transformers", "faiss", "onnxruntime"),
    *("fastapi", "uvicorn", "huggingface_hub", "mcp", "recalld_client"),
}
"""Packages that are optional, or take so long to import that a command which does not need them must not wait."""
LATER, BROKEN = "TO" + "DO", "FIX" + "ME"  # in pieces, so that this file does not hold them itself
DATABASES = {"sqlalchemy", "sqlite3", "alembic", "psycopg", "asyncpg"}


@dataclass(frozen=True)
class Source:
    """One file: its path from the root with `/`, and its text."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return _parse(self.text)

    def is_in(self, places: Iterable[str]) -> bool:
        """Whether it is one of these modules, or inside one that is a package."""
        return any(self.path == f"{place}.py" or self.path.startswith(f"{place}/") for place in places)


@cache
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


Rule = Callable[[Source], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(node: ast.AST) -> str:
    """`a.b.c` of a dotted expression, the called thing of a call, else nothing."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            return f"{name_of(value)}.{attr}"
        case ast.Call(func=func):
            return name_of(func)
        case _:
            return ""


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that an import statement names; of `from a import b` both `a` and `a.b`, which may be one."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Every function with its dotted name."""

    def below(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}{child.name}" if isinstance(child, Function | ast.ClassDef) else prefix
            if isinstance(child, Function):
                yield name, child
            yield from below(child, f"{name}." if name != prefix else prefix)

    return below(tree, "")


# --- the rules


def no_relative_imports(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{node.lineno}: relative import"


def no_star_imports(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{node.lineno}: star import"


def environment_in_one_place(source: Source) -> Iterator[str]:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    if source.is_in(ENVIRONMENT_PLACES):
        return
    for node in ast.walk(source.tree):
        direct = isinstance(node, ast.Attribute) and node.attr in names and isinstance(node.value, ast.Name)
        if direct or (
            isinstance(node, ast.ImportFrom) and node.module == "os" and {a.name for a in node.names} & names
        ):
            yield f"{getattr(node, 'lineno', 0)}: reads the environment"


def no_broad_except(source: Source) -> Iterator[str]:
    broad = {"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"}
    if source.is_in(BROAD_EXCEPT_PLACES):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(one is None or name_of(one) in broad for one in caught):
                yield f"{node.lineno}: broad except"
        elif isinstance(node, ast.Call) and name_of(node).endswith("suppress") and {*map(name_of, node.args)} & broad:
            yield f"{node.lineno}: broad suppress"


def file_is_short(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if (lines > FILE_LINES_MAX) != (source.path in LONG_FILES):
        yield f"{lines} lines; more than {FILE_LINES_MAX} need a reason in LONG_FILES, and only those have one"


def functions_are_short(source: Source) -> Iterator[str]:
    for name, node in functions(source.tree):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if (lines > FUNCTION_LINES_MAX) != (f"{source.path}::{name}" in LONG_FUNCTIONS):
            yield f"{node.lineno}: {name} has {lines} lines; the limit is {FUNCTION_LINES_MAX} (see LONG_FUNCTIONS)"


def module_has_docstring(source: Source) -> Iterator[str]:
    if len(source.text.splitlines()) > DOCSTRING_FROM_LINES and not ast.get_docstring(source.tree):
        yield "no module docstring"


def nothing_left_to_do(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.text.splitlines(), start=1):
        if re.search(rf"\b({LATER}|{BROKEN})\b", line):
            yield f"{number}: unfinished"


def names_say_something(source: Source) -> Iterator[str]:
    vague = {"util", "utils", "helper", "helpers"}
    for part in PurePosixPath(source.path).with_suffix("").parts:
        if part in vague | {"common", "misc"} or part.rsplit("_", 1)[-1] in vague:
            yield f"{part} says nothing about what is in it"


def late_imports_are_for_slow_packages(source: Source) -> Iterator[str]:
    for _, function in functions(source.tree):
        for node in ast.walk(function):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            if not source.is_in(LATE_IMPORT_PLACES):
                yield f"{node.lineno}: import inside a function"
            elif not any(is_slow(module, tree_of_modules()) for module in imported(node)):
                yield f"{node.lineno}: imports late what is neither slow nor optional"


def is_slow(module: str, modules: Mapping[str, Source]) -> bool:
    """Whether importing a module of ours brings in one of `SLOW`."""
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        name = ahead.pop()
        if name.split(".")[0] in SLOW:
            return True
        if name in seen or name not in modules:
            continue
        seen.add(name)
        ahead.append(name.rpartition(".")[0])
        ahead.extend(found for node in at_import(modules[name].tree) for found in imported(node))
    return False


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The statements that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        type_checking = isinstance(child, ast.If) and name_of(child.test).endswith("TYPE_CHECKING")
        if not isinstance(child, Function) and not type_checking:
            yield child
            yield from at_import(child)


SQL_TEXT = re.compile(
    r"""\s* (?: (SELECT\s.+\sFROM | UPDATE\s+\w+\s+SET | WITH\s+\w+\s+AS\s*\( | PRAGMA\s+\w+ | BEGIN\s+\w+ | VACUUM)\b
             | (?i: INSERT\s+(OR\s+\w+\s+)?INTO\s | DELETE\s+FROM\s+\w+(\s+WHERE\b | \s*;?\s*$)
                  | (ALTER|DROP)\s+TABLE\s | CREATE\s+(\w+\s+)?(TABLE|INDEX|TRIGGER|VIEW)\s
                  | SELECT\s.+\sFROM\s+\w+\s+(WHERE|JOIN|ORDER\s+BY|LIMIT)\b ) )""",
    re.VERBOSE | re.DOTALL,
)
"""Statements as they are written; in small letters only those that no sentence begins like."""


def sql_in_its_places(source: Source) -> Iterator[str]:
    if source.is_in(SQL_PLACES):
        return
    prose = {id(node.value) for node in ast.walk(source.tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(source.tree):
        if {name.split(".")[0] for name in imported(node)} & DATABASES:
            yield f"{getattr(node, 'lineno', 0)}: imports a database package"
        text = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
        if isinstance(text, str) and SQL_TEXT.match(text):
            yield f"{getattr(node, 'lineno', 0)}: SQL text"


ISOLATED: dict[str, tuple[str, ...]] = {
    "client/recalld_client": (),
    "recalld/mcp": (),
    "recalld/demo": ("recalld.core",),
    **dict.fromkeys(SERVER, SERVER),
}
"""Which of our own packages a part may import at most, itself aside; the first entry that fits a file counts."""
OURS = {*SERVER, "bench", "tests", "client"}


def isolated_parts_stay_so(source: Source) -> Iterator[str]:
    place = next(place for place in ISOLATED if source.is_in([place]))
    allowed = (*ISOLATED[place], place.replace("/", "."))
    for node in ast.walk(source.tree):
        names = list(imported(node))
        for name in names[:1] if isinstance(node, ast.ImportFrom) else names:
            if name.split(".")[0] in OURS and not any(f"{name}.".startswith(f"{one}.") for one in allowed):
                yield f"{getattr(node, 'lineno', 0)}: {place} imports {name}"


def migration_goes_back(source: Source) -> Iterator[str]:
    """A downgrade does something, or raises with the reason why it can not."""
    found = [node for name, node in functions(source.tree) if name == "downgrade"]
    if not found:
        yield "no downgrade"
    for node in found:
        empty = (ast.Pass, ast.Expr) if not any(isinstance(n, ast.Call) for n in ast.walk(node)) else ast.Pass
        if all(isinstance(statement, empty) for statement in node.body):
            yield f"{node.lineno}: downgrade does nothing and does not say why"


def asserts_something(source: Source) -> Iterator[str]:
    """By an assert, a `raises`, or a function that is called `assert_...` or `check_...` or asserts in this file."""
    in_file = dict(functions(source.tree))
    for name, node in in_file.items():
        if name.rpartition(".")[2].startswith("test_") and not asserts_a_value(node, in_file, frozenset({name})):
            yield f"{node.lineno}: {name} asserts nothing, or only a type or that something is there"


CHECKS = {"raises", "warns", "fail", "call_and_validate", "validate_response", "run_state_machine_as_test"}


def asserts_a_value(node: ast.AST, in_file: Mapping[str, Function], seen: frozenset[str]) -> bool:
    for child in ast.walk(node):
        if isinstance(child, ast.Assert) and not is_weak(child.test):
            return True
        if isinstance(child, ast.Call):
            called = name_of(child).rpartition(".")[2]
            if called in CHECKS or called.startswith(("assert_", "check_")):
                return True
            for name in in_file.keys() - seen:
                ours = name.rpartition(".")[2] == called
                if ours and asserts_a_value(in_file[name], in_file, seen | {name}):
                    return True
    return False


def is_weak(test: ast.expr) -> bool:
    """A condition that is always true, or says only of which type a thing is or that it is there."""
    match test:
        case ast.Constant() | ast.Tuple():
            return True
        case ast.Call():
            return name_of(test) in {"isinstance", "callable", "hasattr"}
        case ast.Compare(ops=[ast.IsNot()], comparators=[ast.Constant(value=None)]):
            return True
        case ast.BoolOp(values=values):
            return all(map(is_weak, values))
        case _:
            return False


# --- the table


@dataclass(frozen=True)
class Case:
    """A rule, the folders it is for, and what it has to catch and to let pass: (path, text)."""

    rule: Rule
    folders: tuple[str, ...]
    bad: tuple[tuple[str, str], ...]
    good: tuple[tuple[str, str], ...]


TESTS = ("tests", "client/tests")
LINES_31 = "x = 1\n" * 31
LATE = "def f():\n    import {}\n"

CASES = (
    Case(
        no_relative_imports,
        (*PRODUCT, *TESTS),
        bad=(("memory/a.py", "from . import b"), ("api/a.py", "def f():\n    from .b import c")),
        good=(("memory/a.py", "from memory import b"),),
    ),
    Case(
        no_star_imports,
        (*PRODUCT, *TESTS),
        bad=(("memory/a.py", "from memory.b import *"),),
        good=(("memory/a.py", "from memory.b import c\nx = 2 * 3"),),
    ),
    Case(
        environment_in_one_place,
        PRODUCT,
        bad=(
            ("recalld/cli.py", "import os\nx = os.environ['A']"),
            ("recalld/cli.py", "import os\nos.getenv('A')"),
            ("recalld/cli.py", "import os as o\no.environ.get('A')"),
            ("recalld/cli.py", "from os import environ"),
            ("client/recalld_client/client.py", "from os import getenv as g"),
        ),
        good=(
            ("recalld/core/config.py", "import os\nos.environ.get('A')"),
            ("client/recalld_client/settings.py", "import os\nos.environ.get('A')"),
            ("recalld/cli.py", "import os\nos.replace('a', 'b')\nx.scope.environ = 1"),
        ),
    ),
    Case(
        no_broad_except,
        PRODUCT,
        bad=(
            ("memory/a.py", "try:\n    f()\nexcept:\n    pass"),
            ("memory/a.py", "try:\n    f()\nexcept Exception as e:\n    raise"),
            ("recalld/jobs/queue.py", "try:\n    f()\nexcept (ValueError, BaseException):\n    pass"),
            ("memory/a.py", "with contextlib.suppress(Exception):\n    f()"),
        ),
        good=(
            ("memory/a.py", "try:\n    f()\nexcept (ValueError, OSError):\n    pass"),
            ("api/errors.py", "try:\n    f()\nexcept Exception:\n    pass"),
            ("recalld/jobs/worker.py", "try:\n    f()\nexcept Exception:\n    pass"),
        ),
    ),
    Case(
        file_is_short,
        PRODUCT,
        bad=(("memory/a.py", "x = 1\n" * 401),),
        good=(("memory/a.py", "x = 1\n" * 400),),
    ),
    Case(
        functions_are_short,
        PRODUCT,
        bad=(
            ("memory/a.py", "def f():\n" + "    x = 1\n" * 70),
            ("memory/a.py", "class A:\n    async def f(self):\n" + "        x = 1\n" * 70),
        ),
        good=(("memory/a.py", "def f():\n" + "    x = 1\n" * 69),),
    ),
    Case(
        module_has_docstring,
        PRODUCT,
        bad=(("memory/a.py", LINES_31),),
        good=(("memory/a.py", '"""What it is."""\n' + LINES_31), ("memory/a.py", "x = 1\n" * 30)),
    ),
    Case(
        nothing_left_to_do,
        (*PRODUCT, *TESTS, "alembic"),
        bad=(("memory/a.py", f"x = 1  # {LATER}: more"), ("memory/a.py", f'"""A {LATER}."""')),
        good=(("memory/a.py", "# a method"),),
    ),
    Case(
        names_say_something,
        (*PRODUCT, *TESTS),
        bad=(("memory/utils.py", ""), ("api/helpers/a.py", ""), ("memory/sql_utils.py", ""), ("api/common.py", "")),
        good=(("memory/lifecycle.py", ""), ("memory/common_prefix.py", "")),
    ),
    Case(
        late_imports_are_for_slow_packages,
        PRODUCT,
        bad=(
            ("memory/a.py", LATE.format("torch")),
            ("memory/a.py", "class A:\n    def f(self):\n        if x:\n            from memory import b"),
            ("recalld/bootstrap.py", LATE.format("json")),
            ("recalld/cli/a.py", LATE.format("recalld.core.errors")),
        ),
        good=(
            ("recalld/bootstrap.py", LATE.format("torch.nn")),
            ("recalld/cli.py", LATE.format("sentence_transformers")),
            ("recalld/cli/serve.py", "def f():\n    from api import app"),
            ("memory/a.py", "try:\n    import torch\nexcept ImportError:\n    torch = None"),
        ),
    ),
    Case(
        sql_in_its_places,
        SERVER,
        bad=(
            ("memory/service.py", "from sqlalchemy import select"),
            ("api/deps.py", "import sqlalchemy.orm as o"),
            ("recalld/jobs/worker.py", "import sqlite3"),
            ("retrieval/a.py", "q = 'SELECT id FROM memories'"),
            ("retrieval/a.py", "q = 'select id from memories where id = ?'"),
            ("retrieval/a.py", "q = f'''\n  INSERT INTO {t} VALUES (1)'''"),
            ("retrieval/a.py", "run('PRAGMA secure_delete = ON')"),
            ("retrieval/a.py", "run('delete from memories')"),
        ),
        good=(
            ("memory/store/sql.py", "from sqlalchemy import select\nq = 'SELECT id FROM memories'"),
            ("recalld/core/db.py", "import sqlite3"),
            ("recalld/core/access/keys.py", "import sqlalchemy"),
            ("retrieval/a.py", '"""SELECT the best FROM all."""\ndef f():\n    """DELETE FROM x WHERE y."""'),
            (
                "retrieval/a.py",
                "h = 'Delete from the index what SQL no longer has'\ni = 'select a model from the list'",
            ),
        ),
    ),
    Case(
        isolated_parts_stay_so,
        (*SERVER, "client/recalld_client"),
        bad=(
            ("client/recalld_client/a.py", "from recalld.core import errors"),
            ("client/recalld_client/a.py", "import memory.model"),
            ("recalld/mcp/server.py", "from recalld.core.errors import RecalldError"),
            ("recalld/demo.py", "from recalld import bootstrap"),
            ("recalld/demo/run.py", "import memory"),
            ("memory/a.py", "from bench.datasets import locomo"),
            ("api/a.py", "import tests.fixtures"),
        ),
        good=(
            ("client/recalld_client/a.py", "import httpx2\nfrom recalld_client.errors import NotFound"),
            ("recalld/mcp/server.py", "from recalld_client import Recalld\nfrom recalld.mcp.tools import tools"),
            ("recalld/demo.py", "import json\nfrom recalld.core.errors import RecalldError\nimport recalld_client"),
            ("api/a.py", "from recalld.core import config\nimport memory.service"),
        ),
    ),
    Case(
        migration_goes_back,
        ("alembic/versions",),
        bad=(
            ("alembic/versions/1.py", "def upgrade():\n    f()"),
            ("alembic/versions/1.py", "def downgrade():\n    pass"),
            ("alembic/versions/1.py", "def downgrade() -> None:\n    '''Nothing.'''\n    pass"),
            ("alembic/versions/1.py", "def downgrade():\n    ..."),
        ),
        good=(
            ("alembic/versions/1.py", "def downgrade():\n    op.drop_table('a')"),
            ("alembic/versions/1.py", "def downgrade():\n    raise NotImplementedError('the text was not kept')"),
        ),
    ),
    Case(
        asserts_something,
        TESTS,
        bad=(
            ("tests/test_a.py", "def test_a():\n    f()"),
            ("tests/test_a.py", "def test_a():\n    assert True"),
            ("tests/test_a.py", "def test_a():\n    assert (f(), 'message')"),
            ("tests/test_a.py", "def test_a():\n    x = f()\n    assert x is not None\n    assert isinstance(x, int)"),
            ("tests/test_a.py", "class TestA:\n    async def test_a(self):\n        await f()"),
            ("tests/test_a.py", "def same(a):\n    return a\ndef test_a():\n    same(1)"),
        ),
        good=(
            ("tests/test_a.py", "def test_a():\n    assert f() == 1"),
            ("tests/test_a.py", "def test_a():\n    with pytest.raises(ValueError):\n        f()"),
            ("tests/test_a.py", "def test_a():\n    np.testing.assert_allclose(f(), 1)"),
            ("tests/test_a.py", "def same(a):\n    assert a == 1\ndef test_a():\n    same(f())"),
            ("tests/test_a.py", "def test_a(check):\n    check_by_value(f())"),
        ),
    ),
)


def sources(folders: Iterable[str]) -> list[Source]:
    """The Python files of these folders; the tests of the client are for the folder that names them."""
    return [
        Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if folder == "client/tests" or "client/tests/" not in path.as_posix()
    ]


@cache
def tree_of_modules() -> Mapping[str, Source]:
    """The server's modules by dotted name."""
    return {
        ".".join(PurePosixPath(source.path).with_suffix("").parts).removesuffix(".__init__"): source
        for source in sources(SERVER)
    }


BAD = [
    pytest.param(case.rule, *bad, id=f"{case.rule.__name__}-{i}") for case in CASES for i, bad in enumerate(case.bad)
]
GOOD = [
    pytest.param(case.rule, *ok, id=f"{case.rule.__name__}-{i}") for case in CASES for i, ok in enumerate(case.good)
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule.__name__)
def test_the_code_keeps_the_rule(case: Case) -> None:
    files = sources(case.folders)
    assert [f"{file.path}:{wrong}" for file in files for wrong in case.rule(file)] == []


@pytest.mark.parametrize("folder", [*SERVER, "client", *TESTS, "alembic/versions"])
def test_there_is_something_to_check(folder: str) -> None:
    assert len(sources([folder])) >= 1


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_the_rule_catches(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule(Source(path, text)))) == 1


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_the_rule_lets_pass(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text))) == []


def test_an_exception_needs_its_reason_and_what_it_is_for() -> None:
    for entry, reason in (LONG_FILES | LONG_FUNCTIONS).items():
        assert len(reason) > 20, f"{entry}: the reason is a sentence"
        path, _, name = entry.partition("::")
        assert (ROOT / path).is_file(), f"{entry}: there is no such file"
        known = dict(functions(_parse((ROOT / path).read_text(encoding="utf-8"))))
        assert not name or name in known, f"{entry}: there is no such function"


def test_a_long_file_that_became_short_loses_its_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LONG_FILES, "memory/a.py", "one table of words")
    monkeypatch.setitem(LONG_FUNCTIONS, "memory/a.py::A.f", "one table of words")
    assert list(file_is_short(Source("memory/a.py", "x = 1\n" * 401))) == []
    assert len(list(file_is_short(Source("memory/a.py", "x = 1")))) == 1
    method = "class A:\n    def f(self):\n"
    assert list(functions_are_short(Source("memory/a.py", method + "        x = 1\n" * 70))) == []
    assert len(list(functions_are_short(Source("memory/a.py", method + "        pass")))) == 1


def test_a_module_is_slow_through_what_it_imports_when_it_is_imported() -> None:
    texts = {
        "a": "",
        "a.direct": "import torch",
        "a.through": "from a import direct",
        "a.typing": "if TYPE_CHECKING:\n    import torch",
        "a.later": "def f():\n    import torch",
        "a.guarded": "try:\n    import torch\nexcept ImportError:\n    pass",
        "b": "import torch",
        "b.child": "",
    }
    modules = {name: Source(f"{name}.py", text) for name, text in texts.items()}
    slow = {name for name in modules if is_slow(name, modules)}
    assert slow == {"a.direct", "a.through", "a.guarded", "b", "b.child"}


def heads(migrations: Iterable[Source]) -> set[str]:
    """The revisions that no other one follows."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for source in migrations:
        values: dict[str, object] = {}
        for node in source.tree.body:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ) if name in {"revision", "down_revision"}:
                    values[name] = ast.literal_eval(value)
        revisions.add(str(values["revision"]))
        down = values["down_revision"]
        followed.update(map(str, down) if isinstance(down, tuple) else [str(down)])
    return revisions - followed


def test_the_migrations_have_one_head() -> None:
    assert len(heads(sources(["alembic/versions"]))) == 1


def test_two_heads_are_noticed_and_a_merge_joins_them() -> None:
    chain = {"1": "None", "2": "'1'", "3": "'1'"}
    migrations = [Source(name, f"revision: str = '{name}'\ndown_revision = {down}") for name, down in chain.items()]
    assert heads(migrations) == {"2", "3"}
    assert heads([*migrations, Source("4", "revision = '4'\ndown_revision = ('2', '3')")]) == {"4"}
