"""Where nodules and readers' marks lie on the volumes of a nodule or a case. Reads tables, no voxels."""

from dataclasses import dataclass

import polars as pl

from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.images.volumes import Of
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all


@dataclass(frozen=True)
class TargetPoint:
    """A nodule where it is, or of a case without one the place that guidance points at; world mm (RAS).

    Attributes:
        name: says which it is.
        x: world x.
        y: world y.
        z: world z.
        diameter_mm: volume-equivalent; None: not known.
        lobe: None: not known.
        present: whether there is a nodule.
    """

    name: str
    x: float
    y: float
    z: float
    diameter_mm: float | None
    lobe: str | None
    present: bool


@dataclass(frozen=True)
class ReaderMark:
    """A mark of a reader on a volume; world mm (RAS), a higher score means more suspicious.

    Attributes:
        reader: who marked.
        what: the volume that was read, as ``VolumeEntry.what``.
        number: 0-based rank by score.
        x: world x.
        y: world y.
        z: world z.
        diameter_mm: None: the reader gives positions alone.
        score: of the mark.
    """

    reader: str
    what: str
    number: int
    x: float
    y: float
    z: float
    diameter_mm: float | None
    score: float


@dataclass(frozen=True)
class MarksOnVolumes:
    """Places of nodules, readers' marks, and every reader that marked here, chosen or not."""

    places: list[TargetPoint]
    marks: list[ReaderMark]
    readers: list[str]


def marks_of(settings: Settings, uid: str, of: Of, reader: str | None = None) -> MarksOnVolumes:
    """Places and marks of a nodule's scan or of a case's images.

    Args:
        settings: gives the outputs.
        uid: a ``nodule_uid`` or a ``case_uid``.
        of: which of the two.
        reader: only this reader's marks; None: all.

    Raises:
        NotFound: no table holds it.
    """
    places, images = _of_nodule(settings, uid) if of == "nodule" else _of_case(settings, uid)
    frames = [
        read_all(settings.output, "detections", source=source, mode=mode, dataset=dataset)
        .filter(pl.col("image_uid") == image)
        .with_columns(what=pl.lit(what))
        for (source, mode, dataset, image), what in images.items()
    ]
    found = pl.concat(frames).sort("reader", "what", "mark") if frames else pl.DataFrame({"reader": []})
    readers = found["reader"].unique().sort().to_list()
    chosen = found if reader is None else found.filter(pl.col("reader") == reader)
    marks = [
        ReaderMark(
            r["reader"], r["what"], r["mark"], r["world_x"], r["world_y"], r["world_z"], r["diameter_mm"], r["score"]
        )
        for r in chosen.iter_rows(named=True)
    ]
    return MarksOnVolumes(places, marks, readers)


_Images = dict[tuple[str, str, str, str], str]


def _of_nodule(settings: Settings, uid: str) -> tuple[list[TargetPoint], _Images]:
    columns = ["coordX", "coordY", "coordZ", "reinsertion_nodule_diam_mm", "reinsertion_lobe", "dataset", "scan_uid"]
    rows = read_all(settings.output, "nodules", ["nodule_uid", *columns])
    own = rows.filter(pl.col("nodule_uid") == uid)
    if own.is_empty():
        raise not_found("nodule_uid", uid, rows["nodule_uid"].to_list())
    scan = own["scan_uid"][0]
    same = rows.filter(pl.col("scan_uid") == scan).drop_nulls(["coordX", "coordY", "coordZ"])
    places = [
        TargetPoint(
            r["nodule_uid"],
            r["coordX"],
            r["coordY"],
            r["coordZ"],
            r["reinsertion_nodule_diam_mm"],
            r["reinsertion_lobe"],
            True,
        )
        for r in same.sort(pl.col("nodule_uid") != uid, "nodule_uid").iter_rows(named=True)  # its own first
    ]
    return places, {(REAL, REAL, own["dataset"][0], scan): "real_ct"}


def _of_case(settings: Settings, uid: str) -> tuple[list[TargetPoint], _Images]:
    cases = read_all(settings.output, "cases", ["case_uid", "mode", "host_dataset"])
    own = cases.filter(pl.col("case_uid") == uid)
    if own.is_empty():
        raise not_found("case_uid", uid, cases["case_uid"].to_list())
    where = {"mode": own["mode"][0], "dataset": own["host_dataset"][0]}
    got = read_all(settings.output, "insertions", **where).filter(pl.col("case_uid") == uid).sort("nodule_idx")
    places = [
        TargetPoint(
            f"nodule {r['nodule_idx']}" if r["present"] else "place without a nodule",
            r["world_x"],
            r["world_y"],
            r["world_z"],
            r["diameter_mm"],
            r["lobe"],
            r["present"],
        )
        for r in got.iter_rows(named=True)
    ]
    cts = read_all(settings.output, "cts", **where).filter(pl.col("case_uid") == uid)
    first = cts["source"].min()
    clean = cts.group_by("source").agg(pl.col("is_lesion_free").all().alias("clean"))
    images: _Images = {}
    for r in cts.join(clean, on="source").iter_rows(named=True):
        name = "lesion_free" if r["is_lesion_free"] and not r["clean"] else "ct"
        suffix = "" if r["source"] == first else f"@{r['source']}"
        images[r["source"], where["mode"], where["dataset"], r["image_uid"]] = name + suffix
    return places, images
