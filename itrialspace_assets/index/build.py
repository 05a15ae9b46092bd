"""Builds the index: ``nodules``, ``scans`` and ``patients``, from all profiles and what lies in the data root.

Harmonises and marks, and drops no row; answers no question (``query`` does) and opens no volume.
"""

from collections.abc import Mapping
from pathlib import Path
from string import Formatter

import polars as pl

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import digest, sha256_bytes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Options, Partition, Result, Step
from itrialspace_assets.imaging.anatomy import LOBES, size_buckets
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.records.tables import PROFILE_COLUMNS, TABLES

VERSION = "2"
_READS = ("profiles", "scan_lists")


def options(settings: Settings) -> Options:
    return {"registry": digest({n: e.model_dump(mode="json") for n, e in datasets(settings).items()})}


STEP = Step(("nodule_index",), "index", (), VERSION, options)


def build(settings: Settings, partition: Partition) -> Result:
    """Harmonise and write the index.

    Raises:
        TableError: no dataset has profiles yet.
    """
    require_data_root(settings)
    profiles = read_all(settings.output, "profiles")  # sorted by nodule_uid
    if profiles.is_empty():
        raise TableError(
            "nodules: expected at least one dataset with profiles, found none; run the stage profiles "
            "(its run --to profiles)"
        )
    if gone := sorted(set(profiles["dataset"]) - set(datasets(settings))):
        raise TableError(
            f"nodules: the profiles of {', '.join(gone)} are there, but no such dataset is registered; "
            f"register it in datasets.yaml, or remove tables/profiles/{gone[0]}"
        )
    nodules = _nodules(settings, profiles)
    scans = _scans(settings, nodules, read_all(settings.output, "scan_lists"))
    frames = {"nodules": nodules, "scans": scans, "patients": _patients(scans)}
    paths = [write_table(settings.output, name, frame) for name, frame in frames.items()]
    counts = {name: frame.height for name, frame in frames.items()}
    return Result(counts, computed=nodules.height, preview=_preview(nodules), written=tuple(paths))


def _nodules(settings: Settings, profiles: pl.DataFrame) -> pl.DataFrame:
    """The frame of ``nodules``; ``profiles`` sorted by ``nodule_uid``."""
    marked = _on_disk(settings, profiles).with_columns(
        size_bucket=_buckets(profiles["reinsertion_nodule_diam_mm"]),
        position_usable=_position_usable(),
        row_sha256=_row_hashes(profiles),
    )
    return marked.select(list(TABLES["nodules"].schema))


def _buckets(diameters: pl.Series) -> pl.Series:
    known = diameters.is_not_null()
    buckets = iter(size_buckets(diameters.filter(known).to_numpy()))
    return pl.Series([next(buckets) if k else None for k in known], dtype=pl.String())


def _position_usable() -> pl.Expr:
    """Whether planning may use a nodule's position: a known lobe, on its side, inside the lobe's box."""
    lobe, side = pl.col("reinsertion_lobe"), pl.col("reinsertion_lung_side")
    inside = pl.all_horizontal(pl.col(f"reinsertion_lobe_{a}_pct").is_between(0, 100) for a in ("cc", "ml", "ap"))
    right_side = (side == "unknown") | lobe.str.starts_with(side)
    return (lobe.is_in(list(LOBES)) & right_side & inside).fill_null(False)


def _scans(settings: Settings, nodules: pl.DataFrame, listed: pl.DataFrame) -> pl.DataFrame:
    """The frame of ``scans``: every scan of the datasets' lists; its person as the scan's first nodule states it."""
    first = (
        nodules.sort("nodule_uid")
        .group_by("scan_uid")
        .agg(pl.col("age", "sex", "smoking", "has_organ_map", "has_ct").first())
    )
    completeness = {name: entry.annotation_completeness for name, entry in datasets(settings).items()}
    scans = listed.join(first, on="scan_uid", how="left").with_columns(
        annotation_completeness=pl.col("dataset").replace_strict(completeness, return_dtype=pl.String())
    )
    bare = scans["has_organ_map"].is_null()
    disk = {n: _names_on_disk(settings, n) for n in scans.filter(bare)["dataset"].unique()}
    rows = list(zip(scans["dataset"], scans["ct_id"], bare, strict=True))
    organ = [datasets(settings)[d].files.organ.format(ct_id=c) in disk[d][0] if b else None for d, c, b in rows]
    ct = [bool({f"{c}.nii.gz", f"{c}.nii"} & disk[d][2]) if b else None for d, c, b in rows]
    return scans.with_columns(
        has_organ_map=pl.col("has_organ_map").fill_null(pl.Series(organ, dtype=pl.Boolean())),
        has_ct=pl.col("has_ct").fill_null(pl.Series(ct, dtype=pl.Boolean())),
    ).select(list(TABLES["scans"].schema))


def _patients(scans: pl.DataFrame) -> pl.DataFrame:
    """The frame of ``patients``: the people of all scans."""
    people = scans.group_by("person_uid").agg(
        datasets=pl.col("dataset").unique().sort().str.join(";"),
        n_scans=pl.len().cast(pl.Int64),
        n_nodules=pl.col("n_nodules").sum().cast(pl.Int64),
    )
    known = people.with_columns(person_known=~pl.col("person_uid").str.ends_with("?"))
    return known.select(list(TABLES["patients"].schema))


def _row_hashes(profiles: pl.DataFrame) -> pl.Series:
    texts = [pl.col(c.name).cast(pl.String()).fill_null("\\N") for c in PROFILE_COLUMNS]
    joined = profiles.select(pl.concat_str(texts, separator="\x1f")).to_series().to_list()
    # one call a row: hashing them in DuckDB takes three times as long
    return pl.Series([sha256_bytes(text.encode()) for text in joined], dtype=pl.String())


def _names_on_disk(settings: Settings, name: str) -> tuple[set[str], set[str], set[str]]:
    """Names of a dataset's organ maps, nodule masks and CTs, by listing folders once."""
    base = settings.data / "masks" / name
    return _listing(base / "refined_seg"), _listing(base / "nodule_seg"), _listing(settings.data / "raw_ct" / name)


def _on_disk(settings: Settings, profiles: pl.DataFrame) -> pl.DataFrame:
    """Whether each nodule's organ map, own mask and CT are there."""
    frames = []
    for (name,), rows in profiles.group_by(["dataset"], maintain_order=True):
        files = datasets(settings)[str(name)].files
        organ, own, cts = _names_on_disk(settings, str(name))
        ids = {"ct_id": pl.col("scan_uid").str.strip_prefix(f"{name}/"), "annotation_id": pl.col("annotation_id")}
        ct = pl.col("ct_path").str.split("/").list.last()
        frames.append(
            rows.with_columns(
                has_organ_map=_among(organ, _filled_in(files.organ, ids)),
                has_nodule_mask=_among(own, _filled_in(files.nodule, ids)),
                has_ct=_among(cts, ct) | _among(cts, ct.str.replace(r"\.nii(\.gz)?$", "")),
            )
        )
    return pl.concat(frames).sort("nodule_uid")


def _filled_in(template: str, values: Mapping[str, pl.Expr]) -> pl.Expr:
    """Each row's file name.

    Args:
        template: with places such as ``{ct_id}``, as ``str.format`` takes it.
        values: what each place holds, by name.
    """
    parts = []
    for text, place, _, _ in Formatter().parse(template):
        parts += [pl.lit(text), *([values[place]] if place else [])]
    return pl.concat_str(parts)


def _among(listed: set[str], name: pl.Expr) -> pl.Expr:
    """Whether each row's name is listed."""
    return name.is_in(sorted(listed)) if listed else pl.lit(False)


def _listing(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} if folder.is_dir() else set()


def _preview(nodules: pl.DataFrame) -> str:
    counts = nodules.group_by("dataset").agg(
        pl.len().alias("nodules"),
        pl.col("scan_uid").n_unique().alias("scans"),
        pl.col("person_uid").n_unique().alias("people"),
        (pl.col("label") == 1).sum().alias("malignant"),
        pl.col("reinsertion_nodule_diam_mm").median().round(1).cast(pl.String).alias("median mm"),
    )
    return markdown(counts.sort("dataset"))
