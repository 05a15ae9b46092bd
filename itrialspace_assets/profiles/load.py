"""A published profile CSV becomes a partition of ``profiles``: the 53 columns and harmonised ids.

Ids are read as text. A missing column or a wrong type is an error that names rows; nothing is
coerced silently.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.errors import TableError
from itrialspace_assets.fingerprints import hash_file
from itrialspace_assets.profiles.persons import person_uids
from itrialspace_assets.profiles.registry import Dataset, LabelRule
from itrialspace_assets.tables import PROFILE_COLUMNS, TABLES

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F", "w": "F"}
_SMOKING = {"current": "current", "former": "former", "never": "never", "ex": "former"}
_BLANK = ("", "nan", "na", "none", "null", "n/a")
#: What an unnamed side, lobe or zone is called in the table.
_UNKNOWN = ("lung_side", "lobe_name", "lung_zone", "central_peripheral", "reinsertion_lobe",
            "reinsertion_lung_side", "reinsertion_lung_zone")  # fmt: skip


def load_profiles(path: Path, dataset: Dataset, anatomy: str) -> pl.DataFrame:
    """The profile table of one dataset.

    Raises:
        TableError: no file, no CSV, a missing column, a text in a number column, a repeated id.
    """
    try:
        raw = pl.read_csv(path, infer_schema=False, encoding="utf8")
    except FileNotFoundError:
        raise TableError(f"profiles/{dataset.name}: expected {path.name}, found none in {path.parent.name}/") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(f"{path.name}: expected a CSV table, got {error}") from None
    raw = raw.with_columns(pl.all().str.strip_chars())
    raw = raw.with_columns(
        pl.when(pl.all().str.to_lowercase().is_in(_BLANK)).then(None).otherwise(pl.all()).name.keep()
    )
    needed = [c.name for c in PROFILE_COLUMNS]
    ids = [c for c in (dataset.patient, dataset.scan_person, dataset.annotation) if c]
    if dataset.label and dataset.label.column:
        ids.append(dataset.label.column)
    ids += [c for c in dataset.demographics.model_dump().values() if c]
    if missing := [c for c in (*needed, *ids) if c not in raw.columns]:
        raise TableError(
            f"{path.name}: expected {len(needed)} profile columns and the id columns, missing: {', '.join(missing)}"
        )
    frame = _typed(raw.select(needed), path.name)
    if (size := frame["reinsertion_nodule_diam_mm"]).is_null().any() or (size <= 0).any():
        raise TableError(
            f"{path.name}: reinsertion_nodule_diam_mm: expected a diameter > 0 mm in every row, rows {_rows(~(size > 0).fill_null(False))} have none"
        )
    ct_id = raw["ct_path"].str.split("/").list.last().str.replace(r"\.nii(\.gz)?$", "")
    if ct_id.null_count():
        raise TableError(
            f"{path.name}: ct_path: expected a file name in every row, rows {_rows(ct_id.is_null())} have none"
        )
    annotation = raw[dataset.annotation] if dataset.annotation else ct_id
    if annotation.null_count():
        raise TableError(
            f"{path.name}: {dataset.annotation}: expected an id in every row, rows {_rows(annotation.is_null())} have none"
        )
    if annotation.is_duplicated().any():
        raise TableError(
            f"{path.name}: {annotation.name}: expected unique ids, repeated: {', '.join(annotation.filter(annotation.is_duplicated()).unique().sort().head(3))}"
        )
    patient = raw[dataset.patient] if dataset.patient else pl.Series([None] * raw.height, dtype=pl.String())
    scan = pl.Series([f"{dataset.name}/{c}" for c in ct_id], dtype=pl.String())
    demographics = dataset.demographics
    known = set(needed) | set(ids)
    extras = [json.dumps({k: v for k, v in row.items() if v is not None}, sort_keys=True) for row in raw.drop(known, strict=False).iter_rows(named=True)] if set(raw.columns) - known else ["{}"] * raw.height  # fmt: skip
    frame = frame.with_columns(
        nodule_uid=pl.Series([f"{dataset.name}/{a}" for a in annotation], dtype=pl.String()),
        dataset=pl.lit(dataset.name),
        scan_uid=scan,
        person_uid=person_uids(dataset, patient, raw[dataset.scan_person] if dataset.scan_person else None, scan),
        patient_id=patient,
        annotation_id=annotation,
        label=_labels(raw, dataset.label, path.name),
        label_source=pl.lit(dataset.label_source),
        population_type=pl.lit(dataset.population),
        mask_source=pl.lit("procedural" if anatomy == "procedural" else dataset.mask_source),
        diam_definition=pl.lit(dataset.diam_definition),
        lobe_share=_numbers(raw, "lobe_share", path.name)
        if "lobe_share" in raw.columns
        else pl.lit(None, pl.Float64()),
        age=_numbers(raw, demographics.age, path.name),
        sex=_words(raw, demographics.sex, _SEX),
        smoking=_words(raw, demographics.smoking, _SMOKING),
        anatomy=pl.lit(anatomy),
        extras=pl.Series(extras, dtype=pl.String()),
        source_row=pl.Series(range(raw.height), dtype=pl.Int64()),
        source_sha256=pl.lit(hash_file(path)),
    )
    return frame.select(list(TABLES["profiles"].schema))


def _rows(mask: pl.Series) -> str:
    return ", ".join(map(str, mask.arg_true().head(3)))


def _parsed(values: pl.Series, name: str, dtype: pl.DataType, file: str) -> pl.Series:
    parsed = values.cast(pl.Float64(), strict=False)
    wrong = parsed.is_null() & values.is_not_null()
    if isinstance(dtype, pl.Int64):
        wrong = wrong | (parsed != parsed.round()).fill_null(False)
    if wrong.any():
        raise TableError(
            f"{file}: column {name}: expected a number, got {values.filter(wrong)[0]!r} in row {_rows(wrong)}"
        )
    return parsed.cast(dtype)


def _typed(raw: pl.DataFrame, file: str) -> pl.DataFrame:
    columns: list[pl.Series] = []
    for column in PROFILE_COLUMNS:
        values = raw[column.name]
        if column.type in ("number", "integer"):
            dtype = pl.Float64() if column.type == "number" else pl.Int64()
            values = _parsed(values, column.name, dtype, file)
        elif column.type == "flag":
            lower = values.str.to_lowercase()
            wrong = lower.is_not_null() & ~lower.is_in([*_TRUE, *_FALSE])
            if wrong.any():
                raise TableError(
                    f"{file}: column {column.name}: expected true or false, got {values.filter(wrong)[0]!r} in row {_rows(wrong)}"
                )
            values = lower.is_in(list(_TRUE)).fill_null(False) if not column.nullable else lower.is_in(list(_TRUE))
        elif column.name in _UNKNOWN:
            values = values.fill_null("unknown")
        columns.append(values.alias(column.name))
    return pl.DataFrame(columns)


def _numbers(raw: pl.DataFrame, column: str | None, file: str) -> pl.Series:
    if column is None:
        return pl.Series([None] * raw.height, dtype=pl.Float64())
    return _parsed(raw[column], column, pl.Float64(), file)


def _words(raw: pl.DataFrame, column: str | None, words: dict[str, str]) -> pl.Series:
    if column is None:
        return pl.Series([None] * raw.height, dtype=pl.String())
    return raw[column].str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.String())


def _labels(raw: pl.DataFrame, rule: LabelRule | None, file: str) -> pl.Series:
    none = pl.Series([None] * raw.height, dtype=pl.Int64())
    if rule is None:
        return none
    if rule.rule == "always":
        return pl.Series([rule.value] * raw.height, dtype=pl.Int64())
    assert rule.column is not None
    values = raw[rule.column]
    if rule.rule == "words":
        words: dict[str, Any] = rule.words
        return values.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Int64())
    numbers = _parsed(values, rule.column, pl.Float64(), file)
    if rule.rule == "at_least":
        return (numbers >= rule.threshold).cast(pl.Int64())
    if (wrong := ~numbers.is_in([0.0, 1.0]) & numbers.is_not_null()).any():
        raise TableError(
            f"{file}: column {rule.column}: expected 0 or 1, got {values.filter(wrong)[0]!r} in row {_rows(wrong)}"
        )
    return numbers.cast(pl.Int64())
