"""Which segments or regions of a file are nodules, and how one that holds several lesions is taken apart."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import cc3d
import numpy as np

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.profiles.doubts import Doubt, Note
from itrialspace_assets.profiles.measure import MIN_VOXELS

#: Names of regions that are taken for nodules where the user names none; ours.
LESION_NAMES = r"nodule|gtv|tumou?r|lesion|neoplasm"
#: Names of organs: such a segment is no nodule, whatever its code says; ours.
ORGAN_NAMES = (
    r"lung|lobe|heart|(o?e)sophag|spin(e|al)|cord|trachea|bronch|airway|vessel|aorta|arter|vein|mediastin|body|"
    r"external|skin|rib|bone|liver|background|couch|table"
)
#: Text before the name of a lesion that subtracts the lesion from an organ ("Lungs-GTV"); ours.
_SUBTRACTED = rf"({ORGAN_NAMES}|tissue|normal|healthy).*(-|−|minus|without|w/o|excl|sub|[\s_]no[\s_])"


@dataclass(frozen=True)
class RegionChoice:
    """What the user asks for: ``segments`` by number or exact name, else all whose name matches ``roi``."""

    roi: str = LESION_NAMES
    segments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Region:
    """A segment or region as its file describes it; ``lesion``: its code says that it is one."""

    number: int
    name: str
    meaning: str = ""
    lesion: bool = False

    def __str__(self) -> str:
        """Number, name and, where there is one, the meaning of its code."""
        return f"{self.number} {self.name!r}" + (f" ({self.meaning})" if self.meaning else "")


@dataclass
class Regions:
    """Lesions of a file by name (names may repeat), in the grid of its CT, and notes for its user."""

    lesions: list[tuple[str, Lesion]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def add(self, name: str, lesion: Lesion, where: str) -> None:
        """Take a region's voxels as one lesion for each 26-connected component; note where there are several.

        Args:
            name: of each of its lesions.
            lesion: all voxels of the region, in the grid of the CT.
            where: the file and region, for notes.
        """
        parts = cc3d.connected_components(lesion.mask, connectivity=26)
        counts = np.bincount(parts.ravel())[1:]
        whole = [i for i in np.argsort(-counts, kind="stable") if counts[i] >= MIN_VOXELS]
        if len(counts) == 1 or not whole:
            self.lesions.append((name, lesion))
            return
        boxes = cc3d.statistics(parts)["bounding_boxes"]
        for i in whole:
            box = boxes[i + 1]
            offset = [int(o + s.start) for o, s in zip(lesion.offset, box, strict=True)]
            self.lesions.append((name, Lesion((offset[0], offset[1], offset[2]), parts[box] == i + 1)))
        specks = len(counts) - len(whole)
        left = f", {specks} specks of fewer than {MIN_VOXELS} voxels left out" if specks else ""
        text = f"{where}: {len(counts)} separate parts: {len(whole)} nodules{left}"
        self.notes.append(Note(text, Doubt.SPECKS_LEFT_OUT if specks else None))


def choose(regions: Sequence[Region], choice: RegionChoice, where: str) -> tuple[list[Region], list[Note]]:
    """The regions that are nodules, and a note on those left out.

    Without a choice of the user, a region is a nodule if its name says so, or its code does and its name is no
    organ's.

    Args:
        regions: all of a file.
        choice: what the user asks for.
        where: the file, for messages.

    Raises:
        CaseRejected: no region fits, or a segment asked for is not there or there twice; names those that are.
    """
    there = ", ".join(map(str, regions)) or "none"
    if choice.segments:
        chosen = []
        for wanted in choice.segments:
            fits = [r for r in regions if r.name == wanted] or [r for r in regions if str(r.number) == wanted]
            if len(fits) != 1:
                raise CaseRejected(
                    Reason.EMPTY_LESION,
                    f"{where}: --segment {wanted!r}: expected the number or name of one region, got "
                    f"{len(fits) or 'no'} such; there are {there}",
                )
            chosen += [fit for fit in fits if fit not in chosen]
    elif choice.roi != LESION_NAMES:
        chosen = [r for r in regions if re.search(choice.roi, r.name, re.IGNORECASE)]
    else:
        chosen = [r for r in regions if _is_lesion(r)]
    if not chosen:
        raise CaseRejected(
            Reason.EMPTY_LESION,
            f"{where}: expected a region that matches {choice.roi!r}, got {there}: name one by --segment or --roi",
        )
    left = [r for r in regions if r not in chosen]
    return chosen, [Note(f"{where}: left out: {', '.join(map(str, left))}")] if left else []


def _is_lesion(region: Region) -> bool:
    named = re.search(LESION_NAMES, region.name, re.IGNORECASE)
    if named:
        return not re.search(_SUBTRACTED, region.name[: named.start()], re.IGNORECASE)
    return region.lesion and not re.search(ORGAN_NAMES, region.name, re.IGNORECASE)
