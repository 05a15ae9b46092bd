"""Organ maps of other programs under this platform's labels, taken only if they show the anatomy of a chest."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.imaging.anatomy import BODY, LABEL_NAMES, NODULE
from itrialspace_assets.imaging.geometry import (
    LABEL_TOLERANCE,
    Volume,
    read_labels,
    read_volume,
    require_same_grid,
    whole_numbers,
)
from itrialspace_assets.intake.case import Allowances
from itrialspace_assets.profiles.plausible import Faults, anatomy_faults

#: The body is the largest piece of the CT above this (HU), its holes filled slice by slice.
BODY_HU = -300


@lru_cache(maxsize=1)
def label_maps() -> dict[str, dict[str, Any]]:
    """Structure names of other programs' organ maps (``labels.yaml``), and the command that makes such a map."""
    found: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("labels.yaml"))
    return found


def organ_map(path: Path, labels: str, ct: Volume, allowed: Allowances | None = None) -> Volume:
    """An organ map of another program under this platform's labels, with the body outline of the CT as 200.

    Args:
        path: a label map, or a folder with one mask a structure (TotalSegmentator's other output).
        labels: key of ``labels.yaml``: the program whose ids or file names they are.
        ct: the CT in HU, RAS+; the map must have its grid.
        allowed: doubtful inputs that are taken; null: none.

    Raises:
        CaseRejected: another grid, no label map, no lobe, or lobes that contradict anatomy; names the label maps
            whose numbers the map fits.
    """
    doubt = allowed or Allowances()
    out: npt.NDArray[np.uint8] | None
    if path.is_dir():
        given, out = None, _structures(path, labels, ct, doubt)
    else:
        given = read_labels(path, doubt.trust)
        require_same_grid(given, ct, path, "CT")
        out = _renumbered(given.array, labels)
    outline = body_outline(ct)
    faults = None if out is None else anatomy_faults(_with_body(out, outline, ct), ct)
    if out is None or faults is None or faults.text:
        others = [] if given is None else _fitting(given, labels, outline, ct)
        if out is None or faults is None or faults.wrong or not doubt.unusual_anatomy:
            raise _not_of(path, labels, faults, others)
    return _with_body(out, outline, ct)


def _structures(path: Path, labels: str, ct: Volume, allowed: Allowances) -> npt.NDArray[np.uint8]:
    """Our labels (X, Y, Z) of a folder with one mask a structure.

    Raises:
        CaseRejected: a program that writes no such folder, another grid, or a mask that is none.
    """
    names = label_maps()[labels]["names"]
    if names == "same":
        raise CaseRejected(Reason.NOT_A_LABEL_MAP, f"{path}: expected one label map, got a folder")
    out = np.zeros(ct.array.shape, np.uint8)
    for structure, name in names.items():
        if (file := path / f"{structure}.nii.gz").exists():
            mask = read_volume(file, allowed.trust)
            require_same_grid(mask, ct, file, "CT")
            if whole_numbers(mask.array) is None:
                raise CaseRejected(
                    Reason.NOT_A_LABEL_MAP,
                    f"{file}: expected a mask of whole numbers, got {mask.array.dtype} from {mask.array.min():g} to "
                    f"{mask.array.max():g}",
                )
            out[mask.array > LABEL_TOLERANCE] = _ours()[name]
    return out


def _ours() -> dict[str, int]:
    return {name: label for label, name in LABEL_NAMES.items()}


def _renumbered(given: npt.NDArray[np.uint8], labels: str) -> npt.NDArray[np.uint8] | None:
    """Another program's numbers (X, Y, Z) as ours; None where it has no such number."""
    names = label_maps()[labels]["names"]
    ours = _ours()
    table = np.zeros(256, np.uint8)
    if names == "same":
        last = max(label for label in LABEL_NAMES if label < BODY)
        table[: last + 1], table[BODY] = np.arange(last + 1), BODY
        known = [*range(last + 1), BODY]
    else:
        table[1 : len(names) + 1] = [ours[name] for name in names.values()]
        known = list(range(len(names) + 1))
    return table[given] if set(np.unique(given).tolist()) <= set(known) else None


def _with_body(labels: npt.NDArray[np.uint8], outline: npt.NDArray[np.bool_], ct: Volume) -> Volume:
    """A map without nodules, with the body outline as 200."""
    out = labels.copy()
    out[out == NODULE] = 0
    out[(out == 0) & outline] = BODY
    return Volume(out, ct.affine)


def _fitting(given: Volume, labels: str, outline: npt.NDArray[np.bool_], ct: Volume) -> list[str]:
    """The other label maps whose numbers give a whole anatomy."""
    found = []
    for other in label_maps():
        out = _renumbered(given.array, other) if other != labels else None
        if out is not None and not anatomy_faults(_with_body(out, outline, ct), ct).text:
            found.append(other)
    return found


def _not_of(path: Path, labels: str, faults: Faults | None, others: list[str]) -> CaseRejected:
    """The refusal of an organ map, with what to do."""
    got = "numbers that it does not have" if faults is None else faults.text
    if others:
        todo = f"; its numbers fit --labels {' or --labels '.join(others)}"
    elif faults is not None and not faults.wrong:
        todo = "; if the patient is so (a lobe removed, collapsed or outside the CT), say --unusual-anatomy"
    else:
        todo = "; make the map again, or say whose numbers it has with --labels"
    if faults is not None and faults.wrong == ("no lung lobe",):
        return CaseRejected(Reason.NO_LOBE, f"{path}: expected lung lobes under the labels of {labels}, got none{todo}")
    return CaseRejected(
        Reason.NOT_A_LABEL_MAP, f"{path}: expected the anatomy of a chest under the labels of {labels}, got {got}{todo}"
    )


def body_outline(ct: Volume) -> npt.NDArray[np.bool_]:
    """The largest piece of a CT (X, Y, Z; HU) above -300 HU, holes filled in each axial slice; boolean (X, Y, Z)."""
    tissue = ct.array > BODY_HU
    if not tissue.any():
        return tissue
    body = np.asarray(cc3d.largest_k(tissue, k=1, connectivity=6), dtype=bool)
    filled = [ndimage.binary_fill_holes(body[..., k]) for k in range(body.shape[2])]
    return np.stack(filled, axis=2)
