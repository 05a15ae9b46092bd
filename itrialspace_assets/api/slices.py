"""The slices of a case in a notebook, as the arrays that readers saw. Cuts none: that is a stage (``its run``)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import NotFound

#: What a slice of a case was cut for, the first that a case has being the one that is meant.
_SITES = ("lesion", "cleared_lesion", "cleared", "never")


@dataclass(frozen=True, repr=False)
class Slices:
    """The slices that were cut of a case.

    Attributes:
        output: the output folder.
        frame: its rows of ``slices``.
    """

    output: Path
    frame: pl.DataFrame

    def array(
        self,
        z: int,
        condition: str = "plain",
        *,
        site: str | None = None,
        source: str | None = None,
        profile: str | None = None,
        control: str = "none",
    ) -> npt.NDArray[np.uint8]:
        """A slice as readers saw it: grey (H, W) or colour (H, W, 3); the patient's right is on the left.

        Args:
            z: level along z on the host's grid, as ``slice_z``.
            condition: plain, bbox, contour or bbox_contour.
            site: what it was cut for, as ``guidance_site``: lesion (with the nodule), cleared_lesion (the same place
                on the lesion-free twin), never (another place without a nodule); None: the first of these.
            source: image source; None: the first.
            profile: preprocess profile; None: the first.
            control: none, or a control picture.

        Raises:
            NotFound: there is no such slice; names those that there are.
        """
        found = self.frame.filter(slice_z=z, condition=condition, control=control)
        for column, value, order in (
            ("source", source, sorted(set(found["source"]))),
            ("profile", profile, sorted(set(found["profile"]))),
            ("guidance_site", site, [s for s in _SITES if s in set(found["guidance_site"])]),
        ):
            chosen = value if value is not None else order[0] if order else None
            found = found.filter(pl.col(column).eq_missing(chosen))
        if found.is_empty():
            raise NotFound(
                f"slice z={z}, condition={condition!r}, site={site!r}: expected one that was cut, found none; there "
                f"are {self._there()}"
            )
        path = self.output / found.sort("z_offset", "slice_uid")["path"][0]
        if path.suffix == ".npy":
            array: npt.NDArray[np.uint8] = np.load(path, allow_pickle=False)
            return array
        from PIL import Image

        with Image.open(path) as image:
            return np.asarray(image)

    def __getitem__(self, key: tuple[int, str]) -> npt.NDArray[np.uint8]:
        """``array`` of a level and a condition."""
        return self.array(*key)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Level and condition of every slice, each pair once."""
        pairs = self.frame.select("slice_z", "condition").unique().sort("slice_z", "condition")
        return ((int(z), str(condition)) for z, condition in pairs.iter_rows())

    def __len__(self) -> int:
        """Number of pictures."""
        return self.frame.height

    def _there(self) -> str:
        keys = self.frame.select("slice_z", "guidance_site", "condition").unique().sort(pl.all())
        shown = [f"z={z} {site} {condition}" for z, site, condition in keys.head(8).iter_rows()]
        return (
            ", ".join(shown) + (" and others" if keys.height > 8 else "") if shown else "none yet: `its run --to slice`"
        )

    def __repr__(self) -> str:
        """How many, of which levels."""
        levels = ", ".join(map(str, sorted(set(self.frame["slice_z"]))))
        return f"Slices({len(self)} pictures of z {levels})" if len(self) else "Slices(none yet)"
