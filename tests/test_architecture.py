"""Who may import whom: the walls that later issues must not move."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "itrialspace_assets"
#: Stages in the order that data flows; a stage imports from those before it and from root modules.
ORDER = (
    "profiles",
    "index",
    "hosts",
    "trials",
    "insertion",
    "synthesis",
    "slices",
    "readers",
    "analysis",
    "catalog",
    "explorer",
)
DAGSTER_FILES = ("assets.py", "checks.py", "definitions.py", "partitions.py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return found


MODULES = {p.relative_to(PACKAGE): imports(p) for p in PACKAGE.rglob("*.py")}


def test_only_the_edge_imports_dagster() -> None:
    for path, names in MODULES.items():
        if any(n.split(".")[0].startswith("dagster") or n.split(".")[0] in ("resources", "sensors") for n in names):
            assert path.name in DAGSTER_FILES or path.parts[0] in ("locations", "cli"), path


def test_torch_stays_in_its_backends_and_slow_libraries_inside_functions() -> None:
    for path, names in MODULES.items():
        if any(n.split(".")[0] == "torch" for n in names):
            assert path.parts[0] in ("synthesis", "readers"), path


def test_a_stage_imports_only_from_stages_before_it() -> None:
    for path, names in MODULES.items():
        stage = path.parts[0]
        if stage not in ORDER or path.name in ("assets.py", "checks.py"):
            continue
        for name in names:
            parts = name.split(".")
            if (
                parts[0] == "itrialspace_assets"
                and len(parts) > 1
                and parts[1] in (*ORDER, "demo", "cli", "graph", "partitions", "definitions")
            ):
                assert parts[1] in ORDER, f"{path} imports {name}"
                assert ORDER.index(parts[1]) <= ORDER.index(stage), f"{path} imports {name}"


def test_no_stage_imports_the_demo() -> None:
    for path, names in MODULES.items():
        if path.parts[0] not in ("demo", "cli"):
            assert not any(n.startswith("itrialspace_assets.demo") for n in names), path


def test_every_module_says_what_it_is_and_none_is_called_utils() -> None:
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "resources").glob("*.py"), *(ROOT / "sensors").glob("*.py")]:
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
        assert path.stem not in ("utils", "helpers", "common", "manager")


@pytest.mark.parametrize(
    ("statement", "banned"),
    [
        (
            "import itrialspace_assets.locations.all",
            ("torch", "great_expectations", "pandas", "matplotlib", "sklearn", "skimage"),
        ),
        ("import itrialspace_assets.cli.main", ("dagster", "polars", "numpy", "duckdb", "pydantic")),
    ],
)
def test_what_loading_must_not_import(statement: str, banned: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {banned!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip().endswith("[]"), done.stdout
