"""Volumes in a notebook by NiiVue (``ipyniivue``, the extra ``notebook``), which is imported when a view is opened."""

from typing import TYPE_CHECKING, Any

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.imaging.geometry import pack_volume

if TYPE_CHECKING:
    from itrialspace_assets.api.cases import Images

#: The lung window (HU), as slices are shown by default (docs/facts/evaluation.md).
_LUNG = (-1350.0, 150.0)
_OPACITY = 0.4
_HEIGHT = 480


def view(images: "Images", what: str) -> Any:
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
            "data": pack_volume(images[what]).data,
            "name": f"{what}.nii.gz",
            "colormap": "gray",
            "cal_min": _LUNG[0],
            "cal_max": _LUNG[1],
        }
    ]
    if "mask" in images:
        mask = {"data": pack_volume(images["mask"]).data, "name": "mask.nii.gz", "colormap": "red", "opacity": _OPACITY}
        shown.append(mask)
    widget = NiiVue(height=_HEIGHT)
    widget.load_volumes(shown)
    widget.set_slice_type(SliceType.MULTIPLANAR)
    return widget
