"""CTs and masks behind ids of the index, for the originals' viewers. Any other id opens nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.search.columns import Columns
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.profiles.cts import real_ct
from itrialspace_assets.profiles.registry import dataset as registered


def ct_path_of(columns: Columns, scan_uid: str) -> str | None:
    """CT of a scan, relative to ``raw_ct/``; None if the index has no such scan."""
    rows = np.flatnonzero(columns.texts("scan_uid").among([scan_uid]))
    return str(columns.whole(int(rows[0]))["ct_path"][0]) if len(rows) else None


def read_ct(settings: Settings, ct_path: str) -> Volume | None:
    """HU (X, Y, Z) of a scan, RAS+; None if it is missing or cannot be read."""
    try:
        return real_ct(settings.data, ct_path)
    except CaseRejected:
        return None


def read_mask(settings: Settings, row: Mapping[str, Any], ct: Volume) -> tuple[Volume | None, str]:
    """Mask of a nodule on its CT's grid, or None and why it cannot be shown.

    Args:
        settings: give the data root.
        row: of the index.
        ct: of its scan.
    """
    ct_id = row["scan_uid"].removeprefix(f"{row['dataset']}/")
    try:
        mask = read_volume(registered(settings, row["dataset"]).nodule_mask(settings.data, ct_id, row["annotation_id"]))
    except CaseRejected as error:
        return None, error.reason.value
    return (None, "on another grid than its CT") if ct.grid_difference(mask) else (mask, "")


def centre_of(row: Mapping[str, Any], ct: Volume, mask: Volume | None) -> npt.NDArray[np.float64]:
    """Voxel (3,) of a nodule's centre: by its coordinates, else the middle of its mask, else of the volume.

    Args:
        row: of the index.
        ct: of its scan.
        mask: of the nodule.
    """
    world = [row[f"coord{a}"] for a in "XYZ"]
    if None not in world:
        return ct.to_voxel(world)
    if mask is not None and (mask.array > 0).any():
        return np.asarray(np.argwhere(mask.array > 0).mean(axis=0))
    return (np.array(ct.array.shape) - 1) / 2
