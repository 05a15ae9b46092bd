"""Recognises the original's results: what its models answered, a table for each model, condition and task.

``<model>/<condition>/<task>_results.csv`` (docs/facts/published-release.md#results-of-models). They are named, counted
and checked for their columns; their answers are read into no table.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.release.parts import ReleasedRow, read_rows

#: Folders of a release in which results lie; the second is the beginning of a name.
RESULT_FOLDERS = ("vlm_dataset", "vlm_eval")
#: Tasks and columns of a table of results.
TASKS = ("presence", "lobe", "size")
COLUMNS = ("case_id", "mode", "image_path", "task", "prediction", "ground_truth", "correct")
_END = "_results.csv"


def result_rows(root: Path) -> Iterator[ReleasedRow]:
    """A row for each table of results that holds all cases; copies of single modes and aggregates are not listed.

    Args:
        root: the release.
    """
    for top in sorted(p for p in root.iterdir() if p.is_dir() and p.name.startswith(RESULT_FOLDERS)):
        for folder, inner, files in os.walk(top):
            inner[:] = sorted(d for d in inner if d != "slices" and not d.startswith("."))
            for name in sorted(f for f in files if f.endswith(_END) and not f.startswith(".")):
                path = Path(folder) / name
                if not (path.parent.parent.name in CONDITIONS and path.parent.name not in CONDITIONS):
                    yield _row(root, path)


def _row(root: Path, path: Path) -> ReleasedRow:
    where, task = str(path.relative_to(root)), path.name.removesuffix(_END)
    model, condition = path.parent.parent.name, path.parent.name
    if condition not in CONDITIONS or task not in TASKS:
        detail = f"expected <model>/<condition>/<task>{_END}: {', '.join(CONDITIONS)}; {', '.join(TASKS)}"
        return ReleasedRow(kind="results", path=where, status="unexpected", detail=detail)
    rows = read_rows(path)
    if missing := [c for c in COLUMNS if not rows or c not in rows[0]]:
        detail = f"expected the columns of results, missing {', '.join(missing)}"
        return ReleasedRow(kind="results", path=where, rows=len(rows), status="damaged", detail=detail)
    if others := sorted({r["task"] for r in rows} - {task}):
        detail = f"expected task {task} in every row, got {', '.join(others)} too"
        return ReleasedRow(kind="results", path=where, rows=len(rows), status="contradicts", detail=detail)
    return ReleasedRow(
        kind="results",
        path=where,
        rows=len(rows),
        status="ok",
        detail=f"model {model}, condition {condition}, task {task}",
        sha256=hash_file(path),
    )
