"""Writes measured or annotated nodules as files of a data root.

The files are the profile CSV, the list of all scans, the rows left out and, for a dataset that is not registered,
its entry for the registry. Each table is loaded again as a run loads it, so that one that a run would refuse is an
error here.
"""

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from pydantic import ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.validation import explain
from itrialspace_assets.casework.cases import Rejection
from itrialspace_assets.intake.annotation_sources import AnnotationSource
from itrialspace_assets.intake.annotations import Annotated
from itrialspace_assets.intake.bare_profiles import bare_profiles, scan_list
from itrialspace_assets.profiles.case import KnownNodule, MeasureCase, PixelFrame
from itrialspace_assets.profiles.load import Loaded, native_columns, write_checked
from itrialspace_assets.profiles.masks import scans_in
from itrialspace_assets.profiles.registry import Dataset, check_name
from itrialspace_assets.profiles.siblings import SIBLING_COLUMNS, add_siblings
from itrialspace_assets.records.tables import PROFILE_COLUMNS

_MEASURED = [c.name for c in PROFILE_COLUMNS if c.name != "ct_path"]


def new_entry(name: str, entry: dict[str, Any] | None, columns: Container[str] = ()) -> Dataset:
    """The entry of a dataset that is not registered: that of its source, or one for masks alone.

    Args:
        name: name of the dataset.
        entry: registry fields that its source states; None: there are masks alone.
        columns: native columns that its source gives; people are told apart by ``patient`` among them.

    Raises:
        ConfigError: the name or the entry is wrong.
    """
    check_name(name)
    alone = {
        "patient": "patient" if "patient" in columns else None,
        "annotation": "annotation",
        "label": None,
        "label_source": "none",
        "population": "diagnostic",
        "annotation_completeness": "partial",
        "licence": "not stated",
    }
    try:
        return Dataset(name=name, **(entry or alone))
    except ValidationError as error:
        raise ConfigError(f"dataset {name!r}: {explain(error, Dataset)}") from None


def measured_profiles(rows: pl.DataFrame, entry: Dataset) -> pl.DataFrame:
    """Profiles of measured nodules (rows of ``measure_case``) under the registry's names; native columns are null."""
    if rows.is_empty():
        return pl.DataFrame()
    own = [c for c in native_columns(entry) if c != entry.annotation]
    native = [pl.lit(None, pl.String).alias(c) for c in own]
    ids = [pl.col("id").alias(entry.annotation)] if entry.annotation else []
    path = pl.concat_str(pl.lit(f"{entry.name}/"), pl.col("ct_id"), pl.lit(".nii.gz")).alias("ct_path")
    return rows.select(
        path, *_MEASURED, *ids, *native, "lobe_share", "doubts", diam_definition=pl.lit("volume_equivalent_sphere")
    )


def annotated_scans(annotated: Annotated, source: AnnotationSource, masks: Path) -> list[MeasureCase]:
    """The scans of a table that have a label map, with the nodules that the table names.

    Args:
        annotated: the table, as it was read.
        source: says in which frame and unit centres are given.
        masks: folder of label maps.
    """
    have = {s.ct_id: s for s in scans_in(masks)}
    c = source.centre
    pixel = None if c.unit == "mm" else PixelFrame(frame=c.frame, z_unit=c.z_unit, slices_from=c.slices_from)
    found = []
    for (ct_id,), rows in annotated.nodules.group_by(["ct_id"], maintain_order=True):
        if str(ct_id) not in have:
            continue
        place = ("x", "y", "z") if pixel is None else ("px", "py", "pz")
        known = tuple(
            KnownNodule(id=r["id"], centre=(r[place[0]], r[place[1]], r[place[2]]), pixel=pixel, diameter=r["diameter"])
            for r in rows.iter_rows(named=True)
        )
        found.append(MeasureCase(ct_id=str(ct_id), organ=have[str(ct_id)].organ, known=known))
    return found


def annotated_profiles(
    annotated: Annotated, source: AnnotationSource, entry: Dataset, measured: pl.DataFrame | None
) -> pl.DataFrame:
    """Profiles of a table, with the anatomy of those nodules that were measured.

    The table's own diameter, volume and box stay; measured ones replace nulls alone.

    Args:
        annotated: the table as it was read.
        source: how it was read.
        entry: the dataset.
        measured: rows of ``measure_case``; None: nothing was measured.
    """
    profiles = bare_profiles(annotated, source, entry).with_columns(
        _id=annotated.nodules["id"], diam_table=annotated.nodules["diameter"]
    )
    if measured is None or measured.is_empty():
        return profiles.drop("_id", "diam_table")
    kept = ["nodule_mean_diam_mm", "nodule_vol_mm3", "reinsertion_nodule_diam_mm", "w", "h", "d"]
    wide = profiles.join(
        measured.select(pl.col("id").alias("_id"), "from", "lobe_share", *_MEASURED),
        on="_id",
        how="left",
        suffix="_m",
        maintain_order="left",
    )
    done = pl.col("from").is_not_null()
    voxels = done & (pl.col("from") != "procedural")
    columns = []
    for name in _MEASURED:
        new = (
            pl.coalesce(pl.col(name), pl.when(voxels).then(pl.col(f"{name}_m")))
            if name in kept
            else pl.when(done).then(pl.col(f"{name}_m")).otherwise(pl.col(name))
        )
        columns.append(new.alias(name))
    wide = wide.with_columns(*columns)
    bare = pl.col("nodule_mean_diam_mm").is_null()
    reason = (
        pl.when(~done)
        .then(pl.col("missing_because"))
        .when(bare)
        .then(pl.lit("no diameter in the table and no voxels in the map"))
    )
    own_size = pl.col("diam_table").is_not_null()
    wide = wide.with_columns(
        missing_because=reason,
        mask_source=pl.when(pl.col("from") == "procedural").then(pl.lit("procedural")),
        diam_definition=pl.when(own_size | ~voxels)
        .then(pl.col("diam_definition"))
        .otherwise(pl.lit("volume_equivalent_sphere")),
    )
    wide = _with_siblings(wide, annotated.nodules)
    return wide.drop("_id", "from", "diam_table", *(f"{n}_m" for n in _MEASURED))


def _with_siblings(wide: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
    """Sibling columns over all nodules of a scan, measured or not: by world positions where every nodule of the
    scan has one, else by the table's own positions."""
    whole = pl.col("coordX").is_not_null().all().over("scan")
    places = wide.select("coordX", "coordY", "coordZ", "lung_side", "lobe_name").with_columns(
        nodules.select("scan", "id", "rx", "ry", "rz")
    )
    x, y, z = (pl.when(whole).then(pl.col(f"coord{a.upper()}")).otherwise(pl.col(f"r{a}")).alias(a) for a in "xyz")
    return wide.with_columns(
        add_siblings(places.select("scan", "id", x, y, z, "lung_side", "lobe_name")).select(SIBLING_COLUMNS)
    )


def write_outcome(
    out: Path, entry: Dataset, profiles: pl.DataFrame, scans: Sequence[str], rejected: Sequence[Rejection]
) -> list[str]:
    """Write a measured dataset: its profile CSV, and scan list and registry entry beside it.

    Args:
        out: path of the profile CSV.
        entry: the dataset.
        profiles: rows of ``measured_profiles``.
        scans: ids of all scans that were to be measured.
        rejected: scans and nodules that could not be measured; a rejected scan is left out of the scan list.

    Returns:
        Lines to show.

    Raises:
        ConfigError: no nodule was measured.
        TableError: the platform would refuse the table.
    """
    if profiles.is_empty():
        first = rejected[0].detail if rejected else "none"
        raise ConfigError(f"{out}: expected nodules, none was measured; {len(rejected)} rejected, first: {first}")
    bad = {r.uid for r in rejected if r.nodule_idx < 0}
    listed = pl.DataFrame({"ct_id": sorted(set(scans) - bad)}).with_columns(
        patient=pl.lit(None, pl.String), series=pl.lit(None, pl.String)
    )
    loaded = write_checked(entry, out, profiles, out.with_name(f"{entry.name}_scans.csv"), listed, "real")
    return _lines(loaded, rejected) + _entry_file(out.parent, entry)


def write_annotated(
    out: Path,
    entry: Dataset,
    annotated: Annotated,
    profiles: pl.DataFrame,
    rejected: Sequence[Rejection],
    source: AnnotationSource,
) -> list[str]:
    """Write a dataset read from annotations; lines to show.

    Args:
        out: folder of the profile table.
        entry: the dataset, as it is registered.
        annotated: the table, as it was read.
        profiles: its nodules as profiles.
        rejected: scans and nodules that were not measured, with reasons.
        source: where the table comes from.

    Raises:
        TableError: the platform would refuse the table.
    """
    path = out / f"{entry.name}_nodule_profiles.csv"
    loaded = write_checked(entry, path, profiles, out / f"{entry.name}_scans.csv", scan_list(annotated), "real")
    lines = [f"{n.severity}: {n}" for n in annotated.notes]
    if annotated.left_out.height:
        replace_file(out / f"{entry.name}_left_out.csv", annotated.left_out.write_csv().encode())
        lines.append(f"{annotated.left_out.height} rows are no nodules: {entry.name}_left_out.csv says why")
    return lines + _lines(loaded, rejected) + _entry_file(out, entry, source.entry)


def _lines(loaded: Loaded, rejected: Sequence[Rejection]) -> list[str]:
    lines = [f"{f.severity}: {f}" for f in loaded.findings if f.severity != "info"]
    lines += [f"rejected: {r.detail}" for r in rejected[:20]]
    if len(rejected) > 20:
        lines.append(f"rejected: {len(rejected) - 20} more")
    return [
        *lines,
        f"{loaded.profiles.height} nodules in {loaded.scans.height} scans of "
        f"{loaded.scans['person_uid'].n_unique()} people",
    ]


def _entry_file(folder: Path, entry: Dataset, given: dict[str, Any] | None = None) -> list[str]:
    """For a dataset that the platform does not ship: its registry entry, ready to use."""
    if entry.release_rows is not None:
        return []
    body = given or entry.model_dump(mode="json", exclude={"name"}, exclude_defaults=True) | {"label": None}
    path = folder / f"{entry.name}.datasets.yaml"
    replace_file(path, yaml.safe_dump({"datasets": {entry.name: body}}, sort_keys=False).encode())
    return [
        f"{entry.name} is not registered: set ITRIALSPACE_DATASETS_CONFIG={path}, or add its entry to your own file"
    ]
