"""Reads published manifests, ours or the original's: CSV or JSON, numbers as numbers, defaults filled in.

A manifest names a label map, a donor mask and a position for every row (docs/facts/insertion.md#manifest-columns).
Opens none of the files that it names.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.records.text_tables import BLANK, NUMBER, read_csv

#: Columns that every manifest must have (docs/facts/insertion.md#manifest-columns).
NEEDED = (
    "case_id",
    "host_organ_seg_path",
    "donor_nodule_mask_path",
    "insertion_lobe",
    "insertion_lobe_cc_pct",
    "insertion_lobe_ml_pct",
    "insertion_lobe_ap_pct",
)
#: Defaults of columns that a manifest may lack: nodule_idx, scale_factor and trial_name as published
#: (docs/facts/insertion.md#manifest-columns), the others ours.
DEFAULTS: dict[str, Any] = {
    "nodule_idx": 0,
    "scale_factor": 1.0,
    "trial_name": "unnamed",
    "host_patient_id": "",
    "host_dataset": "",
    "donor_dataset": "",
    "donor_annotation_id": "",
    "donor_patient_id": "",
    "host_ct_path": None,
    "donor_ct_path": None,
    "donor_refined_seg_path": None,
    "insertion_coord_x": None,
    "insertion_coord_y": None,
    "insertion_coord_z": None,
    "label": None,
    "effective_diam_mm": None,
    "present": "true",
    "placement": None,
    "asked_pleural_mm": None,
    "asked_airway_mm": None,
    "margin_mm": 1.0,
    "rotation_x_deg": 0.0,
    "rotation_y_deg": 0.0,
    "rotation_z_deg": 0.0,
    "mirrored": "false",
    "seed": None,
    "relaxations": "",
    "companion_group_id": None,
    "kept": "false",
}
_COORDS = ("insertion_coord_x", "insertion_coord_y", "insertion_coord_z")
_NUMBERS = (
    *_COORDS,
    "nodule_idx",
    "scale_factor",
    "label",
    "effective_diam_mm",
    "asked_pleural_mm",
    "asked_airway_mm",
    "margin_mm",
    "rotation_x_deg",
    "rotation_y_deg",
    "rotation_z_deg",
    "insertion_lobe_cc_pct",
    "insertion_lobe_ml_pct",
    "insertion_lobe_ap_pct",
)
_FLAGS, _TRUE, _FALSE = ("present", "mirrored", "kept"), ("true", "1", "yes"), ("false", "0", "no")
#: A seed as a manifest may write it: all its digits, so that nothing is rounded.
_SEED = r"^(\d+)(\.0*)?$"

#: Tables and JSON files that lie beside manifests and are none, of the original and of our version 0.1: a word of
#: their name (docs/facts/insertion.md#files-beside-manifests).
_BESIDE = re.compile(r"(^|[._-])(audit|metadata|log|readme|run_config|arms|balance)[._-]|^trial\.json$", re.IGNORECASE)


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """The rows of a manifest: CSV, or JSON with a list of rows or with ``cases``.

    Numbers are numbers or None, flags are booleans, defaults are filled in; further columns are kept as text. Each row
    has ``unreadable`` too: the first of its numbers that is none, with what was expected; empty if all are numbers.

    Raises:
        ConfigError: no such file, another format, a missing column, a flag that is none, or a row without its own
            case_id and nodule_idx; names file, row and column.
    """
    try:
        frame = _of_json(path) if path.suffix == ".json" else read_csv(path, "manifest")
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a manifest (CSV or JSON), found none") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pl.exceptions.PolarsError, TableError) as error:
        raise ConfigError(f"{path}: expected a manifest (CSV or JSON), got {error}") from None
    if lost := [c for c in NEEDED if c not in frame.columns]:
        raise ConfigError(f"{path}: expected the columns {', '.join(NEEDED)}; {', '.join(lost)} missing")
    for name, value in DEFAULTS.items():
        column = pl.col(name) if name in frame.columns else pl.lit(None, pl.String)
        if name in (*_NUMBERS, *_FLAGS, "seed"):
            column = column.str.strip_chars()
            blank = BLANK if value is None else ("",)  # "NA" never becomes a default that is not null
            column = pl.when(~column.str.to_lowercase().is_in(blank)).then(column)
        frame = frame.with_columns((column if value is None else column.fill_null(str(value))).alias(name))
    frame = frame.with_columns(pl.col(c).str.strip_chars() for c in _NUMBERS if c not in DEFAULTS)
    seed = pl.col("seed").str.extract(_SEED).cast(pl.Int64, strict=False)
    unreadable = pl.coalesce(
        *(_not_a_number(c) for c in _NUMBERS),
        pl.when(pl.col("seed").is_not_null() & seed.is_null()).then(
            pl.concat_str(pl.lit("seed: expected a whole number below 2^63, got '"), pl.col("seed"), pl.lit("'"))
        ),
        pl.lit(""),
    )
    values = (pl.col(c).cast(pl.Float64, strict=False) for c in _NUMBERS)  # strict: what is null here is unreadable
    frame = frame.with_columns(
        unreadable.alias("unreadable"),
        *(pl.when(v.is_finite()).then(v).alias(c) for c, v in zip(_NUMBERS, values, strict=True)),
        seed.alias("seed"),
        *(pl.col(c).str.to_lowercase().alias(c) for c in _FLAGS),
    )
    for name in _FLAGS:
        strange = frame.with_row_index("_row").filter(~pl.col(name).is_in([*_TRUE, *_FALSE]))
        if strange.height:
            number, got = strange.select("_row", name).row(0)
            raise ConfigError(f"{path}: row {number}: {name}: expected true or false, got {got!r}")
        frame = frame.with_columns(pl.col(name).is_in(_TRUE))
    rows = frame.to_dicts()
    for number, r in enumerate(rows):
        if r["nodule_idx"] is None or r["nodule_idx"] < 0 or r["nodule_idx"] % 1 or r["case_id"] is None:
            raise ConfigError(
                f"{path}: row {number}: expected a case_id and a whole number as nodule_idx, got "
                f"{r['case_id']!r} and {r['nodule_idx']!r}"
            )
    keys = [(r["case_id"], r["nodule_idx"]) for r in rows]
    if len(set(keys)) != len(keys):
        twice = next(k for k in keys if keys.count(k) > 1)
        raise ConfigError(f"{path}: expected each case_id and nodule_idx once, got {twice} again")
    return rows


def _of_json(path: Path) -> pl.DataFrame:
    """Rows of a JSON manifest as text: each value as JSON writes it, so that no number is rounded."""
    tree = json.loads(path.read_text(encoding="utf-8-sig"))
    raw = tree["cases"] if isinstance(tree, dict) else tree
    rows = [{k: v if v is None or isinstance(v, str) else json.dumps(v) for k, v in r.items()} for r in raw]
    return pl.DataFrame(rows, schema=dict.fromkeys(dict.fromkeys(k for r in rows for k in r), pl.String()))


def _not_a_number(column: str) -> pl.Expr:
    """What is wrong with a value that is there and no number; else null."""
    text = pl.col(column)
    finite = text.str.contains(NUMBER) & text.cast(pl.Float64, strict=False).is_finite().fill_null(False)
    return pl.when(text.is_not_null() & ~finite).then(
        pl.concat_str(pl.lit(f"{column}: expected a number, got '"), text, pl.lit("'"))
    )


def own_scan(row: Mapping[str, Any]) -> bool | None:
    """Whether a row's host is the scan that its donor was segmented on, by CT, else by label map, else by person.

    None: both are of one person, so that their grids must tell.
    """
    if row["host_ct_path"] and row["donor_ct_path"]:
        return bool(row["host_ct_path"] == row["donor_ct_path"])
    if row["host_organ_seg_path"] and row["donor_refined_seg_path"]:
        return bool(row["host_organ_seg_path"] == row["donor_refined_seg_path"])
    same = all(row[f"host_{c}"] == row[f"donor_{c}"] for c in ("dataset", "patient_id"))
    return None if same else False


def stated_place(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """World mm (RAS+) of the nodule's centre in its donor's scan, as a row states it; None where it states none.

    The original writes 0, 0, 0 where it draws a position (docs/facts/insertion.md#places-of-a-manifest).
    """
    x, y, z = (row[c] for c in _COORDS)
    return None if None in (x, y, z) or (x, y, z) == (0, 0, 0) else (x, y, z)


def input_path(stated: str, base: Path) -> Path | None:
    """A path that a manifest or an audit states, on this machine; None where it would leave ``base``.

    Relative: below ``base``. Absolute: as it is; where no file is there, its part from ``masks`` on below ``base``, if
    that is one, because the original's files hold paths of the machine that wrote them.
    """
    path = Path(stated)
    if not stated or (".." in path.parts and not path.is_absolute()):
        return None
    above = [i for i, part in enumerate(path.parts) if part == "masks"]
    inner = path.parts[above[-1] :] if above and ".." not in path.parts else ()
    moved = base.joinpath(*inner)
    return moved if path.is_absolute() and not path.is_file() and inner and moved.is_file() else base / path


def is_beside(path: Path) -> bool:
    """Whether a file among manifests is none: hidden, neither CSV nor JSON, or named as what lies beside them."""
    return path.name.startswith(".") or path.suffix not in (".csv", ".json") or bool(_BESIDE.search(path.name))


def manifests_among(paths: Sequence[Path]) -> list[Path]:
    """Those of some files that are manifests: nothing that lies beside them, no JSON twin of a CSV. A folder stands
    for the files below it.

    Raises:
        ConfigError: none of them is a manifest.
    """
    files = [f for p in paths for f in (sorted(x for x in p.rglob("*") if x.is_file()) if p.is_dir() else [p])]
    tables = {p.with_suffix("") for p in files if p.suffix == ".csv"}
    kept = [p for p in files if not is_beside(p) and not (p.suffix == ".json" and p.with_suffix("") in tables)]
    if not kept:
        raise ConfigError(f"expected a manifest, got {', '.join(p.name for p in files[:5]) or 'nothing'}")
    return list(dict.fromkeys(kept))


def published_folders(manifest: Path) -> tuple[str, str]:
    """Folder of the mode, and folder of the manifest below it, in the published layout."""
    parts = manifest.absolute().with_suffix("").parts
    if above := [i for i, part in enumerate(parts[:-2]) if part == "manifests"]:
        inner = parts[above[-1] + 1 :]
        return inner[0], "/".join(inner[1:])
    return "own", manifest.stem
