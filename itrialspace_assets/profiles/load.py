"""A published profile CSV becomes a partition of ``profiles``: the 53 columns and harmonised ids.

Ids are read as text. One pass finds every broken rule and names its rows: an error keeps the table from being
written, a warning is kept in ``findings``. No row is dropped and no value is coerced silently. Rows are numbered
from 0 without the header.
"""

import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import hash_file, replace_file
from itrialspace_assets.profiles.doubts import Doubt, unknown_codes
from itrialspace_assets.profiles.persons import person_uids
from itrialspace_assets.profiles.registry import Dataset, LabelRule
from itrialspace_assets.records.schema import Severity, Violation, violations
from itrialspace_assets.records.tables import PROFILE_COLUMNS, TABLES
from itrialspace_assets.records.text_tables import read_text_table

_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
_SEX = {"m": "M", "male": "M", "f": "F", "female": "F", "w": "F"}
_SMOKING = {"current": "current", "former": "former", "never": "never", "ex": "former"}
#: Columns in which ``unknown`` stands for a missing side, lobe or zone.
UNKNOWN_COLUMNS = (
    "lung_side",
    "lobe_name",
    "lung_zone",
    "central_peripheral",
    "reinsertion_lobe",
    "reinsertion_lung_side",
    "reinsertion_lung_zone",
)
#: Columns beyond the 53 that this program writes itself (measured or imported tables).
OWN_COLUMNS = ("lobe_share", "mask_source", "diam_definition", "missing_because", "doubts")
_NEEDED = [c.name for c in PROFILE_COLUMNS]
_INTEGERS = [c.name for c in PROFILE_COLUMNS if c.type == "integer"]
_NUMBERS = [c.name for c in PROFILE_COLUMNS if c.type in ("number", "integer")]
#: An id that may be part of a file name.
SAFE_ID = r"^(\.{0,2}[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,199})$"


@dataclass(frozen=True)
class Loaded:
    """A dataset's profiles and scans, and what is unusual in them (warnings and notes)."""

    profiles: pl.DataFrame
    scans: pl.DataFrame
    findings: list[Violation]


@dataclass
class _Notes:
    """Findings of one file, gathered over all its columns."""

    file: str
    found: list[Violation] = field(default_factory=list)

    def at(
        self, rule: str, column: str, bad: pl.Series, values: pl.Series | None = None, severity: Severity = "error"
    ) -> None:
        """Keep a finding, if any row has it.

        Args:
            rule: what was expected.
            column: the column that it is about.
            bad: which rows break it, shape (n,); null counts as no.
            values: what stands there, shape (n,); the first three are kept as a sample.
            severity: error, warning or info.
        """
        rows = bad.fill_null(False).arg_true()
        if len(rows):
            first = rows.head(3)
            sample = tuple(values[first.to_list()].to_list()) if values is not None else ()
            places = tuple(first.to_list())
            self.found.append(Violation(rule, column, len(rows), sample, severity, places))

    def stop_on_errors(self) -> None:
        if wrong := [f for f in self.found if f.severity == "error"]:
            raise TableError(f"{self.file}: not loaded, {len(wrong)} rules broken: " + "; ".join(map(str, wrong)))


def load_profiles(path: Path, dataset: Dataset, anatomy: str, *, released: bool = False) -> Loaded:
    """The profile and scan tables of one dataset.

    Args:
        path: the profile CSV; a scan list may lie beside it (``<dataset>_scans.csv``).
        dataset: its entry in the registry.
        anatomy: ``real`` or ``procedural``.
        released: the root says that it is the published release: row counts must be the published.

    Raises:
        TableError: an error of any kind; names every broken rule with its column and first rows.
    """
    raw = read_text_table(path, f"profiles/{dataset.name}")
    notes = _Notes(path.name)
    _check_columns(raw, dataset, notes)
    notes.stop_on_errors()
    if raw.is_empty() and not _scan_list(path, dataset).exists():
        raise TableError(f"{path.name}: expected at least one row, got a header alone")
    if released and dataset.release_rows is not None and raw.height != dataset.release_rows:
        notes.found.append(
            Violation(f"expected the {dataset.release_rows} rows of the release, got {raw.height}", "row", raw.height)
        )
    frame = _typed(raw, notes)
    size, explained = frame["reinsertion_nodule_diam_mm"], _own(raw, "missing_because", None).is_not_null()
    notes.at("expected a diameter > 0 mm", size.name, size <= 0, size)
    notes.at("expected a diameter, or missing_because to say why not", size.name, size.is_null() & ~explained)
    ct_id, annotation = _ids(raw, dataset, notes)
    label = _labels(raw, dataset.label, notes)
    if dataset.label and dataset.label.column:
        notes.at("expected a label", dataset.label.column, label.is_null(), raw[dataset.label.column], "warning")
    d = dataset.demographics
    age, sex, smoking = (
        _numbers(raw, d.age, notes),
        _words(raw, d.sex, _SEX, notes),
        _words(raw, d.smoking, _SMOKING, notes),
    )
    doubts = _own(raw, "doubts", None)
    known = pl.Series([not (text and unknown_codes(text)) for text in doubts], dtype=pl.Boolean())
    notes.at(f"expected codes of {', '.join(Doubt)} joined with ;", "doubts", ~known, doubts)
    lobe_share = _numbers(raw, "lobe_share" if "lobe_share" in raw.columns else None, notes)
    notes.stop_on_errors()

    scan = pl.select(pl.concat_str(pl.lit(f"{dataset.name}/"), pl.lit(ct_id))).to_series()
    patient = raw[dataset.patient] if dataset.patient else pl.Series([None] * raw.height, dtype=pl.String())
    if dataset.patient:
        notes.at(
            "expected a patient id (the scan stands for a person of its own)",
            dataset.patient,
            patient.is_null(),
            severity="warning",
        )
    person = person_uids(dataset, patient, raw[dataset.scan_person] if dataset.scan_person else None, scan)
    nodule = pl.select(pl.concat_str(pl.lit(f"{dataset.name}/"), pl.lit(annotation))).to_series()
    frame = frame.with_columns(
        nodule_uid=nodule,
        dataset=pl.lit(dataset.name),
        scan_uid=scan,
        person_uid=person,
        lesion_uid=_lesions(raw, dataset, person, nodule, notes),
        patient_id=patient,
        annotation_id=annotation,
        label=label,
        label_source=pl.lit(dataset.label_source),
        population_type=pl.lit(dataset.population),
        mask_source=_own(raw, "mask_source", "procedural" if anatomy == "procedural" else dataset.mask_source),
        diam_definition=_own(raw, "diam_definition", dataset.diam_definition),
        lobe_share=lobe_share,
        age=age,
        sex=sex,
        smoking=smoking,
        missing_because=_own(raw, "missing_because", None),
        anatomy=pl.lit(anatomy),
        doubts=doubts,
        extras=_extras(raw, dataset),
        source_row=pl.int_range(pl.len(), dtype=pl.Int64),
        source_sha256=pl.lit(hash_file(path)),
    ).select(list(TABLES["profiles"].schema))
    notes.found += violations(TABLES["profiles"], frame, dataset=dataset.name)
    notes.stop_on_errors()
    return Loaded(frame, _scans(path, frame, dataset, anatomy), notes.found)


def write_checked(
    entry: Dataset, profile: Path, profiles: pl.DataFrame, listed: Path, scans: pl.DataFrame, anatomy: str
) -> Loaded:
    """Write a profile CSV and its scan list, if a run would accept them; else neither is touched.

    Args:
        entry: the dataset.
        profile: path of the profile CSV.
        profiles: its rows.
        listed: path of the scan list.
        scans: its rows (``ct_id``, ``patient``, ``series``).
        anatomy: ``real`` or ``procedural``.

    Raises:
        TableError: a run would refuse them; names every broken rule.
    """
    profile.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=profile.parent, prefix=".tmp-") as folder:
        fresh = Path(folder) / profile.name
        fresh.write_bytes(profiles.write_csv().encode())
        _scan_list(fresh, entry).write_bytes(scans.write_csv().encode())
        loaded = load_profiles(fresh, entry, anatomy)
        replace_file(profile, fresh.read_bytes())
        replace_file(listed, _scan_list(fresh, entry).read_bytes())
    return loaded


def native_columns(dataset: Dataset) -> list[str]:
    """Columns beyond the 53 that the registry reads: ids, label, demographics."""
    label = dataset.label.column if dataset.label else None
    named = (
        dataset.patient,
        dataset.scan_person,
        dataset.annotation,
        label,
        *dataset.demographics.model_dump().values(),
    )
    return list(dict.fromkeys(c for c in named if c))


def _check_columns(raw: pl.DataFrame, dataset: Dataset, notes: _Notes) -> None:
    wanted = [*_NEEDED, *native_columns(dataset)]
    missing = [c for c in wanted if c not in raw.columns]
    spare = [c for c in raw.columns if c not in {*wanted, *dataset.extras, *OWN_COLUMNS, dataset.lesion}]
    for column in missing:
        near = difflib.get_close_matches(column, spare, 1, 0.75)
        hint = f"; did '{near[0]}' get another name?" if near else ""
        notes.found.append(Violation(f"missing column{hint}", column, raw.height))
    named = (*dataset.extras, *([dataset.lesion] if dataset.lesion else []))
    for column in named:
        if column not in raw.columns:
            notes.found.append(
                Violation("a native column that the publisher names is not there", column, raw.height, (), "info")
            )
    for column in spare:
        if not missing:
            notes.found.append(Violation("a column that nobody named; kept in extras", column, raw.height, (), "info"))


def _parsed(values: pl.Series, name: str, dtype: pl.DataType, notes: _Notes) -> pl.Series:
    """A text column as numbers; values that are no numbers are noted with their rows."""
    parsed = values.cast(pl.Float64(), strict=False)
    wrong = parsed.is_null() & values.is_not_null()
    comma = wrong & values.str.contains(r"^-?\d+,\d+$")
    notes.at("expected a number with a decimal point, got a decimal comma", name, comma, values)
    notes.at("expected a number", name, wrong & ~comma, values)
    notes.at("expected a finite number", name, parsed.is_infinite(), values)
    notes.at("expected a number below 2^53", name, parsed.abs() > 2**53, values)
    if isinstance(dtype, pl.Int64):
        notes.at("expected a whole number", name, parsed != parsed.round(), values)
        parsed = parsed.round()
    return parsed.cast(dtype, strict=False)


def _typed(raw: pl.DataFrame, notes: _Notes) -> pl.DataFrame:
    """The 53 columns in their types; all in one pass, and column by column only where something is wrong."""
    flags = [c for c in PROFILE_COLUMNS if c.type == "flag"]
    floats = raw.select(pl.col(_NUMBERS).cast(pl.Float64(), strict=False))
    spelled = raw.select(pl.col([c.name for c in flags]).str.to_lowercase())
    greatest = floats.select(pl.all().abs().nan_max()).row(0, named=True)
    whole = floats.select((pl.col(c) == pl.col(c).round()).all() for c in _INTEGERS).row(0, named=True)
    for name in _NUMBERS:
        parsed = floats[name].null_count() == raw[name].null_count()
        if not (parsed and (greatest[name] is None or greatest[name] <= 2**53) and whole.get(name, True)):
            _parsed(raw[name], name, pl.Int64() if name in _INTEGERS else pl.Float64(), notes)
    for column in flags:
        words = spelled[column.name]
        wrong = words.is_not_null() & ~words.is_in([*_TRUE, *_FALSE])
        notes.at("expected true or false", column.name, wrong, raw[column.name])
    truths = spelled.select(pl.all().is_in(list(_TRUE)))
    truths = truths.with_columns(pl.col(c.name).fill_null(False) for c in flags if not c.nullable)
    typed = floats.with_columns(pl.col(_INTEGERS).cast(pl.Int64(), strict=False)).hstack(truths)
    texts = raw.select(
        pl.col(c.name).fill_null("unknown") if c.name in UNKNOWN_COLUMNS else pl.col(c.name)
        for c in PROFILE_COLUMNS
        if c.type == "text"
    )
    return typed.hstack(texts).select(_NEEDED)


def _ids(raw: pl.DataFrame, dataset: Dataset, notes: _Notes) -> tuple[pl.Series, pl.Series]:
    """Id of each row's CT, and of its annotation: without such a column, that of the CT."""
    ct_id = raw["ct_path"].str.split("/").list.last().str.replace(r"\.nii(\.gz)?$", "")
    notes.at("expected a file name", "ct_path", ct_id.is_null() | ~ct_id.str.contains(SAFE_ID), raw["ct_path"])
    annotation = raw[dataset.annotation] if dataset.annotation else ct_id.alias("ct_path")
    name = annotation.name
    notes.at("expected an id in every row", name, annotation.is_null())
    notes.at("expected an id without a path", name, ~annotation.str.contains(SAFE_ID), annotation)
    notes.at("expected unique ids", name, annotation.is_duplicated() & annotation.is_not_null(), annotation)
    if dataset.annotation is None:
        notes.found.append(Violation("no annotation ids", "ct_path", raw.height, (), "info"))
    return ct_id, annotation


def _numbers(raw: pl.DataFrame, column: str | None, notes: _Notes) -> pl.Series:
    if column is None:
        return pl.Series([None] * raw.height, dtype=pl.Float64())
    return _parsed(raw[column], column, pl.Float64(), notes)


def _words(raw: pl.DataFrame, column: str | None, words: dict[str, str], notes: _Notes) -> pl.Series:
    if column is None:
        return pl.Series([None] * raw.height, dtype=pl.String())
    lower = raw[column].str.to_lowercase()
    found = lower.replace_strict(words, default=None, return_dtype=pl.String())
    notes.at(
        f"expected one of {', '.join(words)}",
        column,
        found.is_null() & lower.is_not_null() & (lower != "unknown"),
        raw[column],
        "warning",
    )
    return found


def _own(raw: pl.DataFrame, column: str, default: str | None) -> pl.Series:
    if column not in raw.columns:
        return pl.Series([default] * raw.height, dtype=pl.String())
    return raw[column].fill_null(default) if default is not None else raw[column]


def _labels(raw: pl.DataFrame, rule: LabelRule | None, notes: _Notes) -> pl.Series:
    none = pl.Series([None] * raw.height, dtype=pl.Int64())
    if rule is None:
        return none
    if rule.rule == "always":
        return pl.Series([rule.value] * raw.height, dtype=pl.Int64())
    assert rule.column is not None
    values = raw[rule.column]
    if rule.rule == "words":
        lower = values.str.to_lowercase()
        found = lower.replace_strict(rule.words, default=None, return_dtype=pl.Int64())
        notes.at(
            f"expected one of {', '.join(rule.words)}",
            rule.column,
            found.is_null() & lower.is_not_null(),
            values,
            "warning",
        )
        return found
    numbers = _parsed(values, rule.column, pl.Float64(), notes)
    if rule.rule == "at_least":
        notes.at(
            f"a soft label of exactly {rule.threshold:g} is indeterminate",
            rule.column,
            numbers == rule.threshold,
            values,
            "warning",
        )
        label = (numbers >= rule.threshold).cast(pl.Int64())
        if rule.indeterminate:
            label = label.set(numbers.is_between(*rule.indeterminate).fill_null(False), None)
        return label
    notes.at("expected 0 or 1", rule.column, ~numbers.is_in([0.0, 1.0]) & numbers.is_not_null(), values)
    return numbers.cast(pl.Int64(), strict=False)


def _lesions(raw: pl.DataFrame, dataset: Dataset, person: pl.Series, nodule: pl.Series, notes: _Notes) -> pl.Series:
    """One lesion of one person, over scans and readers, where the dataset says so; else the nodule."""
    if dataset.lesion is None or dataset.lesion not in raw.columns:
        return nodule
    own = pl.select(
        pl.concat_str(pl.lit(f"{dataset.name}/lesion/"), pl.lit(person), pl.lit("/"), pl.lit(raw[dataset.lesion]))
    ).to_series()
    notes.at(
        "several rows of one lesion",
        dataset.lesion,
        own.is_duplicated() & own.is_not_null(),
        raw[dataset.lesion],
        "info",
    )
    return own.fill_null(nodule)


def _extras(raw: pl.DataFrame, dataset: Dataset) -> pl.Series:
    """Native columns beyond those of the table, as JSON text; null values are left out."""
    names = sorted(set(raw.columns) - {*_NEEDED, *native_columns(dataset), *OWN_COLUMNS})
    if not names:
        return pl.Series(["{}"] * raw.height, dtype=pl.String())
    entries = []
    for name in names:
        text = pl.col(name).str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
        text = text.str.replace_all(r"[\x00-\x1f]", " ")
        entries.append(pl.concat_str(pl.lit(f'{json.dumps(name)}: "'), text, pl.lit('"')))
    return raw.select(
        pl.concat_str(pl.lit("{"), pl.concat_str(entries, separator=", ", ignore_nulls=True), pl.lit("}"))
    ).to_series()


def _scan_list(path: Path, dataset: Dataset) -> Path:
    return path.with_name(dataset.scan_list_csv(Path()).name)


def _scans(path: Path, profiles: pl.DataFrame, dataset: Dataset, anatomy: str) -> pl.DataFrame:
    """Every scan that the profiles or the scan list name.

    Raises:
        TableError: the scan list lacks a column, or an id, or repeats one.
    """
    schema = TABLES["scan_lists"].schema
    named = (
        profiles.group_by("scan_uid", maintain_order=True)
        .agg(pl.col("person_uid").first(), pl.len().cast(pl.Int64).alias("n_nodules"))
        .with_columns(ct_id=pl.col("scan_uid").str.strip_prefix(f"{dataset.name}/"), named_by=pl.lit("profiles"))
    )
    listed = _scan_list(path, dataset)
    if listed.exists():
        raw = read_text_table(listed, f"scans/{dataset.name}")
        notes = _Notes(listed.name)
        for column in ("ct_id", "patient"):
            if column not in raw.columns:
                notes.found.append(Violation("missing column", column, raw.height))
        notes.stop_on_errors()
        ct_id = raw["ct_id"]
        notes.at("expected an id without a path", "ct_id", ct_id.is_null() | ~ct_id.str.contains(SAFE_ID), ct_id)
        notes.at("expected unique ids", "ct_id", ct_id.is_duplicated(), ct_id)
        notes.stop_on_errors()
        scan = pl.select(pl.concat_str(pl.lit(f"{dataset.name}/"), pl.lit(ct_id))).to_series()
        series = raw["series"] if "series" in raw.columns else None
        extra = pl.DataFrame(
            {"scan_uid": scan, "person_uid": person_uids(dataset, raw["patient"], series, scan), "ct_id": ct_id}
        )
        extra = extra.join(named, on="scan_uid", how="anti").with_columns(
            n_nodules=pl.lit(0, pl.Int64), named_by=pl.lit("scan_list")
        )
        named = pl.concat([named, extra.select(named.columns)])
    return (
        named.with_columns(dataset=pl.lit(dataset.name), anatomy=pl.lit(anatomy)).select(list(schema)).sort("scan_uid")
    )


#: A share of defective rows agrees with the published one if it differs by no more than this; ours.
SHARE_TOLERANCE = 0.05


@dataclass(frozen=True)
class FindingRow:
    """A row of ``findings``."""

    dataset: str
    rule: str
    column: str
    severity: str
    rows: int
    of_rows: int
    first_rows: list[int]
    sample: str
    known: bool


def finding_rows(dataset: Dataset, findings: Sequence[Violation], rows: int, *, released: bool = False) -> pl.DataFrame:
    """Findings as rows of the table ``findings``.

    Args:
        dataset: whose table it is; names its known defects.
        findings: what is unusual in it.
        rows: how many rows the table has.
        released: it is the published release. A known defect whose share of rows is not the published one is then a
            finding of its own.
    """
    known = {d.rule for d in dataset.defects}
    found = [
        FindingRow(
            dataset=dataset.name,
            rule=f.rule,
            column=f.column,
            severity=f.severity,
            rows=f.rows,
            of_rows=rows,
            first_rows=list(f.at),
            sample="; ".join(map(str, f.sample)),
            known=f.rule in known,
        )
        for f in findings
    ]
    got = {f.rule: f.rows / max(1, rows) for f in findings}
    for defect in dataset.defects if released else ():
        share = got.get(defect.rule, 0.0)
        if defect.share is not None and abs(share - defect.share) > SHARE_TOLERANCE:
            found.append(
                FindingRow(
                    dataset=dataset.name,
                    rule=f"published share of: {defect.rule}",
                    column="row",
                    severity="warning",
                    rows=round(share * rows),
                    of_rows=rows,
                    first_rows=[],
                    sample=f"expected {defect.share:.1%}, got {share:.1%}",
                    known=False,
                )
            )
    return TABLES["findings"].frame([asdict(row) for row in found])
