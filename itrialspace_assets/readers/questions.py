"""Which slices and scans of a partition a reader is asked about: all at once, or in parts that are small in memory.

What a request is and its key are in ``requests``; nothing is asked here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition
from itrialspace_assets.profiles.cts import ct_hash
from itrialspace_assets.readers.api import Reader
from itrialspace_assets.readers.case import RealScan, RenderedScan
from itrialspace_assets.readers.requests import given, requests_of, require_cut
from itrialspace_assets.records.layout import REAL, ids_of
from itrialspace_assets.records.runs import SortedRuns
from itrialspace_assets.records.store import apart, look_up, read_blocks, read_table, table_path
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.slices.case import RenderedImage


@dataclass(frozen=True)
class Questions:
    """All that a reader is asked in a partition.

    Attributes:
        slices: rows of the table ``slices``.
        given: what it is shown (see ``requests.given``).
        requests: see ``requests_of``.
        shown: the whole scans that requests are about, by their id; empty for a reader of slices.
        scans: the whole scans that it marks, by their id.
        hosts: what scans of one host are grouped by.
        cases: a case of each whole scan.
        note: what was left out.
    """

    slices: pl.DataFrame
    given: pl.DataFrame
    requests: pl.DataFrame
    shown: dict[str, RenderedScan | RealScan]
    scans: dict[str, RenderedScan | RealScan]
    hosts: dict[str, str]
    cases: dict[str, str]
    note: str


def table_partition(source: str, partition: Partition) -> dict[str, str]:
    """Values of the partition columns of ``slices`` and the tables made from it, for a partition of the graph."""
    return {"source": source, "mode": partition.get("mode", REAL), "dataset": partition["dataset"]}


def ids_in(path: Path) -> list[str]:
    """Ids of a list file, sorted; blank lines and lines that start with # do not count.

    Raises:
        ConfigError: there is no such file, it is no text, or it holds no id.
    """
    try:
        found = sorted(set(ids_of(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"ITRIALSPACE_CASE_IDS={path}: expected a file with one id a line, got: {error}") from None
    if not found:
        raise ConfigError(
            f"ITRIALSPACE_CASE_IDS={path}: expected ids, one a line, got none; unset it to read every case"
        )
    return found


def chosen_slices(settings: Settings, slices: pl.DataFrame) -> pl.DataFrame:
    """The slices that are read: of the cases, slices or published ids of ``case_ids``, of ``max_cases`` cases."""
    if settings.case_ids is not None:
        listed = ids_in(settings.case_ids)
        named = slices.filter(
            pl.any_horizontal(pl.col(c).is_in(listed) for c in ("case_uid", "slice_uid", "published_id"))
        )
        slices = slices.filter(pl.col("target_uid").is_in(named["target_uid"].unique().implode()))
    if settings.max_cases is not None:
        first = slices["case_uid"].unique().sort().head(settings.max_cases)
        slices = slices.filter(pl.col("case_uid").is_in(first.implode()))
    return slices


def questions(settings: Settings, source: str, reader: Reader, partition: Partition) -> Questions:
    """What a reader is asked in a partition, whether it was asked before or not.

    Args:
        settings: where tables and real CTs lie, and which slices are read.
        source: ``real`` or a renderer's name.
        reader: the reader; need not be loaded.
        partition: dataset, and of a rendered source the mode.

    Raises:
        ConfigError: no slice of the reader's profile was cut, or a list of ids cannot be read.
        TableError: a table of a stage before is missing, or lacks the image of a slice.
    """
    slices = chosen_slices(settings, read_table(settings.output, "slices", **table_partition(source, partition)))
    about = scans_asked(settings, source, reader, partition, slices)
    return Questions(
        slices,
        given(reader, slices, about.keys),
        requests_of(reader, slices, about.keys),
        about.shown,
        about.scans,
        about.hosts,
        about.cases,
        about.note,
    )


@dataclass(frozen=True)
class ScansAsked:
    """The whole scans that a reader is asked about, or marks: see ``Questions``.

    Attributes:
        keys: a hash of all that decides the voxels of each.
    """

    shown: dict[str, RenderedScan | RealScan]
    scans: dict[str, RenderedScan | RealScan]
    hosts: dict[str, str]
    cases: dict[str, str]
    keys: dict[str, str]
    note: str


def scans_asked(
    settings: Settings, source: str, reader: Reader, partition: Partition, slices: pl.DataFrame
) -> ScansAsked:
    """The whole scans of some slices, for a reader that marks such or is shown such; none for another one.

    Args:
        settings: where tables and real CTs lie.
        source: ``real`` or a renderer's name.
        reader: the reader; need not be loaded.
        partition: dataset, and of a rendered source the mode.
        slices: ``case_uid`` and ``image_uid`` of the slices that are read.

    Raises:
        TableError: a table of a stage before is missing, or lacks the image of a slice.
    """
    if (reader.mark is None and reader.scan_levels is None) or slices.is_empty():
        return ScansAsked({}, {}, {}, {}, {}, "" if slices.height else "no slice in this partition")
    if source == REAL:
        scans, hosts = _real_scans(settings, partition["dataset"])
    else:
        scans, hosts = _rendered_scans(settings, table_partition(source, partition))
    if reader.by_id:  # equal scans of two ids may get different marks
        scans = {uid: s.model_copy(update={"key": digest([s.key, uid], 32)}) for uid, s in scans.items()}
    whole = {uid: scan for uid, scan in scans.items() if isinstance(scan, RealScan) or scan.image.kept != "planes"}
    of_case = slices.select("case_uid", "image_uid").unique().sort("case_uid", "image_uid")
    for image in of_case["image_uid"].unique():
        look_up(scans, image, "cts")
    # marks on lesion-free images alone would all be false: a case's scans are marked where all of them are whole
    kept = of_case.filter(pl.col("image_uid").is_in(list(whole)).all().over("case_uid"))
    cases = dict(kept.select("image_uid", "case_uid").unique("image_uid", keep="first", maintain_order=True).rows())
    note = (
        ""
        if len(cases) == of_case["image_uid"].n_unique()
        else ("no marks or answers on whole scans: only slices of them were kept (ITRIALSPACE_CTS=slices)")
    )
    known = {uid: whole[uid] for uid in cases}
    return ScansAsked(
        {} if reader.scan_levels is None else known,
        {} if reader.mark is None else known,
        hosts,
        cases,
        {uid: scan.key for uid, scan in known.items()},
        note,
    )


#: Columns of ``slices`` that reading needs.
_SLICES = ["case_uid", "published_id", "image_uid", "target_uid", "slice_uid", "slice_z", "profile", "z_offset"]
_SLICES += ["condition", "control", "path", "sha256", "pixel_x_mm", "pixel_y_mm", "presence"]


def listed_slices(settings: Settings, source: str, partition: Partition) -> pl.DataFrame:
    """What slices that are read say of which case, image and target they are, and how they were cut; each once.

    Args:
        settings: where tables lie; cases that were chosen.
        source: of the images.
        partition: of the slices.
    """
    columns = ["case_uid", "image_uid", "target_uid", "profile", "z_offset"]
    columns += [] if settings.case_ids is None else ["slice_uid", "published_id"]
    blocks = read_blocks("slices", table_path(settings.output, "slices", **table_partition(source, partition)), columns)
    none = TABLES["slices"].empty().select(columns)
    return chosen_slices(settings, pl.concat([none, *(apart(block.select(columns).unique()) for block in blocks)]))


def slices_in_parts(
    settings: Settings, source: str, reader: Reader, partition: Partition, listed: pl.DataFrame, by: str
) -> Iterator[pl.DataFrame]:
    """The slices that are read, a few thousand at a time; of a reader of whole scans all at once.

    Args:
        settings: where tables lie, and which slices are read.
        source: ``real`` or a renderer's name.
        reader: the reader; need not be loaded.
        partition: dataset, and of a rendered source the mode.
        listed: from ``listed_slices``.
        by: ``image_uid`` or ``target_uid``: what a part holds all slices of; parts follow each other in its order.

    Yields:
        Rows of the table ``slices``, with the columns that reading needs.

    Raises:
        ConfigError: there are slices, but none of the reader's profile or z offsets.
    """
    where = table_partition(source, partition)
    if reader.scan_levels is not None:
        yield chosen_slices(settings, read_table(settings.output, "slices", _SLICES, **where))
        return
    require_cut(reader, listed)
    kept = listed.select("case_uid", "target_uid").unique()
    with SortedRuns(settings.output / "work", (by, *TABLES["slices"].key)) as runs:
        for block in read_blocks("slices", table_path(settings.output, "slices", **where), _SLICES):
            runs.add(block.join(kept, on=kept.columns, how="semi"))
        yield from runs.blocks()


def _real_scans(settings: Settings, dataset: str) -> tuple[dict[str, RenderedScan | RealScan], dict[str, str]]:
    """The scans of a dataset by their id, and what scans are grouped by: the scan itself."""
    profiles = read_table(settings.output, "profiles", dataset=dataset).unique("scan_uid", keep="first")
    scans: dict[str, RenderedScan | RealScan] = {}
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        for uid, ct_path in profiles.select("scan_uid", "ct_path").iter_rows():
            key = digest([ct_hash(hashes, settings.data, ct_path)], 32)
            scans[uid] = RealScan(image_uid=uid, key=key, ct_path=ct_path)
    return scans, {uid: uid for uid in scans}


def _rendered_scans(
    settings: Settings, where: dict[str, str]
) -> tuple[dict[str, RenderedScan | RealScan], dict[str, str]]:
    """The images of a partition by their id, and what scans of one host are grouped by: the lesion-free twin."""
    cts = read_table(settings.output, "cts", **where).select(list(RenderedImage.model_fields))
    images = [RenderedImage(**row) for row in cts.iter_rows(named=True)]
    scans: dict[str, RenderedScan | RealScan] = {
        i.image_uid: RenderedScan(image_uid=i.image_uid, key=digest([i.sha256, i.twin_uid], 32), image=i)
        for i in images
    }
    return scans, {i.image_uid: i.twin_uid for i in images}
