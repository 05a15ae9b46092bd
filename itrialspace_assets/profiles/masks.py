"""Profiles from masks: finds each nodule's voxels in a scan and measures all 53 columns.

A scan is one case of ``casework``: parallel, resumable, a bad one put aside with its reason. Reads
organ maps and nodule masks; the measuring itself is ``measure.py``'s.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Output, Rejection, require_all
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, box_around, read_labels, read_volume
from itrialspace_assets.imaging.volumes import Lesion, cut_lesion
from itrialspace_assets.profiles.measure import MIN_VOXELS, measure_scan, nodules_in

#: A component of label 23 belongs to a profile whose centre lies this many voxels (along its longest edge) from it.
CENTRE_VOXELS = 2.0
VERSION = "1"
_SUFFIX = re.compile(r"(_seg_sh|_seg|_mask)?\.nii(\.gz)?$")


@dataclass(frozen=True)
class Known:
    """What a table knows of a nodule before it is measured.

    ``centre``: (x, y, z) in mm RAS, or, with ``pixel``, column, row and slice of the image from 0.
    ``pixel`` is (frame, z_unit, slices_from) as in ``annotations.Centre``; ``diameter`` in mm.
    """

    id: str
    mask: str | None = None
    centre: tuple[float, float, float] | None = None
    pixel: tuple[str, str, str] | None = None
    diameter: float | None = None


@dataclass(frozen=True)
class ScanFiles:
    """A scan to measure. Without ``known``, every nodule of the map or the nodule mask is measured."""

    ct_id: str
    organ: str
    nodules: str | None = None  # one mask with all nodules of the scan
    known: tuple[Known, ...] = ()


def scans_in(masks: Path, nodules: Path | None = None) -> list[ScanFiles]:
    """The scans of a folder of combined maps (organs and 23), or of organ maps with nodule masks beside.

    Raises:
        ConfigError: no such folder, no map in it, or a nodule mask without a map.
    """
    for folder in filter(None, (masks, nodules)):
        if not folder.is_dir():
            raise ConfigError(f"{folder}: expected a folder of NIfTI masks, found none")
    maps = _by_id(masks)
    if not maps:
        raise ConfigError(f"{masks}: expected label maps (*.nii.gz), found none")
    own = _by_id(nodules) if nodules else {}
    if lost := sorted(set(own) - set(maps)):
        raise ConfigError(
            f"{nodules}: expected an organ map for each nodule mask, found none for {', '.join(lost[:5])}"
        )
    return [ScanFiles(ct, str(path), str(own[ct]) if ct in own else None) for ct, path in maps.items()]


def _by_id(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if _SUFFIX.search(path.name):
            ct_id = _SUFFIX.sub("", path.name)
            if ct_id in found:
                raise ConfigError(f"{folder}: expected one mask a scan, got {found[ct_id].name} and {path.name}")
            found[ct_id] = path
    return found


def find_lesion(
    labels: Volume,
    mask: Path | None,
    centre: npt.ArrayLike | None,
    native: Sequence[Lesion],
    where: str,
    within_mm: float | None = None,
) -> tuple[Lesion, str]:
    """A nodule's voxels: from its own mask, else the component of label 23 at its centre.

    Args:
        labels: canonical organ map.
        mask: the nodule's own mask, used if the file exists.
        centre: its centre in voxels, if known.
        native: the components of label 23.
        where: what to call the nodule in a message.
        within_mm: largest distance from the centre to a component's nearest voxel; two voxels if not given.

    Returns:
        The lesion and ``nodule_seg`` or ``organ_map``.

    Raises:
        CaseRejected: a mask on another grid or empty, a centre outside the volume, or no voxels found.
    """
    if centre is not None:
        at = np.asarray(centre, dtype=np.float64)
        if not np.all((at >= -0.5) & (at <= np.array(labels.array.shape) - 0.5)):
            low, high = labels.to_world([0, 0, 0]), labels.to_world(np.array(labels.array.shape) - 1)
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{where}: expected a centre within {_mm(low)} to {_mm(high)} mm, got {_mm(labels.to_world(at))}",
            )
    if mask is not None and mask.exists():
        own = read_volume(mask)
        if not labels.same_grid(own):
            raise CaseRejected(
                Reason.GRID_MISMATCH,
                f"{mask}: expected the grid of its organ map {labels.array.shape}, got {own.array.shape}",
            )
        if not (own.array > 0).any():
            raise CaseRejected(Reason.EMPTY_LESION, f"{mask}: expected at least one nodule voxel, got none")
        return cut_lesion(own.array > 0), "nodule_seg"
    if centre is not None:
        limit = CENTRE_VOXELS * float(labels.spacing.max()) if within_mm is None else within_mm
        away = [distance_mm(labels, lesion, at) for lesion in native]
        if away and min(away) <= limit:
            return native[int(np.argmin(away))], "organ_map"
    missing = f"{mask}: " if mask is not None else ""
    raise CaseRejected(
        Reason.MISSING_FILE,
        f"{missing}expected a nodule mask or label 23 at the nodule's centre, found neither ({where})",
    )


def distance_mm(labels: Volume, lesion: Lesion, at: npt.NDArray[np.float64]) -> float:
    """Distance (mm) from a voxel position to the centre of a lesion's nearest voxel."""
    return float(np.linalg.norm((lesion.indices - at) * labels.spacing, axis=1).min())


def _mm(point: npt.ArrayLike) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in np.asarray(point)) + ")"


def sphere(labels: Volume, centre: npt.ArrayLike, diameter_mm: float) -> Lesion:
    """A ball of a diameter around a voxel; at least the voxel itself. Marked ``procedural`` by who uses it."""
    at = np.asarray(centre, dtype=np.float64)
    box = box_around(np.rint(at), np.ceil(diameter_mm / 2 / labels.spacing) + 1, labels.array.shape)
    grid = np.ix_(*(np.arange(s.start, s.stop) for s in box))
    square = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, at, labels.spacing, strict=True))
    inside = np.asarray(square <= (diameter_mm / 2) ** 2)
    inside[tuple(np.rint(at).astype(int) - [s.start for s in box])] = True
    return cut_lesion_in(inside, (box[0].start, box[1].start, box[2].start))


def cut_lesion_in(block: npt.NDArray[np.bool_], offset: tuple[int, int, int]) -> Lesion:
    """The tight lesion of a block that begins at ``offset`` of the grid."""
    tight = cut_lesion(block)
    return Lesion(tuple(int(a + b) for a, b in zip(tight.offset, offset, strict=True)), tight.mask)  # type: ignore[arg-type]


def voxel_of(known: Known, labels: Volume) -> npt.NDArray[np.float64] | None:
    """A table's centre as voxel indices of the canonical map; None if it gives none."""
    if known.centre is None:
        return None
    if known.pixel is None:
        return labels.to_voxel(known.centre)
    frame, z_unit, slices_from = known.pixel
    nx, ny, nz = labels.array.shape
    px, py, pz = known.centre
    # an image's columns run to the patient's left and its rows to the back; the canonical axes run the other way
    i, j = (nx - 1 - px, ny - 1 - py) if frame == "LPS" else (px, py)
    if z_unit == "mm":
        k = float(labels.to_voxel([0.0, 0.0, pz])[2])
    else:
        k = nz - 1 - pz if slices_from == "superior" else pz
    return np.array([i, j, k])


def _known(entry: dict[str, Any]) -> Known:
    return Known(**{k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()})  # type: ignore[arg-type]


def _lesions(payload: dict[str, Any], labels: Volume) -> tuple[list[tuple[str, Lesion, str]], list[Rejection]]:
    """(id, voxels, where they come from) of each nodule of a scan, and those that could not be found."""
    native = nodules_in(labels)
    if not payload["known"]:
        grid, label = labels, NODULE
        if payload["nodules"]:
            own = read_labels(Path(payload["nodules"]))
            if not labels.same_grid(own):
                raise CaseRejected(
                    Reason.GRID_MISMATCH,
                    f"{payload['nodules']}: expected the grid of its organ map {labels.array.shape}, got {own.array.shape}",
                )
            grid, label = Volume((own.array > 0).astype(np.uint8), own.affine), 1
            native = nodules_in(grid, label)
        specks = int((grid.array == label).sum()) - sum(int(lesion.mask.sum()) for lesion in native)
        left = (
            [
                Rejection(
                    payload["ct_id"],
                    Reason.EMPTY_LESION,
                    f"{payload['ct_id']}: {specks} voxels in pieces below {MIN_VOXELS} voxels left out",
                    len(native),
                )
            ]
            if specks
            else []
        )
        return [(f"{payload['ct_id']}_N{i}", lesion, "mask") for i, lesion in enumerate(native, 1)], left
    found: list[tuple[str, Lesion, str]] = []
    aside: list[Rejection] = []
    every = [_known(entry) for entry in payload["known"]]
    places = [voxel_of(known, labels) for known in every]
    component = _own_components(labels, native, every, places)
    for number, (known, centre) in enumerate(zip(every, places, strict=True)):
        mine = [native[component[number]]] if number in component else []
        try:
            lesion, source = find_lesion(
                labels, Path(known.mask) if known.mask else None, centre, mine, known.id, np.inf
            )
        except CaseRejected as error:
            if error.reason != Reason.MISSING_FILE or centre is None or known.diameter is None:
                aside.append(Rejection(payload["ct_id"], error.reason, f"{known.id}: {error.detail}", number))
                continue
            lesion, source = sphere(labels, centre, known.diameter), "procedural"
        found.append((known.id, lesion, source))
    return found, aside


def _own_components(
    labels: Volume, native: Sequence[Lesion], every: Sequence[Known], places: Sequence[npt.NDArray[np.float64] | None]
) -> dict[int, int]:
    """Which component of label 23 is which nodule's: each at most one, the nearest pair first."""
    near = []
    for i, (known, at) in enumerate(zip(every, places, strict=True)):
        if at is not None and np.all(np.isfinite(at)):
            limit = (known.diameter or 0.0) / 2 + CENTRE_VOXELS * float(labels.spacing.max())
            near += [
                (away, i, j) for j, lesion in enumerate(native) if (away := distance_mm(labels, lesion, at)) <= limit
            ]
    out: dict[int, int] = {}
    for _, i, j in sorted(near):
        if i not in out and j not in out.values():
            out[i] = j
    return out


def measure_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Rows ``measured`` of one scan: ``ct_id``, ``id``, ``from`` and the measured columns.

    Raises:
        CaseRejected: the map cannot be read, or holds no lobe.
    """
    labels = read_labels(Path(payload["organ"]))
    if not np.isin(np.unique(labels.array), range(28, 33)).any():
        raise CaseRejected(
            Reason.NO_LOBE, f"{payload['ct_id']}: expected lobe labels 28-32 in {Path(payload['organ']).name}, got none"
        )
    found, aside = _lesions(payload, labels)
    if not found:
        return Output({"measured": []}, rejected=aside)
    rows = measure_scan(labels, [lesion for _, lesion, _ in found], [name for name, _, _ in found])
    more = [{"ct_id": payload["ct_id"], "id": name, "from": source} for name, _, source in found]
    return Output({"measured": [m | row for m, row in zip(more, rows, strict=True)]}, rejected=aside)


def measure_scans(
    scans: Sequence[ScanFiles], settings: Settings, name: str, progress: Callable[[int], None] | None = None
) -> tuple[pl.DataFrame, list[Rejection]]:
    """Measure every nodule of some scans in worker processes; a rerun continues where it was stopped.

    Args:
        scans: what to measure.
        settings: gives the number of workers; journals go below its output folder.
        name: whose journal it is.
        progress: told how many scans were just done.

    Returns:
        The rows of ``measure_case`` sorted by id, and the scans and nodules put aside with reasons.
    """
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = []
        for scan in scans:
            payload = asdict(scan)
            files = [scan.organ, scan.nodules, *(k.mask for k in scan.known)]
            shas = [hashes.get(Path(f)) for f in files if f]
            cases.append(Case(scan.ct_id, digest([VERSION, payload, shas]), scan.ct_id, payload))
    folder = journal.journal_dir(settings, "measure", name)
    workers.run(measure_case, journal.pending(settings, cases, folder), settings, folder / "journal.jsonl", progress)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"measure {name}")
    rows = made.rows.get("measured", [])
    return (pl.DataFrame(rows, infer_schema_length=None).sort("id") if rows else pl.DataFrame()), made.rejected
