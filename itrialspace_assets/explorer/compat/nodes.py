"""Nodules as the original's apps name and describe them: node ids, metadata rows, label words. Knows no server.

A row is of the index. Where the original gave a path of its disk, an id is given: of the scan, or of the nodule.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts.table import by_value
from itrialspace_assets.explorer.search.columns import Columns, Mask, RowNumbers
from itrialspace_assets.explorer.search.filters import all_of, among, between, missing
from itrialspace_assets.profiles.registry import dataset as registered
from itrialspace_assets.records.tables import TABLES

#: Columns of a metadata row (published), from the index.
METADATA = (
    *("dataset", "annotation_id", "patient_id", "label", "nodule_mean_diam_mm"),
    *("reinsertion_lobe", "reinsertion_lung_side", "reinsertion_lung_zone"),
    *(f"reinsertion_{of}_{a}_pct" for of in ("lobe", "lung") for a in ("cc", "ml", "ap")),
    *("reinsertion_pleural_dist_mm", "reinsertion_airway_dist_mm", "reinsertion_nodule_diam_mm"),
    *("coordX", "coordY", "coordZ", "n_nodules_in_patient", "lobe_name", "lung_side", "lung_zone"),
    *("central_peripheral", "pleural_distance_mm", "airway_distance_mm", "label_source", "population_type"),
    "size_bucket",
)
#: Values of a filter that ask for nothing (published).
ANY = ("", "all")

_ALLOWED = {column.name: column.allowed for column in TABLES["nodules"].columns}
#: Files of a nodule by the original's names (published).
FILES = ("ct_path", "nodule_mask_path", "organ_seg_path", "combined_mask_path", "refined_seg_path")

_LABELS = {"0": 0, "benign": 0, "1": 1, "malignant": 1}
#: Columns of the index that ``metadata`` reads.
NODE = (*METADATA, "scan_uid")
#: Those that ``file_ids`` reads.
ON_DISK = ("dataset", "scan_uid", "nodule_uid", "has_ct", "has_nodule_mask", "has_organ_map")

_NO_SCAN = pl.DataFrame(schema={"scan_uid": pl.String})
NODE_ID = pl.concat_str("dataset", pl.lit("_"), "annotation_id").alias("node_id")
LABEL_TEXT = (
    pl.when(pl.col("label") == 1)
    .then(pl.lit("malignant"))
    .when(pl.col("label") == 0)
    .then(pl.lit("benign"))
    .otherwise(pl.lit("unlabelled"))
    .alias("label_text")
)


def metadata(nodules: pl.DataFrame) -> pl.DataFrame:
    """Metadata rows of nodules; ``ct_path`` is the id of the scan."""
    return nodules.select(NODE_ID, *METADATA, LABEL_TEXT, ct_path="scan_uid")


def row_of_node(columns: Columns, node_id: str) -> int | None:
    """Row of a node, ``<dataset>_<annotation id>`` or a nodule_uid; None if there is none, or if two have the id."""
    by_uid = columns.row_of(node_id)
    rows = set() if by_uid is None else {by_uid}
    for dataset, code in by_value(columns, "dataset"):
        if node_id.startswith(f"{dataset}_"):
            own = _rows_of_annotation(columns, node_id.removeprefix(f"{dataset}_"))
            rows.update(own[columns.codes("dataset")[own] == code].tolist())
    return rows.pop() if len(rows) == 1 else None


def row_of_annotation(columns: Columns, annotation: str) -> int | None:
    """Row of a nodule_uid, or of an annotation id that one dataset has; None if there is none.

    Raises:
        ConfigError: several datasets have the annotation id.
    """
    row = columns.row_of(annotation)
    if row is not None:
        return row
    rows = _rows_of_annotation(columns, annotation)
    if len(rows) > 1:
        names = ", ".join(columns.frame(["nodule_uid"], rows[:7])["nodule_uid"])
        raise ConfigError(f"annotation_id {annotation!r}: {len(rows)} nodules have it; give one of {names}")
    return int(rows[0]) if len(rows) else None


def _rows_of_annotation(columns: Columns, annotation: str) -> RowNumbers:
    return columns.rows_with("annotation_id", annotation)


def label_is(columns: Columns, word: str | int | None) -> Mask | None:
    """Which rows have a label as either app writes it; None: any.

    Args:
        columns: of the index.
        word: 0, 1, benign, malignant, labelled or unlabelled; None, an empty text or ``all``: any.

    Raises:
        ConfigError: another word.
    """
    text = "" if word is None else str(word).lower()
    if text in ANY:
        return None
    if text in _LABELS:
        return among(columns, "label", [_LABELS[text]])
    if text not in ("unlabelled", "labelled"):
        raise ConfigError(f"label {word!r}: expected one of {', '.join((*_LABELS, 'unlabelled', 'labelled'))}")
    gone = missing(columns, "label")
    return gone if text == "unlabelled" else ~gone


def is_among(columns: Columns, column: str, values: Sequence[str]) -> Mask | None:
    """Which rows have one of some values in a column; None without a value.

    Args:
        columns: of the index.
        column: one of few values.
        values: any of them; ``all`` asks for nothing.

    Raises:
        ConfigError: no nodule has such a value, and none may.
    """
    asked = [v for v in values if v not in ANY]
    if not asked:
        return None
    known = {*columns.values(column), *_ALLOWED[column]}
    if unknown := [v for v in asked if v not in known]:
        raise ConfigError(f"{column} {unknown[0]!r}: expected one of {', '.join(sorted(known))}")
    return among(columns, column, asked)


def is_between(columns: Columns, column: str, low: float | None, high: float | None) -> Mask | None:
    """Which rows lie in a range, both ends included; a missing value is in no range. None without an end.

    Args:
        columns: of the index.
        column: one of numbers.
        low: least value.
        high: greatest value.
    """
    return None if low is None and high is None else between(columns, column, low, high)


def met(columns: Columns, masks: Iterable[Mask | None]) -> Mask:
    """Rows (n,) that meet every condition; None is met by all."""
    return all_of(columns.height, [mask for mask in masks if mask is not None])


def demographics(row: Mapping[str, Any]) -> dict[str, str]:
    """What is known of the person, as text; NA where it is not."""
    age = row["age"]
    return {
        "patient_age": "NA" if age is None else str(int(age)),
        "patient_sex": row["sex"] or "NA",
        "smoking_status": row["smoking"] or "NA",
        "pack_years": "NA",
    }


def file_ids(settings: Settings, nodules: pl.DataFrame) -> pl.DataFrame:
    """Ids that stand for the files of nodules that are on disk, columns as in ``FILES``; "" where there is none.

    Args:
        settings: give the data root.
        nodules: rows of the index.
    """
    there = pl.concat([_combined(settings, name) for name in nodules["dataset"].unique().sort()] or [_NO_SCAN])
    combined = pl.col("scan_uid").is_in(there.to_series().implode())

    def where(is_there: pl.Expr, id_: str) -> pl.Expr:
        return pl.when(is_there).then(pl.col(id_)).otherwise(pl.lit(""))

    organ = where(pl.col("has_organ_map"), "scan_uid")
    ct, mask = where(pl.col("has_ct"), "scan_uid"), where(pl.col("has_nodule_mask"), "nodule_uid")
    ids = (ct, mask, organ, where(combined, "scan_uid"), organ)
    return nodules.select(id_.alias(name) for name, id_ in zip(FILES, ids, strict=True))


def _combined(settings: Settings, dataset: str) -> pl.DataFrame:
    """Scans of a dataset that have one mask of all nodules, by listing its folder once."""
    before, _, after = registered(settings, dataset).files.combined.partition("{ct_id}")
    folder = registered(settings, dataset).combined_mask(settings.data, "").parent
    names = pl.Series([p.name for p in folder.iterdir()] if folder.is_dir() else [], dtype=pl.String)
    ours = names.filter(names.str.starts_with(before) & names.str.ends_with(after))
    ids = ours.str.strip_prefix(before).str.strip_suffix(after)
    return pl.DataFrame({"scan_uid": ids}).select(pl.concat_str(pl.lit(f"{dataset}/"), "scan_uid").alias("scan_uid"))
