"""Volumes in a notebook by NiiVue (``ipyniivue``, the extra ``notebook``), which is imported when a view is opened."""

from typing import Any

from isal import igzip

from itrialspace_assets.api.images import Images
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import pack_volume

#: The lung window (HU), as slices are shown by default (docs/facts/evaluation.md).
_LUNG = (-1350.0, 150.0)
_OPACITY = 0.4
_HEIGHT = 480


def view(images: Images, what: str) -> Any:
    """A volume with the mask over it, where there is one: an ipyniivue widget, three planes and 3-D.

    Args:
        images: the volumes of a nodule or a case.
        what: the volume at the bottom.

    Raises:
        ConfigError: the extra ``notebook`` is not installed.
        NotFound: there is no such volume.
    """
    try:
        from ipyniivue import NiiVue, SliceType
    except ImportError:
        raise ConfigError(
            "view: expected the package ipyniivue, found none; install the extra with "
            "`pip install 'itrialspace-assets[notebook]'`"
        ) from None
    shown = [
        {
            "data": _one_member(images[what]),
            "name": f"{what}.nii.gz",
            "colormap": "gray",
            "cal_min": _LUNG[0],
            "cal_max": _LUNG[1],
        }
    ]
    if "mask" in images:
        mask = {
            "cal_min": 0.0,
            "cal_max": 1.0,
            "data": _one_member(images["mask"]),
            "name": "mask.nii.gz",
            "colormap": "red",
            "opacity": _OPACITY,
        }
        shown.append(mask)
    widget = NiiVue(height=_HEIGHT, is_radiological_convention=True)  # the patient's right on the left, as on slices
    widget.load_volumes(shown)
    widget.set_slice_type(SliceType.MULTIPLANAR)
    return widget


def _one_member(volume: Volume) -> bytes:
    """The NIfTI file of a volume as one gzip member: browsers refuse a file of several."""
    return bytes(igzip.compress(igzip.decompress(pack_volume(volume).data), compresslevel=1, mtime=0))
