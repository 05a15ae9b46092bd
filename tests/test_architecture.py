"""Rules for every module: who may import whom (``pyproject.toml``), what docstrings say, which facts code cites."""

import ast
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "itrialspace_assets"


@cache
def modules() -> dict[Path, ast.Module]:
    """Every module of the package; not at load: each worker of the tests loads this file."""
    return {p: ast.parse(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}


@pytest.mark.slow
def test_the_walls_hold_for_every_module() -> None:
    """The linter looked at each file there is, and none of its contracts is broken."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert len(grimp.build_graph("itrialspace_assets", cache_dir=None).modules) == len(modules()) > 150
    contracts = re.search(r"Contracts: (\d+) kept, (\d+) broken", done.stdout)
    assert contracts and int(contracts[1]) >= 4 and contracts[2] == "0"


def test_every_module_says_what_it_is_and_none_is_called_utils() -> None:
    for path, tree in modules().items():
        assert ast.get_docstring(tree), path
        assert path.stem not in ("utils", "helpers", "common", "manager")


#: Names that two public classes have: a notebook's case and trial stand for those of the platform, a report has tables.
SHARED = {"Case", "Trial", "Table"}


def test_two_ideas_never_share_the_name_of_a_class() -> None:
    at: dict[str, list[str]] = {}
    for path, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                at.setdefault(node.name, []).append(path.relative_to(PACKAGE).as_posix())
    assert len(at) > 500
    assert {name: places for name, places in at.items() if len(places) > 1 and name not in SHARED} == {}
    assert {name: len(at[name]) for name in SHARED} == dict.fromkeys(SHARED, 2)


def _public_functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, list[str]]]:
    """Public functions and methods of three or more named arguments, with all arguments but ``self`` and ``cls``."""
    for scope in (tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))):
        for node in scope.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                named = [a.arg for a in given if a.arg not in ("self", "cls")]
                if len(named) >= 3:
                    yield node, named + [a.arg for a in (node.args.vararg, node.args.kwarg) if a is not None]


def _raises(node: ast.AST) -> bool:
    """Whether a function's own code, without functions inside it, raises an error of its own."""
    inner = [n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.FunctionDef | ast.Lambda | ast.ClassDef)]
    return any((isinstance(n, ast.Raise) and n.exc is not None) or _raises(n) for n in inner)


def test_public_functions_describe_three_or_more_arguments_and_their_errors() -> None:
    """Google style: every argument under its name; a function that raises says which errors."""
    looked_at, wrong = 0, []
    for path, tree in modules().items():
        module = path.relative_to(PACKAGE).as_posix()
        if module.startswith(("cli/", "explorer/server/routes/")) or path.name in ("assets.py", "checks.py"):
            continue  # --help and OpenAPI describe their arguments; tests of both hold them to it
        for function, arguments in _public_functions(tree):
            looked_at += 1
            text = ast.get_docstring(function) or ""
            section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
            described = re.findall(r"^    (\w+): \S", section[1], re.MULTILINE) if section else []
            if sorted(described) != sorted(arguments):
                wrong.append(f"{module}:{function.lineno} {function.name}: expected {arguments}, got {described}")
            if _raises(function) and not re.search(r"^Raises:\n    \w+: \S", text, re.MULTILINE):
                wrong.append(f"{module}:{function.lineno} {function.name}: raises, and has no section Raises")
    assert not wrong, "\n".join(wrong)
    assert looked_at > 150


def _anchors(page: Path) -> set[str]:
    """Anchors of a page: slugs of its headings as the site makes them, and those that it states."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    stated = re.findall(r"""(?:\bid=["']|\{[^}\n]*#)([\w-]+)""", text)
    plain = [unicodedata.normalize("NFKD", h) for h in re.findall(r"^#+ +(.+?)(?: *\{.*\})? *$", text, re.MULTILINE)]
    words = [re.sub(r"[^\w\s-]", "", h.encode("ascii", "ignore").decode()).strip().lower() for h in plain]
    return {*stated, *(re.sub(r"[-\s]+", "-", w) for w in words)}


def test_every_fact_that_code_cites_exists() -> None:
    """A citation names a page of ``docs/facts`` and a heading (or stated anchor) of it, whole and on one line."""
    anchors = {page.name: _anchors(page) for page in (ROOT / "docs" / "facts").glob("*.md")}
    cited, wrong = 0, []
    for path in (p for folder in ("itrialspace_assets", "tests", "bench") for p in (ROOT / folder).rglob("*")):
        if path.suffix not in (".py", ".yaml"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for page, mark, anchor in re.findall(r"docs/facts/([\w-]+\.md)(#?)([\w-]*)", line):
                cited += bool(anchor)
                if page not in anchors or (mark and anchor not in anchors[page]):
                    wrong.append(f"{path.relative_to(ROOT)}:{number} cites {page}{mark}{anchor}")
    assert not wrong, "\n".join(wrong)
    assert cited >= 40


@pytest.mark.parametrize(
    ("statement", "banned"),
    [
        (
            "import itrialspace_assets.locations.all",
            ("torch", "great_expectations", "pandas", "altair", "vl_convert", "sklearn", "skimage", "fastapi"),
        ),
        (
            "import itrialspace_assets.cli.main",
            ("dagster", "polars", "numpy", "duckdb", "pydantic", "fastapi", "uvicorn"),
        ),
    ],
)
def test_what_loading_must_not_import(statement: str, banned: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {banned!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip().endswith("[]"), done.stdout
