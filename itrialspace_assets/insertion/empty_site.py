"""The empty site of a case: where guidance on the lesion-free twin points beside the lesion's own place.

Two kinds, so that a reader that sees traces of clearing is found out: where a native nodule was cleared, and where no
nodule ever was. Both take the lesion's own outline, in its lobe, at about its distance from the pleura; so both follow
the law of lobes, sizes and distances that the lesions follow. Neither is the place of the lesion itself: that one is
cut on the twin as well, as the paired counterfactual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cc3d
import numpy as np
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.hosts.depth import LungDepth
from itrialspace_assets.imaging.anatomy import LUNG
from itrialspace_assets.imaging.geometry import Box, Volume
from itrialspace_assets.imaging.lesions import Lesion, shared_voxels, unpack_bits
from itrialspace_assets.insertion.measured import pleura_of
from itrialspace_assets.insertion.position import PlannedPosition, find_position
from itrialspace_assets.profiles.measure import lobe_about, pleural_distance

#: Kinds of an empty site: a native nodule was cleared there, or no nodule ever was there.
CLEARED, NEVER = "cleared", "never"


@dataclass(frozen=True)
class EmptySite:
    """Voxels without a lesion that guidance surrounds.

    Attributes:
        lesion: the voxels, in the host's canonical RAS+ grid; None where the outline fits nowhere else in the lobe.
        kind: ``CLEARED`` or ``NEVER``; None without a place.
        pleural_mm: distance of the centre to the pleura; None where the centre lies outside the lung.
        note: why it is not of the wanted kind; empty if it is.
    """

    lesion: Lesion | None
    kind: str | None
    pleural_mm: float | None
    note: str = ""


@lru_cache(maxsize=4)
def cleared_sites(bits: str) -> tuple[Lesion, ...]:
    """Each site at which a native nodule was cleared, largest first, from the packed voxels of them all."""
    whole = unpack_bits(bits)
    if not whole.mask.any():
        return ()
    parts = cc3d.connected_components(whole.mask, connectivity=26)
    found = []
    for number, box in enumerate(ndimage.find_objects(parts.astype(np.int32)), start=1):
        offset = [int(o) + s.start for o, s in zip(whole.offset, box, strict=True)]
        found.append(Lesion((offset[0], offset[1], offset[2]), parts[box] == number))
    return tuple(sorted(found, key=lambda site: (-int(site.mask.sum()), site.offset)))


def wants_cleared(draw: float, host: Volume, sites: Sequence[Lesion]) -> bool:
    """Whether a case points at a cleared site; as near to half of all cases as hosts allow.

    A case can point at one if its lobe has one. A share f of the host's five lobes has one; so a case that can point
    there does so with probability min(1, 0.5 / f).

    Args:
        draw: uniform in [0, 1), of the case.
        host: nodule-free label map.
        sites: the cleared sites of the host beside the lesion's own place.
    """
    share = len({lobe_about(host, s)[0] for s in sites} - {0}) / len(LUNG)
    return share > 0 and draw < min(1.0, 0.5 / share)


def find_empty_site(
    host: Volume,
    lesion: Lesion,
    lobe: int,
    pleural_mm: float | None,
    sites: Sequence[Lesion],
    draw: float,
    present: bool,
    within: Box | None,
    depth: LungDepth,
) -> EmptySite:
    """An empty site like that of a lesion.

    Args:
        host: nodule-free label map (X, Y, Z), canonical RAS+.
        lesion: where the lesion lies in the lesion image (or would lie, in a clean case).
        lobe: label of its lobe; the empty site lies in the same.
        pleural_mm: distance of its centre to the pleura.
        sites: the cleared sites of the host.
        draw: uniform in [0, 1), of the case; decides with ``wants_cleared`` which kind is wanted.
        present: whether the lesion is in the lesion image; the planned place of a clean case is empty itself.
        within: box of the lesion's lobe; None: the whole host.
        depth: how deep the host's voxels lie in its lung.
    """
    elsewhere = [site for site in sites if not (present and shared_voxels(lesion, site))]
    note = ""
    if wants_cleared(draw, host, elsewhere):
        own_lobe = [(i, site) for i, site in enumerate(elsewhere) if lobe_about(host, site)[0] == lobe]
        near = [(abs((pleural_distance(host, site.centroid) or 0.0) - (pleural_mm or 0.0)), i) for i, site in own_lobe]
        for _, i in sorted(near):
            found = _over(host, lesion, elsewhere[i], lobe, [lesion] if present else [], within, depth)
            if found is not None:
                return EmptySite(found, CLEARED, pleura_of(depth, found.centroid))
        note = "no cleared place in the lobe" if not near else "the outline fits at no cleared place of the lobe"
    if not present and not any(shared_voxels(lesion, site) for site in sites):
        return EmptySite(lesion, NEVER, pleural_mm, note)
    try:
        wanted = PlannedPosition(lesion.centroid, pleural_mm)
        others = [*sites, lesion] if present else sites
        place = find_position(host, lesion.mask, lobe, wanted, others, within=within, depth=depth).lesion
        return EmptySite(place, NEVER, pleura_of(depth, place.centroid), note)
    except CaseRejected:
        if present:
            return EmptySite(None, None, None, "the outline fits nowhere else in the lobe")
        return EmptySite(lesion, CLEARED, pleural_mm, "the outline fits nowhere else in the lobe")


def _over(
    host: Volume,
    lesion: Lesion,
    site: Lesion,
    lobe: int,
    others: Sequence[Lesion],
    within: Box | None,
    depth: LungDepth,
) -> Lesion | None:
    """The lesion's outline about a cleared site; None where it fits only away from it.

    Args:
        host: nodule-free label map.
        lesion: gives the outline.
        site: voxels that were cleared.
        lobe: label of the lobe.
        others: what the outline may not touch.
        within: box of the lobe.
        depth: of the host.
    """
    if lesion.offset == site.offset and np.array_equal(lesion.mask, site.mask):
        return lesion
    try:
        found = find_position(
            host, lesion.mask, lobe, PlannedPosition(site.centroid), others, within=within, depth=depth
        ).lesion
    except CaseRejected:
        return None
    return found if shared_voxels(found, site) else None
