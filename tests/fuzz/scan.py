"""A tiny scan in every format that an import takes, and whether an import of it told the truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.cases import Output
from itrialspace_assets.imaging.anatomy import BODY
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.intake.case import ImportCase
from itrialspace_assets.profiles.dicom.regions import LESION_NAMES

from ..conftest import small_chest
from ..intake.dicom_files import SERIES, lidc_xml, write_multiframe, write_rtstruct, write_seg, write_series

#: Two nodules of different volume (voxels 3 x 4 x 5 mm): in the right lower lobe, and in the left one.
BOXES = {
    "N1": (slice(12, 14), slice(6, 8), slice(3, 5)),
    "N2": (slice(4, 6), slice(6, 9), slice(3, 5)),
}


def organs() -> Volume:
    """The organ map under our labels, five lobes, 20 x 18 x 15 voxels."""
    chest = small_chest()
    chest.array[22:35, 22:30, 10:16] = 31
    return Volume(np.asfortranarray(chest.array[::2, ::2, ::2]), chest.affine @ np.diag([2.0, 2.0, 2.0, 1.0]))


def ct() -> Volume:
    """Its HU."""
    labels = organs()
    hu = np.where(labels.array == 0, -1000, np.where(labels.array == BODY, 40, -850)).astype(np.int16)
    for box in BOXES.values():
        hu[box] = 30
    return Volume(hu, labels.affine)


def nodules() -> dict[str, np.ndarray]:
    """The masks of the nodules by name."""
    found = {}
    for name, box in BOXES.items():
        found[name] = np.zeros(organs().array.shape, bool)
        found[name][box] = True
    return found


def ring(box: tuple[slice, ...]) -> list[tuple[int, int]]:
    """The pixels just outside a box, in order (LIDC's edge map)."""
    x, y = ((s.start - 1, s.stop) for s in box[:2])
    edge = [(a, b) for a in range(x[0], x[1] + 1) for b in range(y[0], y[1] + 1) if a in x or b in y]
    middle = (np.mean(x), np.mean(y))
    return sorted(edge, key=lambda p: np.arctan2(p[1] - middle[1], p[0] - middle[0]))


def write_scan(folder: Path) -> None:
    """The scan in every format."""
    labels, hu, masks = organs(), ct(), nodules()
    write_volume(folder / "ct.nii.gz", hu)
    write_volume(folder / "organs.nii.gz", labels)
    both = sum(mask.astype(np.uint8) * i for i, mask in enumerate(masks.values(), 1))
    write_volume(folder / "mask.nii.gz", Volume(both, labels.affine))
    slices = list(write_series(folder / "series", hu))
    (folder / "multiframe").mkdir()
    write_multiframe(folder / "multiframe" / "000.dcm", hu)
    for kind in ("BINARY", "LABELMAP", "FRACTIONAL"):
        write_seg(folder / f"{kind.lower()}.dcm", slices, masks, kind=kind)
    outlines = {}
    for name, (x, y, z) in BOXES.items():
        corners = [(x.start, y.start), (x.stop, y.start), (x.stop, y.stop), (x.start, y.stop)]
        outlines[f"GTV-{name}"] = {k: [np.array(corners) - 0.5] for k in range(z.start, z.stop)}
    write_rtstruct(folder / "rt.dcm", hu, outlines)
    planes = [{k: ring(box) for k in range(box[2].start, box[2].stop)} for box in BOXES.values()]
    head = f"<ResponseHeader><SeriesInstanceUid>{SERIES}</SeriesInstanceUid></ResponseHeader>\n<readingSession>"
    (folder / "lidc.xml").write_text(
        lidc_xml(hu, planes).replace("<readingSession>", head, 1).replace("<roi>", "\n<roi>")
    )
    rows = ["x,y,z,diameter_mm,id,label"]
    for i, mask in enumerate(masks.values()):
        x, y, z = hu.to_world(np.argwhere(mask).mean(axis=0))
        rows.append(f"{x:.2f},{y:.2f},{z:.2f},{12 + 2 * i:.1f},N{i + 1},{i}")
    (folder / "list.csv").write_text("\n".join(rows) + "\n")


def case(folder: Path, changed: dict[str, Path], nodules: str, ct: str = "series") -> ImportCase:
    """The import of the scan in a folder, from its CT and nodules of these names; ``changed``: files that differ."""
    at = {name: changed.get(name, folder / name) for name in (ct, "organs.nii.gz", nodules)}
    return ImportCase(
        ct_id="A",
        dataset="MINE",
        ct=at[ct],
        organs=at["organs.nii.gz"],
        nodules=at[nodules],
        labels="vista3d",
        frame="RAS",
        roi=LESION_NAMES,
        patient=None,
        age=None,
        sex=None,
    )


def at_root(folder: Path) -> Settings:
    """Settings of a data root in a folder."""
    return load_settings(data_dir=folder / "root", output_dir=folder / "root", workers=1)


@dataclass(frozen=True)
class Told:
    """What an import says of each nodule: centre (mm, RAS), side, volume (mm3), lobe; and its doubts and notes."""

    nodules: tuple[tuple[np.ndarray, str, float, str], ...]
    doubts: frozenset[str]
    notes: frozenset[str]


def told(out: Output) -> Told:
    """What an import's output says."""
    rows: list[dict[str, Any]] = out.rows["profiles"]
    return Told(
        tuple(
            (
                np.array([r["coordX"], r["coordY"], r["coordZ"]]),
                r["lung_side"],
                float(r["nodule_vol_mm3"]),
                r["lobe_name"],
            )
            for r in rows
        ),
        frozenset(code for r in rows for code in (r["doubts"] or "").split(";") if code),
        frozenset(str(r["note"]) for r in out.rows["notes"]),
    )


def lie(got: Told, truth: Told) -> str:
    """How what was told differs from the truth without a flag; empty if it does not.

    A nodule that differs needs a doubt in its row; one that is missing a doubt or a note.
    """
    if got.doubts - truth.doubts:
        return ""
    limit = 0.1 * float(organs().spacing.min())
    found = set()
    for centre, side, volume, lobe in got.nodules:
        same = [
            i
            for i, (c, s, v, where) in enumerate(truth.nodules)
            if np.abs(c - centre).max() <= limit and (s, where) == (side, lobe) and abs(v - volume) <= 0.01 * v
        ]
        if not same:
            return f"a nodule at {centre} mm in the {lobe} of {volume:g} mm3"
        found.update(same)
    lost = len(truth.nodules) - len(found)
    return f"{lost} nodules are missing without a note" if lost and not got.notes - truth.notes else ""
