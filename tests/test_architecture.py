"""Who may import whom: the walls are declared in ``pyproject.toml`` and held here, for every module."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "itrialspace_assets"
MODULES = {p: ast.parse(p.read_text(encoding="utf-8")) for p in PACKAGE.rglob("*.py")}


def test_the_walls_hold_for_every_module() -> None:
    """The linter looked at each file there is, and none of its contracts is broken."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    looked_at = re.search(r"Analyzed (\d+) files", done.stdout)
    assert looked_at and int(looked_at[1]) == len(MODULES) > 150
    contracts = re.search(r"Contracts: (\d+) kept, (\d+) broken", done.stdout)
    assert contracts and int(contracts[1]) >= 4 and contracts[2] == "0"


def test_every_module_says_what_it_is_and_none_is_called_utils() -> None:
    for path, tree in MODULES.items():
        assert ast.get_docstring(tree), path
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
