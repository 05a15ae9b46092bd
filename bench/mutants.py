"""How many small errors in the statistics the quick tests find.

Each mutant of ``mutants.yaml`` is one replacement in one file, made by hand where a slip would change a number. The
package and its tests are copied to a temporary folder, the replacement is made there, and the tests of
``tests/analysis`` run until the first failure. Baseline of the same run: they pass on the copy without a replacement.

    python -m bench.mutants [--only cells]
"""

import argparse
import importlib
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
FOLDER = "itrialspace_assets/analysis"
#: File -> tests that should find its mutants; the other tests are not asked.
TESTS = {
    "agreement": ("metrics",),
    "bootstrap": ("bootstrap",),
    "calibration": ("tallies", "jackknife"),
    "case_pairs": ("mrmc",),
    "cells": ("jackknife", "comparisons", "metrics"),
    "comparisons": ("comparisons",),
    "detection": ("froc",),
    "detection_rows": ("marks",),
    "froc": ("froc",),
    "intervals": ("intervals",),
    "jackknife": ("jackknife", "intervals"),
    "marks": ("marks",),
    "matching": ("froc", "scoring_files"),
    "metrics": ("metrics",),
    "mrmc": ("mrmc",),
    "observations": ("metrics",),
    "reader_files": ("scoring_files",),
    "roc": ("roc", "jackknife"),
    "scored": ("metrics",),
    "scoring_files": ("scoring_files",),
    "tallies": ("tallies",),
    "tasks": ("metrics",),
    "transfer": ("transfer",),
    "user_tables": ("scoring_files",),
    "variance": ("jackknife", "intervals", "comparisons"),
    "variance_components": ("variance_components",),
}
#: What every run of the tests needs and no mutant touches, loaded once for all.
LOADED = ("pytest", "hypothesis", "scipy.stats", "scipy.optimize", "sklearn.metrics", "statsmodels.stats.multitest",
          "statsmodels.stats.contingency_tables", "itrialspace_assets.demo.root", "itrialspace_assets.readers.registry",
          "itrialspace_assets.records.store")  # fmt: skip
#: Most processor seconds that the tests of one mutant may take; one that takes more counts as found.
LIMIT = 60


def tree(folder: Path) -> Path:
    """A copy of the package, its tests and the bench."""
    for name in ("itrialspace_assets", "tests", "bench"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def passes(folder: Path, tests: tuple[str, ...]) -> bool:
    """Whether some tests pass on this copy: in a fork, which has all modules but those of the statistics."""
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        import pytest

        files = [f"tests/analysis/test_{name}.py" for name in tests]
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow", *files])))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a file's name")
    options = parser.parse_args()
    sys.dont_write_bytecode = True
    mutants = yaml.safe_load(Path(__file__).with_name("mutants.yaml").read_text(encoding="utf-8"))
    survivors, count = [], 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = tree(Path(temporary))
        sys.path[:] = [str(folder), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        for name in LOADED:
            importlib.import_module(name)
        for name in [n for n in sys.modules if n.startswith(FOLDER.replace("/", "."))]:
            del sys.modules[name]
        if not passes(folder, tuple(sorted({t for tests in TESTS.values() for t in tests}))):
            sys.exit("the tests fail without any mutant")
        for file, changes in mutants.items():
            if options.only not in file:
                continue
            (path,) = (folder / FOLDER).rglob(file)
            whole = path.read_text(encoding="utf-8")
            for old, new in changes:
                if whole.count(old) != 1:
                    sys.exit(f"{file}: expected once, found {whole.count(old)} times: {old}")
                path.write_text(whole.replace(old, new), encoding="utf-8")
                survives = passes(folder, TESTS[path.stem])
                path.write_text(whole, encoding="utf-8")
                count += 1
                if survives:
                    survivors.append(f"{file}: {old} -> {new}")
                print(f"{count} {file}: {'survives' if survives else 'found'}: {old}", flush=True)
    print(f"{count - len(survivors)} of {count} mutants found ({(count - len(survivors)) / max(count, 1):.0%})")
    print("\n".join(f"survives: {s}" for s in survivors))


if __name__ == "__main__":
    main()
