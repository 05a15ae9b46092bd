"""What a reader that marks scans did: its marks (table ``detections``) joined to the nodules truly in each image.

An image is a scan; a lesion-free twin that several cases share is one. The truth is what ``insertions`` realised.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Ints
from itrialspace_assets.analysis.estimates.matching import OURS, MarkArrays, MatchedMarks, NoduleArrays, match
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import read_all

_WORLD = ["world_x", "world_y", "world_z"]


@dataclass(frozen=True)
class MarkedScans:
    """Marks against nodules under our rules, and what they belong to.

    Attributes:
        matched: of the scans below, in their order.
        scans: image_uid, case_uid and host_person_uid of each scan.
        nodules: case_uid, size_bucket, host_person_uid and donor_person_uid of each nodule, in that of ``matched``.
        unread: scans with a nodule that the reader did not read: every nodule of theirs counts as missed. One
            without a nodule is left out: it would only thin out the false marks.
        left_out: those.
    """

    matched: MatchedMarks
    scans: pl.DataFrame
    nodules: pl.DataFrame
    unread: int
    left_out: int

    def host(self) -> Ints:
        """Host person of each scan, as whole numbers from 0."""
        return _codes(self.scans["host_person_uid"])

    def donor(self) -> Ints | None:
        """Donor person of each nodule, as whole numbers from 0; None where no donor lies in two host persons."""
        hosts = self.nodules.group_by("donor_person_uid").agg(pl.col("host_person_uid").n_unique())
        shared = (hosts["host_person_uid"] > 1).any()
        return _codes(self.nodules["donor_person_uid"]) if shared else None


def _codes(values: pl.Series) -> Ints:
    return (values.rank("dense").cast(pl.Int64) - 1).to_numpy()


def marked_scans(settings: Settings, source: str, mode: str, reader: str, seen: pl.DataFrame) -> MarkedScans:
    """The scans of a report's slices.

    Args:
        settings: where tables lie.
        source: a renderer's name.
        mode: trial mode.
        reader: name of a reader that marks scans.
        seen: slices of the report with the status of their answers, as ``observations.observe`` gives them.
    """
    root = settings.output
    return join_marks(
        seen,
        cts=read_all(root, "cts", source=source, mode=mode),
        insertions=read_all(root, "insertions", mode=mode),
        detections=read_all(root, "detections", source=source, reader=reader, mode=mode),
        rejected=read_all(root, "rejected_cases", stage=f"{source}/predictions/{reader}")["case_uid"],
    )


def join_marks(
    seen: pl.DataFrame, cts: pl.DataFrame, insertions: pl.DataFrame, detections: pl.DataFrame, rejected: pl.Series
) -> MarkedScans:
    """Marks, scans and nodules from their tables.

    Args:
        seen: ``image_uid`` and ``status`` of slices; an image was read if one of its slices was asked.
        cts: rows of ``cts``; a case of which only planes were kept was not marked.
        insertions: rows of ``insertions``.
        detections: rows of ``detections`` of one reader.
        rejected: cases of which a scan could not be read.
    """
    asked = seen.group_by("image_uid").agg(asked=pl.col("status").is_not_null().any())
    whole = cts.filter((pl.col("kept") != "planes").all().over("case_uid"))
    hosts = insertions.select("case_uid", "host_person_uid").unique("case_uid", keep="first", maintain_order=True)
    scans = (
        whole.join(asked, on="image_uid")
        .join(hosts, on="case_uid")
        .sort("image_uid", "case_uid")
        .with_columns(lost=pl.col("case_uid").is_in(rejected.unique().implode()).any().over("image_uid"))
        .unique("image_uid", keep="first", maintain_order=True)
    )
    truth = (
        insertions.filter("present")
        .drop("host_person_uid")
        .join(scans.filter(~pl.col("is_lesion_free")).select("image_uid", "case_uid", "host_person_uid"), on="case_uid")
        .sort("image_uid", "nodule_idx")
    )
    marked = pl.col("image_uid").is_in(detections["image_uid"].unique().implode())
    scans = scans.with_columns(
        read=pl.col("asked") & (marked | ~pl.col("lost")),
        ill=pl.col("image_uid").is_in(truth["image_uid"].unique().implode()),
    )
    left_out = scans.filter(~pl.col("read"), ~pl.col("ill")).height
    scans = scans.filter(pl.col("read") | pl.col("ill")).with_row_index("scan")
    number = scans.select("image_uid", pl.col("scan").cast(pl.Int64))
    truth = truth.join(number, on="image_uid", maintain_order="left")
    marks = detections.join(number, on="image_uid").sort("scan", "mark")
    matched = match(
        MarkArrays(marks["scan"].to_numpy(), marks.select(_WORLD).to_numpy(), marks["score"].to_numpy()),
        NoduleArrays(
            truth["scan"].to_numpy(),
            truth.select(_WORLD).to_numpy(),
            truth["diameter_mm"].to_numpy(),
            np.zeros(truth.height, bool),
        ),
        scans.height,
        OURS,
    )
    return MarkedScans(
        matched,
        scans.select("image_uid", "case_uid", "host_person_uid"),
        truth.select("case_uid", "size_bucket", "host_person_uid", "donor_person_uid"),
        scans.filter(~pl.col("read")).height,
        left_out,
    )
