"""The evidence bundle: aggregates, hashes and cards of all reports, without paths, ids or pixels.

A zip of small text files, equal for equal tables. Small cells are hidden where a dataset's terms forbid redistribution.
Before it is written, every file is searched for every id and for places of this machine; a find refuses the bundle.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import polars as pl

from itrialspace_assets import __version__
from itrialspace_assets.analysis.evidence.gather import STUDY, Evidence, gather, scope_of
from itrialspace_assets.analysis.evidence.sections import evidence_part
from itrialspace_assets.analysis.evidence.small_cells import hiding, shareable
from itrialspace_assets.analysis.frozen import locks, split_folder
from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.document import Estimate, Link, Table, Value
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all
from itrialspace_assets.release.lineage import lineage

#: Libraries whose versions decide numbers.
_LIBRARIES = ("numpy", "polars", "scipy", "scikit-image", "SimpleITK", "connected-components-3d", "edt")
#: The last partition that the numbers come from.
_ORIGIN = "study_report|all"
#: Columns that name people, scans, findings, cases and pictures, by table.
_IDS: Mapping[str, tuple[str, ...]] = {
    "cases": ("case_uid", "host_scan_uid", "host_person_uid"),
    "scans": ("scan_uid", "ct_id"),
    "patients": ("person_uid",),
    "nodules": ("nodule_uid", "annotation_id"),
    "slices": ("slice_uid", "target_uid", "case_uid", "image_uid", "published_id", "sha256"),
}
#: Shorter ids are words and numbers of their own, and are looked for with their dataset alone (ours).
_LEAST_ID = 6
#: The least time that a zip can hold: files of the bundle have no time.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_FORBIDDEN = (".png", ".nii", ".parquet", "store/", "raw_ct/", "tables/")


@dataclass(frozen=True)
class Bundle:
    """What was bundled: files with their SHA-256, reports, and the least count that is shown; None: any."""

    files: Mapping[str, str]
    reports: tuple[str, ...]
    minimum: int | None


def write_bundle(settings: Settings, out: Path) -> Bundle:
    """Write the bundle of all reports there are.

    Raises:
        TableError: no report was made, or a file holds an id or a place of this machine; nothing is written.
    """
    files, reports, minimum = _contents(settings)
    refuse_private(settings, files)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            archive.writestr(entry, content)
    replace_file(out, data.getvalue())
    return Bundle({name: sha256_bytes(content) for name, content in sorted(files.items())}, reports, minimum)


def _contents(settings: Settings) -> tuple[dict[str, bytes], tuple[str, ...], int | None]:
    study = load_study(settings)
    whole = shareable(gather(settings, study, STUDY))
    scope = scope_of(settings, STUDY)
    reports = tuple(sorted(whole.metrics["analysis"].unique()))
    if not reports:
        raise TableError("evidence bundle: expected a report, found none; make one with `its run --to report`")
    made = lineage(settings, _ORIGIN)
    files = {
        "metrics.csv": whole.metrics.sort(["analysis", "source", "reader", "task", "condition", "stratum", "metric"])
        .write_csv()
        .encode(),
        "study.json": _json(study.model_dump(mode="json") | {"sha256": study.sha256}),
        "versions.json": _json({"itrialspace-assets": __version__} | {name: version(name) for name in _LIBRARIES}),
        "lineage.csv": _csv(
            ("partition", "code_version", "data_version"),
            [(m.label, m.code_version, m.data_version) for m in made.values()],
        ),
        "locks.csv": _csv(
            ("split", "list", "rule", "slices", "sha256", "list_sha256", "frozen_at"),
            [
                (
                    k.split,
                    f"{k.source}/{k.name}",
                    lock.rule,
                    cell(lock.n, whole.minimum),
                    lock.sha256,
                    lock.list_sha256,
                    lock.created_at,
                )
                for k, lock in sorted(locks(settings, settings.split).items(), key=str)
            ],
        ),
        "README.txt": _readme(whole).encode(),
    }
    lock = split_folder(settings, settings.split).with_name(f"{settings.split}.{study.study}.lock.json")
    if lock.exists():
        files["study.lock.json"] = lock.read_bytes()
    for name in (STUDY, *scope.modes, *(f"{REAL}-{d}" for d in scope.datasets)):
        evidence = whole if name == STUDY else hiding(gather(settings, study, name), whole.minimum)
        files |= {f"{name}/{table}.csv": content for table, content in _tables(settings, evidence)}
    return files, reports, whole.minimum


def _tables(settings: Settings, evidence: Evidence) -> Iterator[tuple[str, bytes]]:
    for section in evidence_part(settings, evidence).sections:
        for block in section.blocks:
            if isinstance(block, Table):
                rows = [[cell(value, evidence.minimum) for value in row] for row in block.rows]
                yield block.name, _csv(block.columns, rows)


def cell(value: Value, minimum: int | None = None) -> str | float | None:
    """A value as text; counts below the minimum are hidden."""
    if isinstance(value, Link):
        return value.text
    if isinstance(value, int):
        small = minimum is not None and 0 < value < minimum
        return f"fewer than {minimum}" if small else value
    if not isinstance(value, Estimate):
        return value
    if minimum is not None and value.n is not None and 0 < value.n < minimum:
        return f"hidden: of fewer than {minimum}"
    parts = ["none" if value.value is None else f"{value.value:.6g}"]
    if value.k is not None and value.n is not None:
        parts.append(f"({value.k} of {value.n})")
    elif value.n is not None:
        parts.append(f"(n {value.n})")
    return " ".join(parts) + (f"; {value.flag}" if value.flag else "")


def _csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _readme(evidence: Evidence) -> str:
    kept = ", ".join(t.dataset for t in evidence.terms if not t.redistributable)
    hidden = (
        f"Cells of fewer than {evidence.minimum} cases or people are hidden, because the terms of {kept} forbid\n"
        "redistribution; where a single level of a factor is hidden, the next smallest is hidden too."
        if evidence.minimum
        else "No cell is hidden: the anatomy is procedural, or all datasets may be passed on."
    )
    return (
        f"Evidence bundle of itrialspace-assets {__version__}, split {evidence.split}, study {evidence.study.study}.\n"
        f"Anatomy: {evidence.anatomy}. No clinical result.\n\n"
        "metrics.csv       every number of every report, with limits, counts and flags\n"
        "<report>/         reporting checklists, credibility page, data scorecard, cards of readers and renderers\n"
        "locks.csv         frozen lists with their hashes; study.json, study.lock.json: the protocol and its lock\n"
        "lineage.csv       every partition that the numbers come from, with code version and hash of what it wrote\n"
        "versions.json     versions of the software\n\n"
        f"{hidden}\nThere is no path, id or picture in here.\n"
    )


def refuse_private(settings: Settings, files: Mapping[str, bytes]) -> None:
    """Refuse files that hold an id of a person, scan, finding, case or picture, a place of this machine, or a picture.

    Args:
        settings: whose tables hold the ids.
        files: content by name.

    Raises:
        TableError: names the file and what it holds.
    """
    names = private_words(settings)
    texts = pl.Series([content.decode("utf-8", errors="replace") for content in files.values()], dtype=pl.String)
    for place in texts.str.contains_any(names).arg_true():
        name, word = list(files)[place], texts[place : place + 1].str.extract_many(names).list.first()[0]
        raise TableError(f"evidence bundle: {name}: expected no id, path or picture, found {word!r}; not written")
    if pictures := [name for name, content in files.items() if b"\x89PNG" in content]:
        raise TableError(f"evidence bundle: {pictures[0]}: expected no picture, found a PNG; not written")


def private_words(settings: Settings) -> list[str]:
    """Every id of the tables, with and without its dataset, and the places of this machine."""
    root = settings.output
    words = {str(settings.data), str(root), str(Path.home()), *_FORBIDDEN}
    for table, columns in _IDS.items():
        frame = read_all(root, table)
        for column in columns:
            values = frame[column].drop_nulls().unique()
            words |= {v for v in values if "/" in v or len(v) >= _LEAST_ID}
            words |= {w for v in values if len(w := v.split("/", 1)[-1]) >= _LEAST_ID}
    return sorted(w for w in words if w != "/")
