"""Reads an annotation table as its publisher ships it, by its entry (``annotation_sources``).

Unusual values are reported by row; a row that is no nodule is left out and listed with the reason. What profiles are
made of it is in ``bare_profiles`` where there are no masks, else in ``profiles.masks``.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.intake.annotation_sources import AnnotationSource
from itrialspace_assets.records.schema import Severity, Violation
from itrialspace_assets.records.text_tables import read_csv, read_text_table

#: Names under which the registered profile tables, and a user's own, hold the patient.
_PATIENT = ("patient", "PatientID", "patient_id", "patient-id")

#: First words of a list that is known to have no header, in lower case.
_HEADERS = ("seriesuid", "series_uid", "seriesinstanceuid", "series_instance_uid", "scan", "ct_id", "id", "uid")


@dataclass(frozen=True)
class Annotated:
    """Content of a table: nodules (one row each), all its scans, rows left out, and notes on unusual values.

    ``nodules``: ``scan``, ``ct_id``, ``id``, ``source_row``, ``x``, ``y``, ``z`` (mm RAS; null without an origin),
    ``px``, ``py``, ``pz`` (as written, from 0), ``rx``, ``ry``, ``rz`` (mm RAS up to the scan's origin), ``w``, ``h``,
    ``d``, ``diameter``, ``volume`` (mm, mm³), ``reason`` (why values are null) and the native columns.
    """

    nodules: pl.DataFrame
    scans: pl.DataFrame
    left_out: pl.DataFrame
    notes: list[Violation]


@dataclass
class _Reading:
    notes: list[Violation] = field(default_factory=list)
    left_out: list[pl.DataFrame] = field(default_factory=list)

    def note(
        self,
        rule: str,
        column: str,
        bad: pl.Series,
        rows: pl.Series,
        values: pl.Series | None = None,
        severity: Severity = "info",
    ) -> None:
        """Keep a finding, if any row has it.

        Args:
            rule: what was expected.
            column: the column that it is about.
            bad: which rows break it, shape (n,); null counts as no.
            rows: their row numbers in the file, shape (n,).
            values: what stands there, shape (n,); the first three are kept as a sample.
            severity: error, warning or info.
        """
        at = bad.fill_null(False).arg_true()
        if len(at):
            first = at.head(3)
            sample = tuple(values[first.to_list()].to_list()) if values is not None else ()
            places = tuple(rows[first.to_list()].to_list())
            self.notes.append(Violation(rule, column, len(at), sample, severity, places))

    def drop(self, table: pl.DataFrame, keep: pl.Series, reason: str) -> pl.DataFrame:
        """The rows that are kept; those that are left out are remembered with a reason.

        Args:
            table: rows with their number in ``_row``.
            keep: which rows stay, shape (n,).
            reason: why the others do not.
        """
        gone = table.filter(~keep)
        if gone.height:
            self.left_out.append(gone.select("_row", reason=pl.lit(reason)))
            self.notes.append(
                Violation(f"left out: {reason}", "row", gone.height, (), "info", tuple(gone["_row"].head(3)))
            )
        return table.filter(keep)


def read_annotations(source: AnnotationSource, table: Path, scans: Path | None = None) -> Annotated:
    """Read a table by its source.

    Args:
        source: names the columns.
        table: the annotation table, CSV or Excel.
        scans: the table of all scans, or of patients, if the source has one.

    Raises:
        TableError: a file is missing, no table, lacks a column, or holds text where a number is needed; names rows.
        ConfigError: the source wants a table of scans and none is given.
    """
    reading = _Reading()
    raw = _read(table, source.format).with_row_index("_row").with_columns(pl.col("_row").cast(pl.Int64))
    _require(raw, table.name, source)
    raw = reading.drop(
        raw, raw[source.scan].is_not_null() & _numeric(raw, source), "no nodule: a footer, a remark or an empty row"
    )
    every = _clean(raw, [source.scan], table.name)
    for column, value in source.keep.items():
        raw = reading.drop(
            raw,
            (raw[column].str.replace(r"\.0+$", "") == value).fill_null(False),
            f"not a nodule by the table's own column {column}",
        )
    raw = _clean(raw, [source.scan, source.finding], table.name)
    for column in source.zero_is_missing:
        zero = raw[column].cast(pl.Float64, strict=False) == 0
        reading.note("0 stands for a missing rating", column, zero, raw["_row"])
        raw = raw.with_columns(pl.when(zero).then(None).otherwise(pl.col(column)).alias(column))
    frame = _geometry(raw, source, table.name)
    frame = _merged(frame, source, reading)
    listed = _scan_table(every, source, scans, reading)
    frame = _identified(frame, source, table.name)
    frame = _sizes(frame, source, reading)
    frame = _natives(frame, source, scans, reading)
    left_out = (
        pl.concat(reading.left_out)
        if reading.left_out
        else pl.DataFrame(schema={"_row": pl.Int64, "reason": pl.String})
    )
    return Annotated(frame, listed, left_out.rename({"_row": "source_row"}).sort("source_row"), reading.notes)


def _clean(raw: pl.DataFrame, columns: list[str | None], file: str) -> pl.DataFrame:
    """Ids without the ``.0`` that a spreadsheet gave a number; a UID that ends in ``.0`` stays.

    Raises:
        TableError: a spreadsheet rounded an id.
    """
    for column in filter(None, columns):
        if (bad := raw[column].str.contains(r"^\d+(\.\d+)?[eE]\+?\d+$").fill_null(False)).any():
            rows = raw.filter(bad)
            raise TableError(
                f"{file}: {column}: expected ids, got {rows[column].head(3).to_list()} in rows "
                f"{', '.join(map(str, rows['_row'].head(3)))}: a spreadsheet rounded them; export the column as text"
            )
    return raw.with_columns(pl.col(c).str.replace(r"^(\d+)\.0+$", "$1") for c in columns if c)


def _read(path: Path, kind: str) -> pl.DataFrame:
    if kind == "csv":
        return read_text_table(path, "annotations")
    import python_calamine

    try:
        rows = python_calamine.load_workbook(str(path)).get_sheet_by_index(0).to_python()
    except (OSError, python_calamine.CalamineError) as error:
        raise TableError(f"{path.name}: expected an Excel workbook, got {error}") from None
    if not rows:
        raise TableError(f"{path.name}: expected a table with a header, got an empty sheet")
    head = [str(c).strip() for c in rows[0]]
    body = [[None if str(v).strip() == "" else str(v).strip() for v in row] for row in rows[1:]]
    return pl.DataFrame(body, schema=dict.fromkeys(head, pl.String()), orient="row")


def _columns(source: AnnotationSource) -> list[str]:
    c = source.centre
    named = [
        source.scan,
        source.finding,
        c.x,
        c.y,
        c.pair,
        c.z,
        c.spacing_xy,
        c.spacing_z,
        source.diameter,
        source.volume,
        *(source.box or ()),
        *source.merge,
        *source.keep,
        *source.native.values(),
        *source.zero_is_missing,
        source.label.column if source.label else None,
    ]
    return list(dict.fromkeys(n for n in named if n))


def _require(raw: pl.DataFrame, file: str, source: AnnotationSource) -> None:
    if missing := [c for c in _columns(source) if c not in raw.columns]:
        raise TableError(
            f"{file}: missing columns {', '.join(map(repr, missing))}; it has "
            f"{', '.join(c for c in raw.columns if c != '_row')}"
        )


def _numeric(raw: pl.DataFrame, source: AnnotationSource) -> pl.Series:
    """Rows whose place is written as numbers, or (an error later) at least in part."""
    place = [c for c in (source.centre.x, source.centre.pair, source.centre.z) if c]
    return raw.select(pl.any_horizontal(pl.col(c).is_not_null() for c in place)).to_series()


def _number(raw: pl.DataFrame, column: str, file: str, *, null: bool = False) -> pl.Series:
    parsed = raw[column].cast(pl.Float64, strict=False)
    bad = parsed.is_null() & (raw[column].is_not_null() if null else True) | ~parsed.is_finite()
    if bad.any():
        rows = raw.filter(bad)["_row"]
        raise TableError(
            f"{file}: {column}: expected a number, got {raw.filter(bad)[column].head(3).to_list()} in rows "
            f"{', '.join(map(str, rows.head(3)))} ({len(rows)} in all)"
        )
    return parsed


def _geometry(raw: pl.DataFrame, source: AnnotationSource, file: str) -> pl.DataFrame:
    c = source.centre
    if c.pair:
        parts = raw[c.pair].str.extract_groups(r"^\s*([-\d.]+)\s*[,; ]\s*([-\d.]+)\s*$")
        raw = raw.with_columns(_x=parts.struct.field("1"), _y=parts.struct.field("2"))
        bad = raw["_x"].is_null() | raw["_y"].is_null()
        if bad.any():
            rows = raw.filter(bad)
            raise TableError(
                f"{file}: {c.pair}: expected text like '135, 303', got {rows[c.pair].head(3).to_list()} in "
                f"rows {rows['_row'].head(3).to_list()}"
            )
    else:
        raw = raw.with_columns(_x=pl.col(str(c.x)), _y=pl.col(str(c.y)))
    px, py = (_number(raw, n, file) - (c.base if c.unit == "pixel" else 0) for n in ("_x", "_y"))
    pz = _number(raw, c.z, file) - (c.base if c.z_unit == "slice" else 0)
    sxy = _number(raw, c.spacing_xy, file) if c.spacing_xy else None
    sign = -1.0 if c.frame == "LPS" else 1.0  # from the table's x and y to RAS
    none = pl.Series([None] * raw.height, dtype=pl.Float64)
    if c.unit == "mm":
        rx, ry = px * sign, py * sign
    else:  # relative to the scan's first pixel; without its spacing not even that
        rx, ry = (px * sxy * sign, py * sxy * sign) if sxy is not None else (none, none)
    rz = pz if c.z_unit == "mm" else none
    absolute = c.unit == "mm" and c.z_unit == "mm"
    reason = None if absolute else "positions are in pixels or slices; the image's origin is not in the table"
    return raw.with_columns(
        px=px,
        py=py,
        pz=pz,
        rx=rx,
        ry=ry,
        rz=rz,
        x=rx if absolute else none,
        y=ry if absolute else none,
        z=rz if absolute else none,
        w=_number(raw, source.box[0], file) if source.box else none,
        h=_number(raw, source.box[1], file) if source.box else none,
        d=_number(raw, source.box[2], file) if source.box else none,
        diameter=_number(raw, source.diameter, file, null=True) if source.diameter else none,
        volume=_number(raw, source.volume, file, null=True) if source.volume else none,
        reason=pl.lit(reason, pl.String),
    )


def _merged(frame: pl.DataFrame, source: AnnotationSource, reading: _Reading) -> pl.DataFrame:
    """Readings of one nodule as one row: centres by mean, sizes and ratings by median, labels by mean."""
    if not source.merge:
        return frame
    measured = ["px", "py", "pz", "rx", "ry", "rz", "x", "y", "z", "w", "h", "d"]
    ratings = [
        c
        for c in source.native.values()
        if c not in source.merge and frame[c].cast(pl.Float64, strict=False).null_count() == frame[c].null_count()
    ]
    label = [c for c in ratings if source.entry and (source.entry.get("label") or {}).get("column") == c]
    merged = frame.group_by(source.merge, maintain_order=True).agg(
        pl.col("_row").min(),
        pl.len().alias("readings"),
        *(pl.col(c).mean() for c in measured),
        pl.col("diameter", "volume").median(),
        pl.col("reason").first(),
        *(pl.col(c).cast(pl.Float64).median().cast(pl.String) for c in ratings if c not in label),
        *(pl.col(c).cast(pl.Float64).mean().round(6).cast(pl.String) for c in label),
        *(
            pl.col(c).first()
            for c in dict.fromkeys([source.scan, *source.native.values()])
            if c not in source.merge and c not in ratings
        ),
    )
    if source.most_readings:
        reading.note(
            f"more than {source.most_readings} readings of one nodule",
            "readings",
            merged["readings"] > source.most_readings,
            merged["_row"],
            merged["readings"],
        )
    return merged


def _scan_table(frame: pl.DataFrame, source: AnnotationSource, path: Path | None, reading: _Reading) -> pl.DataFrame:
    """Every scan with its patient and series: those of the scan table, and those that only the nodules name."""
    patient = next((source.native[c] for c in _PATIENT if c in source.native), None)
    own = frame.select(
        scan=pl.col(source.scan),
        patient=pl.col(patient) if patient else pl.lit(None, pl.String),
        series=pl.col(source.scan),
    ).unique("scan", maintain_order=True)
    if source.scans is None:
        return _with_ct(own, source)
    if path is None:
        raise ConfigError(
            f"{source.about}: expected its table of scans too (--scans FILE): scans without a nodule must stay "
            "in every denominator"
        )
    raw = _second(source, path)
    wanted = [
        c for c in (source.scans.scan, source.scans.patient, source.scans.series, *(source.scans.differ or ())) if c
    ]
    if missing := [c for c in wanted if c not in raw.columns]:
        raise TableError(f"{path.name}: missing columns {', '.join(missing)}; it has {', '.join(raw.columns)}")
    rows = pl.Series(range(raw.height), dtype=pl.Int64)
    if source.scans.differ:
        a, b = (raw[c].cast(pl.Float64, strict=False) for c in source.scans.differ)
        reading.note(
            f"{source.scans.differ[0]} is not {source.scans.differ[1]}; the spacing is used",
            path.name,
            a != b,
            rows,
            raw[source.scans.differ[0]],
        )
    listed = raw.select(
        scan=pl.col(source.scans.scan),
        patient=pl.col(source.scans.patient) if source.scans.patient else pl.lit(None, pl.String),
        series=pl.col(source.scans.series) if source.scans.series else pl.lit(None, pl.String),
    )
    if (twice := listed["scan"].is_duplicated()).any():
        raise TableError(
            f"{path.name}: {source.scans.scan}: expected unique scans, repeated in rows "
            f"{', '.join(map(str, twice.arg_true().head(3)))}"
        )
    bare = ~listed["scan"].is_in(own["scan"].to_list())
    reading.note("a scan without a nodule; it stays in the scan list", path.name, bare, rows, listed["scan"])
    unlisted = ~own["scan"].is_in(listed["scan"].to_list())
    reading.note(
        "a scan that the table of scans does not name",
        source.scan,
        unlisted,
        pl.Series(range(own.height)),
        own["scan"],
        "warning",
    )
    return _with_ct(pl.concat([listed, own.filter(unlisted)]), source)


def _second(source: AnnotationSource, path: Path) -> pl.DataFrame:
    if source.scans and not source.scans.header:
        raw = read_csv(path, "scans", header=False).with_columns(pl.all().str.strip_chars())
        if (first := raw.row(0)[0] or "").lower() in _HEADERS:
            raise TableError(
                f"{path.name}: expected ids of scans from the first line on, got a header {first!r}; delete it"
            )
        return raw
    return read_text_table(path, "scans")


def _with_ct(scans: pl.DataFrame, source: AnnotationSource) -> pl.DataFrame:
    names = [source.ct.format(scan=s).removesuffix(".gz").removesuffix(".nii") for s in scans["scan"]]
    return scans.with_columns(ct_id=pl.Series(names, dtype=pl.String))


def _identified(frame: pl.DataFrame, source: AnnotationSource, file: str) -> pl.DataFrame:
    frame = _with_ct(frame.with_columns(scan=pl.col(source.scan)), source)
    if source.finding is None:  # by position, so that the order of rows does not matter
        number = pl.struct("pz", "py", "px").rank("ordinal").over("scan").cast(pl.String)
    else:
        number = pl.col(source.finding)
    identity = number if source.whole_id else pl.concat_str(pl.col("ct_id"), pl.lit("_"), number)
    frame = frame.with_columns(id=identity)
    if (twice := frame["id"].is_duplicated() | frame["id"].is_null()).any():
        rows = frame.filter(twice)
        raise TableError(
            f"{file}: expected one row a nodule, got {rows['id'].head(3).to_list()} more than once, in rows "
            f"{', '.join(map(str, rows['_row'].head(6)))}"
        )
    return frame


def _sizes(frame: pl.DataFrame, source: AnnotationSource, reading: _Reading) -> pl.DataFrame:
    if source.stand_in_volume is not None:
        stand_in = (frame["volume"] - source.stand_in_volume).abs() < 1e-3
        reading.note(
            f"volume {source.stand_in_volume:.2f} mm³ stands for 'not segmented'; its diameter is a stand-in too",
            source.volume or "",
            stand_in,
            frame["_row"],
        )
        frame = frame.with_columns(volume_is_stand_in=stand_in)
    for column in ("diameter", "volume", "w", "h", "d"):
        if (bad := (frame[column] <= 0).fill_null(False)).any():
            raise TableError(
                f"{column}: expected sizes > 0, got {frame.filter(bad)[column].head(3).to_list()} in rows "
                f"{', '.join(map(str, frame.filter(bad)['_row'].head(3)))}"
            )
    sphere = (6 * pl.col("volume") / np.pi) ** (1 / 3)
    edges = pl.mean_horizontal("w", "h", "d") if source.box else pl.lit(None, pl.Float64)
    frame = frame.with_columns(diameter=pl.coalesce("diameter", sphere, edges))
    bare = frame["diameter"].is_null()
    reading.note("no diameter in the table", "diameter", bare, frame["_row"])
    why = pl.concat_str(
        pl.col("reason"),
        pl.when(pl.col("diameter").is_null()).then(pl.lit("the table holds no diameter")),
        separator="; ",
        ignore_nulls=True,
    )
    return frame.with_columns(reason=pl.when(why == "").then(None).otherwise(why))


def _natives(frame: pl.DataFrame, source: AnnotationSource, scans: Path | None, reading: _Reading) -> pl.DataFrame:
    """Columns under the names that the registry gives them."""
    columns: dict[str, pl.Expr | pl.Series] = {target: pl.col(column) for target, column in source.native.items()}
    if source.label:
        text = frame[source.label.column].str.strip_chars().str.to_lowercase()
        known = text.is_in(list(source.label.words))
        reading.note(
            f"expected one of {', '.join(source.label.words)}",
            source.label.column,
            ~known,
            frame["_row"],
            frame[source.label.column],
            "warning",
        )
        label = text.replace_strict(source.label.words, default=None, return_dtype=pl.Int64)
        reading.note(
            "a diagnosis that is neither malignant nor benign; left unlabelled",
            source.label.column,
            label.is_null() & known,
            frame["_row"],
            frame[source.label.column],
        )
        columns[source.label.target] = label.cast(pl.String)
    out = frame.with_columns(**{f"native:{k}": v for k, v in columns.items()})
    if source.people and scans is not None:
        people = _second(source, scans)
        if missing := [c for c in (source.people.key, *source.people.columns.values()) if c not in people.columns]:
            raise TableError(f"{scans.name}: missing columns {', '.join(missing)}; it has {', '.join(people.columns)}")
        rows = pl.Series(range(people.height), dtype=pl.Int64)
        for column in source.people.columns.values():
            reading.note("missing in the table of patients", column, people[column].is_null(), rows)
        people = people.select(
            _on=pl.col(source.people.key), **{f"native:{t}": pl.col(c) for t, c in source.people.columns.items()}
        )
        out = out.join(people, left_on="scan", right_on="_on", how="left", maintain_order="left")
    out = out.with_columns(pl.lit(None, pl.String).alias(f"native:{a}") for a in source.absent)
    keep = [
        "scan",
        "ct_id",
        "id",
        "px",
        "py",
        "pz",
        "rx",
        "ry",
        "rz",
        "x",
        "y",
        "z",
        "w",
        "h",
        "d",
        "diameter",
        "volume",
        "reason",
    ]
    extra = [c for c in ("readings", "volume_is_stand_in") if c in out.columns]
    return out.select(
        pl.col("_row").alias("source_row"), *keep, *extra, *(c for c in out.columns if c.startswith("native:"))
    )
