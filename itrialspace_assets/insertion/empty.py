"""Where guidance points on the lesion-free twin: a place like the lesion's own, with nothing there.

Two kinds, so that a reader that sees traces of clearing is found out: where a native nodule was cleared,
and where no nodule ever was. Both take the lesion's own outline, in its lobe, at about its distance from the
pleura; so both follow the law of lobes, sizes and distances that the lesions follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cc3d
import numpy as np
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.imaging.anatomy import LUNG
from itrialspace_assets.imaging.geometry import Box, Volume
from itrialspace_assets.imaging.volumes import Lesion, shared_voxels, unpack_bits
from itrialspace_assets.insertion.place import Wanted, place
from itrialspace_assets.profiles.measure import lobe_about, pleural_distance

CLEARED, NEVER = "cleared", "never"


@dataclass(frozen=True)
class Empty:
    """An empty place, its kind, its distance (mm) to the pleura, and why it is not what was wanted (or empty)."""

    lesion: Lesion
    site: str
    pleural_mm: float | None
    note: str = ""


@lru_cache(maxsize=4)
def cleared_sites(bits: str) -> tuple[Lesion, ...]:
    """Each place at which a native nodule was cleared, largest first, of the packed voxels of them all."""
    whole = unpack_bits(bits)
    if not whole.mask.any():
        return ()
    parts = cc3d.connected_components(whole.mask, connectivity=26)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts.astype(np.int32)), start=1):
        offset = [int(o) + s.start for o, s in zip(whole.offset, box, strict=True)]
        found.append(Lesion((offset[0], offset[1], offset[2]), parts[box] == number))
    return tuple(sorted(found, key=lambda site: (-int(site.mask.sum()), site.offset)))


def wants_cleared(draw: float, host: Volume, sites: Sequence[Lesion], own: bool) -> bool:
    """Whether a case points at a cleared site, as near to half of all cases as hosts allow.

    A case can point at one where its lobe has one. ``f`` of the host's five lobes have; so a case
    points there with probability min(1, 0.5 / f) when it can.

    Args:
        draw: uniform in [0, 1), of the case.
        host: nodule-free map.
        sites: the cleared places of the host.
        own: the lesion itself is a cleared nodule put back (always possible: f = 1).
    """
    share = 1.0 if own else len({lobe_about(host, s)[0] for s in sites} - {0}) / len(LUNG)
    return share > 0 and draw < min(1.0, 0.5 / share)


def empty_place(
    host: Volume, lesion: Lesion, lobe: int, pleural_mm: float | None, sites: Sequence[Lesion], cleared: bool, within: Box | None, depth: Volume
) -> Empty:  # fmt: skip
    """An empty place like that of ``lesion``.

    Args:
        host: nodule-free map.
        lesion: where the lesion lies in the lesion image (or would, in a clean case).
        lobe: label of its lobe; the empty place lies in the same.
        pleural_mm: distance of its centre to the pleura.
        sites: the cleared places of the host.
        cleared: which kind is wanted.
        within: box of the lesion's lobe.
        depth: ``lung_depth`` of the host.
    """
    note = ""
    if cleared:
        near = [(abs((d or 0.0) - (pleural_mm or 0.0)), i) for i, d in ((i, pleural_distance(host, s.centroid)) for i, s in enumerate(sites) if lobe_about(host, s)[0] == lobe)]  # fmt: skip
        for _, i in sorted(near):
            found = _over(host, lesion, sites[i], lobe, within, depth)
            if found is not None:
                return Empty(found, CLEARED, pleural_distance(host, found.centroid))
        note = "no cleared place in the lobe" if not near else "the outline fits at no cleared place of the lobe"
    if not any(shared_voxels(lesion, site) for site in sites):
        return Empty(lesion, NEVER, pleural_mm, note)
    try:
        wanted = Wanted(lesion.centroid, pleural_mm)
        elsewhere = place(host, lesion.mask, lobe, wanted, sites, within=within, depth=depth).lesion
        return Empty(elsewhere, NEVER, pleural_distance(host, elsewhere.centroid), note)
    except CaseRejected:
        return Empty(lesion, CLEARED, pleural_mm, "the outline fits nowhere else in the lobe")


def _over(host: Volume, lesion: Lesion, site: Lesion, lobe: int, within: Box | None, depth: Volume) -> Lesion | None:
    """The lesion's outline about a cleared place; None where it fits only away from it."""
    if lesion.offset == site.offset and np.array_equal(lesion.mask, site.mask):
        return lesion
    try:
        found = place(host, lesion.mask, lobe, Wanted(site.centroid), within=within, depth=depth).lesion
    except CaseRejected:
        return None
    return found if shared_voxels(found, site) else None
