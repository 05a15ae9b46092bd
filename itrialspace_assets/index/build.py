"""Builds ``nodules``, ``scans`` and ``patients`` from all profiles."""

from pathlib import Path

import duckdb
import polars as pl

from itrialspace_assets.anatomy import size_buckets
from itrialspace_assets.errors import TableError
from itrialspace_assets.fingerprints import digest
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.settings import Settings, require_data_root
from itrialspace_assets.steps import Inputs, Partition, Result, Step, input_hash, record
from itrialspace_assets.store import file_digests, read_all, table_files, write_table
from itrialspace_assets.tables import PROFILE_COLUMNS, TABLES

VERSION = "1"


def inputs(settings: Settings, partition: Partition) -> Inputs:
    tables = file_digests(settings.output, table_files(settings.output, "profiles"))
    return tables | {"on_disk": digest([sorted(_listing(folder)) for folder in _folders(settings)])}


def _folders(settings: Settings) -> list[Path]:
    found = []
    for name in datasets(settings):
        found += [
            settings.data / "masks" / name / "refined_seg",
            settings.data / "masks" / name / "nodule_seg",
            settings.data / "raw_ct" / name,
        ]
    return found


STEP = Step(("nodule_index",), "index", (), VERSION, inputs)


def build(settings: Settings, partition: Partition) -> Result:
    """Harmonise and write the index.

    Raises:
        TableError: no dataset has profiles yet.
    """
    require_data_root(settings)
    before = input_hash(STEP, settings, partition)
    profiles = read_all(settings.output, "profiles").sort("dataset", "nodule_uid")
    if profiles.is_empty():
        raise TableError("nodules: expected at least one dataset with profiles, found none; run the stage profiles")
    profiles = _on_disk(settings, profiles)
    nodules = profiles.with_columns(
        size_bucket=pl.Series(size_buckets(profiles["reinsertion_nodule_diam_mm"].to_numpy()), dtype=pl.String()),
        row_sha256=_row_hashes(profiles),
    )
    nodules = nodules.select(list(TABLES["nodules"].schema))
    scans = (
        nodules.sort("nodule_uid").group_by("scan_uid")
        .agg(pl.col("dataset", "person_uid", "age", "sex", "smoking", "has_organ_map", "has_ct", "anatomy").first(), n_nodules=pl.len().cast(pl.Int64))
        .with_columns(ct_id=pl.col("scan_uid").str.split_exact("/", 1).struct.field("field_1"))
        .select(list(TABLES["scans"].schema))
    )  # fmt: skip
    patients = (
        scans.group_by("person_uid")
        .agg(datasets=pl.col("dataset").unique().sort().str.join(";"), n_scans=pl.len().cast(pl.Int64), n_nodules=pl.col("n_nodules").sum().cast(pl.Int64))
        .with_columns(person_known=~pl.col("person_uid").str.ends_with("?"))
        .select(list(TABLES["patients"].schema))
    )  # fmt: skip
    paths = [
        write_table(settings.output, n, f) for n, f in (("nodules", nodules), ("scans", scans), ("patients", patients))
    ]
    counts = {"nodules": nodules.height, "scans": scans.height, "patients": patients.height}
    result = Result(counts, computed=nodules.height, preview=_preview(nodules))
    record(settings, STEP, partition, before, result, paths)
    return result


def _row_hashes(profiles: pl.DataFrame) -> pl.Series:
    texts = [pl.col(c.name).cast(pl.String()).fill_null("\\N") for c in PROFILE_COLUMNS]
    joined = profiles.select(t=pl.concat_str(texts, separator="\x1f")).to_arrow()
    with duckdb.connect() as db:
        db.register("joined", joined)
        hashes = pl.from_arrow(db.sql("SELECT sha256(t) AS row_sha256 FROM joined").to_arrow_table())
    assert isinstance(hashes, pl.DataFrame)
    return hashes["row_sha256"]


def _on_disk(settings: Settings, profiles: pl.DataFrame) -> pl.DataFrame:
    """Whether each nodule's organ map, own mask and CT are there, by listing folders once."""
    frames = []
    for (name,), rows in profiles.group_by(["dataset"], maintain_order=True):
        entry = datasets(settings)[str(name)]
        ct_ids = rows["scan_uid"].str.split_exact("/", 1).struct.field("field_1").to_list()
        ids = rows["annotation_id"].to_list()
        base = settings.data / "masks" / str(name)
        organ, own = _listing(base / "refined_seg"), _listing(base / "nodule_seg")
        cts = _listing(settings.data / "raw_ct" / str(name))
        frames.append(rows.with_columns(
            has_organ_map=pl.Series([entry.organ_map(settings.data, c).name in organ for c in ct_ids], dtype=pl.Boolean()),
            has_nodule_mask=pl.Series([entry.nodule_mask(settings.data, c, a).name in own for c, a in zip(ct_ids, ids, strict=True)], dtype=pl.Boolean()),
            has_ct=rows["ct_path"].str.split("/").list.last().is_in(sorted(cts)),
        ))  # fmt: skip
    return pl.concat(frames).sort("nodule_uid")


def _listing(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()} if folder.is_dir() else set()


def _preview(nodules: pl.DataFrame) -> str:
    table = nodules.group_by("dataset").agg(
        pl.len().alias("nodules"), pl.col("scan_uid").n_unique().alias("scans"), pl.col("person_uid").n_unique().alias("people"),
        (pl.col("label") == 1).sum().alias("malignant"), pl.col("reinsertion_nodule_diam_mm").median().round(1).alias("median mm"),
    ).sort("dataset")  # fmt: skip
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN", tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True, tbl_cols=-1
    ):
        return str(table)
