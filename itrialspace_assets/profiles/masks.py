"""Profiles from masks: finds each nodule's voxels in a scan and measures all 53 columns.

A scan is one case of ``casework``: scans are measured in parallel, an interrupted call continues, and a scan that
fails is rejected with its reason. This module reads organ maps and nodule masks; ``measure`` measures them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.spatial import KDTree

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Output, Rejection, payload_hash, require_all
from itrialspace_assets.imaging.anatomy import LUNG, NODULE
from itrialspace_assets.imaging.geometry import (
    Volume,
    box_around,
    read_labels,
    read_volume,
    require_same_grid,
    whole_numbers,
)
from itrialspace_assets.imaging.lesions import Lesion, cut_lesion
from itrialspace_assets.profiles.case import KnownNodule, MeasureCase
from itrialspace_assets.profiles.doubts import Doubt, codes_of
from itrialspace_assets.profiles.measure import MIN_VOXELS, measure_scan, nodules_in, pieces
from itrialspace_assets.profiles.plausible import place_faults

#: A component of label 23 belongs to a profile whose centre lies this many voxels (along its longest edge) from it.
CENTRE_VOXELS = 2.0
VERSION = "3"
_SUFFIX = re.compile(r"(_seg_sh|_seg|_mask)?\.nii(\.gz)?$")


def scans_in(masks: Path, nodules: Path | None = None) -> list[MeasureCase]:
    """The scans of a folder of combined maps (organs and label 23), or of organ maps and a folder of nodule masks.

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
    return [MeasureCase(ct_id=ct_id, organ=path, nodules=own.get(ct_id)) for ct_id, path in maps.items()]


def _by_id(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if _SUFFIX.search(path.name) and not path.name.startswith("."):  # ._x of a Mac beside every x
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
        labels: organ map (X, Y, Z) in RAS+.
        mask: the nodule's own mask, used if the file exists.
        centre: its centre as fractional voxel indices of ``labels``, shape (3,); null: not known.
        native: the components of label 23.
        where: name of the nodule in a message.
        within_mm: largest distance from the centre to a component's nearest voxel; null: two voxels.

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
        require_same_grid(own, labels, mask, "organ map")
        if whole_numbers(own.array) is None:
            raise probabilities(own, mask)
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


def probabilities(mask: Volume, where: Path) -> CaseRejected:
    """The refusal of a mask whose values are no whole numbers."""
    low, high = float(mask.array.min()), float(mask.array.max())
    return CaseRejected(
        Reason.NOT_A_LABEL_MAP,
        f"{where}: expected whole numbers, 0 outside nodules, got {mask.array.dtype} from {low:g} to {high:g}; for a "
        "map of probabilities say --threshold with the least value of a nodule (its import)",
    )


def instances(mask: Volume, where: Path, threshold: float | None = None) -> tuple[list[tuple[int, Lesion]], int]:
    """The nodules of a mask: of equal values, each connected piece; touching nodules of two values stay two.

    Args:
        mask: 0 outside nodules; one value for all, or a value for each. With ``threshold``: any numbers.
        where: its file, for messages.
        threshold: least value of a nodule in a map of probabilities.

    Returns:
        The value of each nodule (1 where the mask has only one) and its voxels, largest first; and the number of
        voxels in pieces below ``MIN_VOXELS``, which are left out.

    Raises:
        CaseRejected: values below 0 or no whole numbers, or a value without a piece of ``MIN_VOXELS`` voxels.
    """
    if threshold is not None:
        values = mask.array >= threshold
    else:
        whole = whole_numbers(mask.array)
        if whole is None:
            raise probabilities(mask, where)
        if whole.min() < 0:
            raise CaseRejected(
                Reason.NOT_A_LABEL_MAP, f"{where}: expected values from 0, 0 outside nodules, got {whole.min()}"
            )
        distinct = np.unique(whole[whole > 0])
        values = whole > 0 if len(distinct) < 2 else whole.astype(np.uint32)
    found = pieces(values)
    if values.dtype != bool and (lost := sorted({int(v) for v in distinct} - {value for value, _ in found})):
        raise CaseRejected(
            Reason.EMPTY_LESION,
            f"{where}: expected a nodule of at least {MIN_VOXELS} connected voxels for each value, got fewer for "
            f"{', '.join(map(str, lost[:5]))} ({len(lost)} of {len(distinct)} values); a mask that was interpolated "
            "needs --threshold (its import)",
        )
    return found, int(np.count_nonzero(values)) - sum(int(lesion.mask.sum()) for _, lesion in found)


def joined(lesions: Sequence[Lesion], labels: Volume) -> list[Lesion]:
    """Pieces of a mask that holds one nodule: those within two voxels (along the longest edge) are one.

    Args:
        lesions: pieces, in the grid of ``labels``.
        labels: gives the voxel size.
    """
    limit = CENTRE_VOXELS * float(labels.spacing.max())
    groups: list[list[npt.NDArray[np.int64]]] = []
    for lesion in lesions:
        tree = KDTree(lesion.indices * labels.spacing)
        near = [g for g in groups if any(np.isfinite(_gap(tree, other, labels, limit)) for other in g)]
        groups = [g for g in groups if all(g is not other for other in near)]
        groups.append([lesion.indices, *(part for g in near for part in g)])
    found = []
    for group in groups:
        at = np.concatenate(group)
        low = at.min(axis=0)
        block = np.zeros(at.max(axis=0) - low + 1, bool)
        block[tuple((at - low).T)] = True
        found.append(Lesion((int(low[0]), int(low[1]), int(low[2])), block))
    return sorted(found, key=lambda f: (-int(f.mask.sum()), f.offset))


def _gap(tree: KDTree, indices: npt.NDArray[np.int64], labels: Volume, limit: float) -> float:
    """Least distance (mm) of some voxels to a tree of others; infinite beyond the limit."""
    return float(tree.query(indices * labels.spacing, distance_upper_bound=limit * (1 + 1e-9))[0].min())


def distance_mm(labels: Volume, lesion: Lesion, at: npt.NDArray[np.float64]) -> float:
    """Distance (mm) from a place to the centre of a lesion's nearest voxel.

    Args:
        labels: gives the grid, RAS+.
        lesion: in that grid.
        at: fractional voxel index (3,).
    """
    return float(np.linalg.norm((lesion.indices - at) * labels.spacing, axis=1).min())


def _mm(point: npt.ArrayLike) -> str:
    return "(" + ", ".join(f"{v:.1f}" for v in np.asarray(point)) + ")"


def sphere(labels: Volume, centre: npt.ArrayLike, diameter_mm: float) -> Lesion:
    """A ball around a voxel; at least the voxel itself. Who uses it marks the nodule ``procedural``.

    Args:
        labels: gives the grid, RAS+.
        centre: fractional voxel indices of the ball's centre, shape (3,).
        diameter_mm: its diameter.
    """
    at = np.asarray(centre, dtype=np.float64)
    box = box_around(np.rint(at), np.ceil(diameter_mm / 2 / labels.spacing) + 1, labels.array.shape)
    grid = np.ix_(*(np.arange(s.start, s.stop) for s in box))
    square = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, at, labels.spacing, strict=True))
    inside = np.asarray(square <= (diameter_mm / 2) ** 2)
    inside[tuple(np.rint(at).astype(int) - [s.start for s in box])] = True
    return cut_lesion_in(inside, (box[0].start, box[1].start, box[2].start))


def cut_lesion_in(block: npt.NDArray[np.bool_], offset: tuple[int, int, int]) -> Lesion:
    """The tight lesion of a boolean block (X, Y, Z) whose first voxel has index ``offset`` in the grid."""
    tight = cut_lesion(block)
    x, y, z = (int(a + b) for a, b in zip(tight.offset, offset, strict=True))
    return Lesion((x, y, z), tight.mask)


def voxel_of(known: KnownNodule, labels: Volume) -> npt.NDArray[np.float64] | None:
    """A table's centre as fractional voxel indices (3,) of the map in RAS+; None if the table gives none."""
    if known.centre is None:
        return None
    if known.pixel is None:
        return labels.to_voxel(known.centre)
    nx, ny, nz = labels.array.shape
    px, py, pz = known.centre
    # an image's columns run to the patient's left and its rows to the back; the canonical axes run the other way
    i, j = (nx - 1 - px, ny - 1 - py) if known.pixel.frame == "LPS" else (px, py)
    if known.pixel.z_unit == "mm":
        k = float(labels.to_voxel([0.0, 0.0, pz])[2])
    else:
        k = nz - 1 - pz if known.pixel.slices_from == "superior" else pz
    return np.array([i, j, k])


@dataclass(frozen=True)
class FoundLesion:
    """A nodule's voxels in the grid of its scan, and where they come from.

    ``source``: ``mask``, ``nodule_seg``, ``organ_map``, or ``procedural`` for a ball of the table's diameter.
    """

    id: str
    lesion: Lesion
    source: str


def _lesions(case: MeasureCase, labels: Volume) -> tuple[list[FoundLesion], list[Rejection]]:
    """The nodules of a scan, and those that were rejected."""
    return _known_lesions(case, labels) if case.known else _all_lesions(case, labels)


def _all_lesions(case: MeasureCase, labels: Volume) -> tuple[list[FoundLesion], list[Rejection]]:
    """Every component of the nodule mask, else of label 23; pieces below ``MIN_VOXELS`` are rejected together."""
    if case.nodules is not None:
        own = read_volume(case.nodules)
        require_same_grid(own, labels, case.nodules, "organ map")
        found, specks = instances(own, case.nodules)
        native = [lesion for _, lesion in found]
    else:
        native = nodules_in(labels)
        specks = int((labels.array == NODULE).sum()) - sum(int(lesion.mask.sum()) for lesion in native)
    rejected = []
    if specks:
        detail = f"{case.ct_id}: {specks} voxels in pieces below {MIN_VOXELS} voxels left out"
        rejected.append(Rejection(case.ct_id, Reason.EMPTY_LESION, detail, len(native)))
    return [FoundLesion(f"{case.ct_id}_N{i}", lesion, "mask") for i, lesion in enumerate(native, 1)], rejected


def _known_lesions(case: MeasureCase, labels: Volume) -> tuple[list[FoundLesion], list[Rejection]]:
    """The nodules that a table names; one without voxels becomes a ball if its centre and diameter are known."""
    native = nodules_in(labels)
    found: list[FoundLesion] = []
    rejected: list[Rejection] = []
    places = [voxel_of(known, labels) for known in case.known]
    component = _own_components(labels, native, case.known, places)
    for number, (known, centre) in enumerate(zip(case.known, places, strict=True)):
        mine = [native[component[number]]] if number in component else []
        try:
            lesion, source = find_lesion(labels, known.mask, centre, mine, known.id, np.inf)
        except CaseRejected as error:
            if error.reason != Reason.MISSING_FILE or centre is None or known.diameter is None:
                rejected.append(Rejection(case.ct_id, error.reason, f"{known.id}: {error.detail}", number))
                continue
            lesion, source = sphere(labels, centre, known.diameter), "procedural"
        found.append(FoundLesion(known.id, lesion, source))
    return found, rejected


def _own_components(
    labels: Volume,
    native: Sequence[Lesion],
    every: Sequence[KnownNodule],
    places: Sequence[npt.NDArray[np.float64] | None],
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


def measure_case(case: MeasureCase, settings: Settings) -> Output:
    """Rows ``measured`` of one scan: ``ct_id``, ``id``, ``from``, ``doubts`` and the measured columns.

    Raises:
        CaseRejected: the map cannot be read, holds no lobe, or contradicts anatomy.
    """
    labels = read_labels(case.organ)
    if not np.isin(np.unique(labels.array), LUNG).any():
        raise CaseRejected(Reason.NO_LOBE, f"{case.ct_id}: expected lobe labels 28-32 in {case.organ.name}, got none")
    if faults := place_faults(labels):
        raise CaseRejected(
            Reason.NOT_A_LABEL_MAP,
            f"{case.organ}: expected the anatomy of a chest under the labels of VISTA3D, got {'; '.join(faults)}; maps "
            "of other programs come in by its import --labels",
        )
    found, rejected = _lesions(case, labels)
    if not found:
        return Output({"measured": []}, rejected=rejected)
    rows = measure_scan(labels, [f.lesion for f in found], [f.id for f in found])
    doubts = codes_of([Doubt.SPECKS_LEFT_OUT] if rejected and not case.known else [])  # of a whole mask: its specks
    named = [{"ct_id": case.ct_id, "id": f.id, "from": f.source, "doubts": doubts} for f in found]
    return Output({"measured": [name | row for name, row in zip(named, rows, strict=True)]}, rejected=rejected)


def measure_scans(
    scans: Sequence[MeasureCase], settings: Settings, name: str, progress: Callable[[int], None] | None = None
) -> tuple[pl.DataFrame, list[Rejection]]:
    """Measure every nodule of some scans in worker processes; a rerun continues where it was stopped.

    Args:
        scans: what to measure.
        settings: gives the number of workers; journals go below its output folder.
        name: name of the journal's folder; calls of the same name share what was done.
        progress: called with the number of scans that were just done.

    Returns:
        The rows of ``measure_case`` sorted by id, and the rejected scans and nodules.

    Raises:
        TableError: some scans were not finished.
    """
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = []
        for scan in scans:
            files = [scan.organ, scan.nodules, *(k.mask for k in scan.known)]
            content = [hashes.get(path) for path in files if path]
            cases.append(Case(scan.ct_id, payload_hash([VERSION, content], scan), scan.ct_id, scan))
    folder = journal.journal_dir(settings, "measure", name)
    workers.run(measure_case, journal.pending(settings, cases, folder), settings, folder / "journal.jsonl", progress)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"measure {name}")
    rows = made.rows.get("measured", [])
    return (pl.DataFrame(rows, infer_schema_length=None).sort("id") if rows else pl.DataFrame()), made.rejected
