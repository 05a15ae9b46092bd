"""The volumes of a nodule or of a case: which there are, and their voxels in canonical RAS+.

A whole image, a patch over the lesion-free twin and kept slices look the same here. Writes nothing; windows, planes and
bytes for a page are made elsewhere.

    for entry in volumes_of(settings, "size_curve/04mm/00000", "case"):
        volume = read(settings, "size_curve/04mm/00000", "case", entry.what)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import polars as pl
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from itrialspace_assets.base.errors import CaseRejected, Reason, TableError
from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.paths import map_path
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import Volume, place_of, read_labels, read_volume
from itrialspace_assets.imaging.lesions import unpack_bits
from itrialspace_assets.imaging.nifti import world_affine
from itrialspace_assets.profiles.cts import ct_source, real_ct
from itrialspace_assets.profiles.masks import find_lesion
from itrialspace_assets.profiles.measure import nodules_in
from itrialspace_assets.profiles.registry import Dataset, dataset
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.synthesis.images import image_path, lay_over

#: What owns the volumes: a nodule of the index (``nodule_uid``) or a case of a manifest (``case_uid``).
Of = Literal["nodule", "case"]
VoxelUnit = Literal["HU", "label"]
_Triple = tuple[float, float, float]
_Grid = tuple[tuple[int, int, int], _Triple, _Triple]


@dataclass(frozen=True)
class VolumeEntry:
    """A volume that can be read.

    Attributes:
        what: its name: of a nodule ``real_ct``, ``host`` (organs, with label 23 in every nodule of the scan), ``mask``
            (1 in this nodule); of a case ``ct`` (with the nodules; of a case without one, the lesion-free image),
            ``lesion_free``, ``difference`` (HU of ``ct`` minus ``lesion_free``), ``host`` (organs without nodules),
            ``mask`` (``nodule_idx`` + 1 in each nodule), ``real_ct`` of the host. Further renderers have theirs as
            ``ct@<renderer>`` and so on.
        shape: voxels along x, y, z; None: the file cannot be read, see ``note``.
        spacing: mm along x, y, z; None: as ``shape``.
        origin: world mm (RAS) of voxel 0; None: as ``shape``.
        unit: HU, or label for maps and masks.
        mark: whether people and images are real, as every page says it.
        note: what a reader must know of it: that only some slices were kept, or why it cannot be read.
    """

    what: str
    shape: tuple[int, int, int] | None
    spacing: tuple[float, float, float] | None
    origin: tuple[float, float, float] | None
    unit: VoxelUnit
    mark: str
    note: str = ""


@dataclass(frozen=True)
class _Found:
    """A volume's entry, and what reads it."""

    entry: VolumeEntry
    read: Callable[[], Volume]


def volumes_of(settings: Settings, uid: str, of: Of) -> list[VolumeEntry]:
    """The volumes that a nodule or a case has now; reads headers, no voxels (of DICOM slices also those).

    Args:
        settings: gives data root and outputs.
        uid: a ``nodule_uid`` or a ``case_uid``.
        of: which of the two.

    Raises:
        NotFound: no table holds it; names near ones.
        TableError: the table is not there; says which command makes it.
    """
    return [found.entry for found in _volumes(settings, uid, of)]


def read(settings: Settings, uid: str, of: Of, what: str) -> Volume:
    """One volume (X, Y, Z) in canonical RAS+; the array may be shared and must not be written to.

    Args:
        settings: gives data root and outputs.
        uid: a ``nodule_uid`` or a ``case_uid``.
        of: which of the two.
        what: ``VolumeEntry.what``.

    Raises:
        NotFound: no table holds ``uid``, or it has no such volume; names near ones.
        TableError: the table is not there; says which command makes it.
        CaseRejected: a file is missing or damaged.
    """
    found = {f.entry.what: f.read for f in _volumes(settings, uid, of)}
    if what not in found:
        raise not_found(f"volume of {of} {uid!r}:", what, list(found))
    return found[what]()


def _volumes(settings: Settings, uid: str, of: Of) -> list[_Found]:
    return _of_nodule(settings, uid) if of == "nodule" else _of_case(settings, uid)


# ---- a nodule of the index

_OF_NODULE = ("dataset", "scan_uid", "annotation_id", "anatomy", "ct_path", "coordX", "coordY", "coordZ")


def _of_nodule(settings: Settings, uid: str) -> list[_Found]:
    row = _row(settings.output, "nodules", uid, _OF_NODULE, "its run --only index")
    entry = dataset(settings, row["dataset"])
    ct_id = row["scan_uid"].removeprefix(f"{row['dataset']}/")
    mark = mark_of(row["anatomy"], REAL)
    found = _real(settings, row["ct_path"], mark)
    organs = entry.organ_map(settings.data, ct_id)
    if organs.is_file():
        nodule = partial(_nodule_mask, settings.data, entry, ct_id, row)
        found.append(_found("host", "label", mark, organs, partial(read_labels, organs)))
        found.append(_found("mask", "label", mark, organs, nodule))
    return found


def _nodule_mask(data: Path, entry: Dataset, ct_id: str, row: Mapping[str, Any]) -> Volume:
    """1 in the voxels of a nodule of the index, on the grid of its scan.

    Args:
        data: the data root.
        entry: its dataset.
        ct_id: its scan.
        row: its columns of ``nodules``.
    """
    labels = read_labels(entry.organ_map(data, ct_id))
    centre = [row[f"coord{axis}"] for axis in "XYZ"]
    at = None if None in centre else labels.to_voxel(centre)
    own = entry.nodule_mask(data, ct_id, row["annotation_id"])
    lesion, _ = find_lesion(labels, own, at, nodules_in(labels), f"nodule {row['annotation_id']}")
    mask = np.zeros(labels.array.shape, np.uint8, order="F")
    mask[lesion.box][lesion.mask] = 1
    return Volume(mask, labels.affine)


def _real(settings: Settings, ct_path: str, mark: str) -> list[_Found]:
    """The real CT of a scan, where the data root has it; ``ct_path`` is relative to ``raw_ct/``."""
    source = ct_source(settings.data, ct_path)
    if not source.exists():
        return []
    return [_found("real_ct", "HU", mark, source, partial(real_ct, settings.data, ct_path))]


# ---- a case of a manifest

_OF_CASE = ("mode", "host_dataset", "host_scan_uid", "anatomy")


def _of_case(settings: Settings, uid: str) -> list[_Found]:
    case = _row(settings.output, "cases", uid, _OF_CASE, "its run")
    where = {"mode": case["mode"], "dataset": case["host_dataset"]}
    nodules = read_all(settings.output, "insertions", **where).filter(pl.col("case_uid") == uid, pl.col("present"))
    cts = read_all(settings.output, "cts", **where).filter(pl.col("case_uid") == uid)
    found = []
    for number, source in enumerate(cts["source"].unique().sort()):
        found += _rendered(settings, cts.filter(pl.col("source") == source), "" if number == 0 else f"@{source}")
    found += _anatomy(settings.output, case, nodules)
    real = f"{case['host_scan_uid']}.nii.gz"  # scan_uid is <dataset>/<ct id>, as files below raw_ct are named
    return found + _real(settings, real, mark_of(case["anatomy"], REAL))


def _rendered(settings: Settings, own: pl.DataFrame, suffix: str) -> list[_Found]:
    """Image, lesion-free twin and difference of a case by one renderer.

    Args:
        settings: gives the store.
        own: the case's rows of ``cts`` of that renderer.
        suffix: is added to the names.
    """
    rows = {row["is_lesion_free"]: row for row in own.iter_rows(named=True)}
    free, ct = rows.get(True), rows.get(False) or rows[True]
    found = [_image(settings, f"ct{suffix}", ct, partial(_open, settings, ct))]
    if free is not None:
        found.append(_image(settings, f"lesion_free{suffix}", free, partial(_open, settings, free)))
        if not ct["is_lesion_free"]:
            found.append(_image(settings, f"difference{suffix}", ct, partial(_difference, settings, ct, free)))
    return found


def _image(settings: Settings, what: str, row: Mapping[str, Any], reads: Callable[[], Volume]) -> _Found:
    """A rendered image; a patch has the grid of its twin.

    Args:
        settings: gives the store.
        what: name of the volume.
        row: its row of ``cts``.
        reads: reads it.
    """
    path = row["path"] if row["kept"] != "patch" else image_path(row["source"], row["twin_uid"])
    note = "only the slices that hold nodules were kept (ITRIALSPACE_CTS=slices)" if row["kept"] == "planes" else ""
    return _found(what, "HU", mark_of(row["anatomy"], row["source"]), settings.output / path, reads, note)


def _open(settings: Settings, row: Mapping[str, Any]) -> Volume:
    """An image as it was kept: whole, some slices, or a patch laid over its twin.

    ``synthesis.images.open_ct`` keeps the twin for the next case of its host; here one image is looked at.
    """
    image = read_volume(settings.output / row["path"])
    if row["kept"] != "patch":
        return image
    return lay_over(image, read_volume(settings.output / image_path(row["source"], row["twin_uid"])))


def _difference(settings: Settings, ct: Mapping[str, Any], free: Mapping[str, Any]) -> Volume:
    """HU of an image minus its twin, where the image was kept; int16, since renderers give -1024 to 3071 HU."""
    image, twin = _open(settings, ct), _open(settings, free)
    return Volume(image.array - twin.array[place_of(image, twin)], image.affine)


def _anatomy(output: Path, case: Mapping[str, Any], nodules: pl.DataFrame) -> list[_Found]:
    """Host map and mask of the nodules, of a case whose host is in the store.

    Args:
        output: the output folder.
        case: the case's columns of ``cases``.
        nodules: its rows of ``insertions``.
    """
    if nodules.is_empty():
        hosts = read_all(output, "hosts", dataset=case["host_dataset"])
        maps = hosts.filter(pl.col("scan_uid") == case["host_scan_uid"])["map_sha256"]
    else:
        maps = nodules["host_map_sha256"]
    if maps.is_empty() or not map_path(output, maps[0]).is_file():
        return []
    path, mark = map_path(output, maps[0]), mark_of(case["anatomy"], REAL)
    found = [_found("host", "label", mark, path, partial(load_host_map, output, maps[0]))]
    if not nodules.is_empty():
        found.append(_found("mask", "label", mark, path, partial(_case_mask, output, nodules)))
    return found


def _case_mask(output: Path, nodules: pl.DataFrame) -> Volume:
    """``nodule_idx`` + 1 in the voxels of each nodule, on the host's grid."""
    host = load_host_map(output, nodules["host_map_sha256"][0])
    mask = np.zeros(host.array.shape, np.uint8, order="F")
    for number, packed in nodules.select("nodule_idx", "lesion").iter_rows():
        lesion = unpack_bits(packed)
        mask[lesion.box][lesion.mask] = number + 1
    return Volume(mask, host.affine)


# ---- what both share


def _row(output: Path, table: str, uid: str, columns: Sequence[str], command: str) -> dict[str, Any]:
    """Some columns of the row of an id.

    Args:
        output: the output folder.
        table: name of the table, whose key is the id.
        uid: the id.
        columns: those that are wanted.
        command: what makes the table, for the message.

    Raises:
        NotFound: no row has it.
        TableError: the table is not there, or without a row.
    """
    (key,) = TABLES[table].key
    rows = read_all(output, table, [key, *columns])
    if rows.is_empty():
        raise TableError(f"{table}: expected rows, found none; make them with `{command}`")
    found = rows.filter(pl.col(key) == uid)
    if found.is_empty():
        raise not_found(key, uid, rows[key].to_list())
    return found.row(0, named=True)


def _found(what: str, unit: VoxelUnit, mark: str, source: Path, reads: Callable[[], Volume], note: str = "") -> _Found:
    """A volume that is on the grid of a file, or is read from a folder of DICOM slices.

    Args:
        what: name of the volume.
        unit: of its voxels.
        mark: whether people and images are real.
        source: file or folder.
        reads: reads the volume.
        note: what a reader must know of it.
    """
    try:
        shape, spacing, origin = _of_volume(reads()) if source.is_dir() else _of_header(source)
    except CaseRejected as error:
        unknown = error.detail.replace(str(source), source.name)
        return _Found(VolumeEntry(what, None, None, None, unit, mark, unknown), reads)
    return _Found(VolumeEntry(what, shape, spacing, origin, unit, mark, note), reads)


def _of_volume(volume: Volume) -> _Grid:
    x, y, z = volume.array.shape
    return (x, y, z), _triple(volume.spacing), _triple(volume.affine[:3, 3])


def _triple(values: Any) -> _Triple:
    a, b, c = (float(v) for v in values)
    return a, b, c


def _of_header(path: Path) -> _Grid:
    """Shape, spacing (mm) and world of voxel 0 (mm), in RAS+.

    Raises:
        CaseRejected: no readable header, or one without an orientation.
    """
    try:
        image: Any = nib.load(path)
        stored = world_affine(image, str(path))
        axes = np.argsort(nib.io_orientation(stored)[:, 0])
        x, y, z = (int(image.shape[axis]) for axis in axes)
    except (OSError, EOFError, ValueError, IndexError, ImageFileError, WrapStructError, HeaderDataError) as error:
        got = getattr(error, "strerror", None) or error
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path}: expected a NIfTI file, got {got}") from None
    columns = stored[:3, axes]  # an axis that runs against its own in RAS+ has its voxel 0 at the other end
    last = columns * (np.array([x, y, z]) - 1)
    return (x, y, z), _triple(np.linalg.norm(columns, axis=0)), _triple(stored[:3, 3] + np.minimum(np.diag(last), 0))
