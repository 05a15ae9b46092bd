"""A case or a nodule in a notebook: its rows, volumes, slices as arrays, answers. Images are of ``explorer.images``."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.api.images import Images
from itrialspace_assets.api.tables import rows_of
from itrialspace_assets.api.viewing import view
from itrialspace_assets.base.errors import NotFound
from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all

#: What a slice of a case was cut for, the first that a case has being the one that is meant.
_SITES = ("lesion", "cleared_lesion", "cleared", "never")
#: What is said of a slice beside each answer.
_TRUTH = ("presence", "lobe", "size_class", "slice_z", "guidance_site")


@dataclass(frozen=True, repr=False)
class Nodule:
    """A nodule of the index.

    Attributes:
        settings: where it is.
        row: its columns of ``nodules``.
    """

    settings: Settings
    row: dict[str, Any]

    @classmethod
    def named(cls, settings: Settings, uid: str) -> "Nodule":
        """The nodule of a ``nodule_uid``.

        Raises:
            NotFound: there is none; names near ones.
            TableError: there is no index yet; says how to make it.
        """
        return cls(settings, _row(rows_of(settings, "nodules"), "nodule_uid", uid))

    @property
    def uid(self) -> str:
        """Its ``nodule_uid``."""
        return str(self.row["nodule_uid"])

    @property
    def volumes(self) -> Images:
        """Its volumes: ``real_ct``, ``host`` (organs, label 23 in nodules), ``mask``."""
        return Images(self.settings, self.uid, "nodule")

    @property
    def real_ct(self) -> Volume:
        """The CT of its scan (HU)."""
        return self.volumes["real_ct"]

    @property
    def host(self) -> Volume:
        """Organ labels of its scan, with 23 in every nodule."""
        return self.volumes["host"]

    @property
    def mask(self) -> Volume:
        """1 in its voxels."""
        return self.volumes["mask"]

    def view(self) -> Any:
        """Its CT with its mask over it, in the notebook: an ipyniivue widget.

        Raises:
            ConfigError: the extra ``notebook`` is not installed; says how to install it.
        """
        return view(self.volumes, "real_ct")

    def __repr__(self) -> str:
        """Id, size and place."""
        diameter = self.row["nodule_mean_diam_mm"]
        size = "size not known" if diameter is None else f"{diameter:g} mm"
        return f"Nodule({self.uid}: {size}, {self.row['lobe_name']})"


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


@dataclass(frozen=True, repr=False)
class Case:
    """A case of a trial.

    Attributes:
        settings: where it is.
        row: its columns of ``cases``.
    """

    settings: Settings
    row: dict[str, Any]

    @classmethod
    def named(cls, settings: Settings, uid: str) -> "Case":
        """The case of a ``case_uid``.

        Raises:
            NotFound: there is none; names near ones.
            TableError: no trial is planned yet; says how.
        """
        return cls(settings, _row(rows_of(settings, "cases"), "case_uid", uid))

    @property
    def uid(self) -> str:
        """Its ``case_uid``."""
        return str(self.row["case_uid"])

    @property
    def mark(self) -> str:
        """Whether people and images are real, as every report says it."""
        cts = self._rows("cts", dataset=self.row["host_dataset"])
        return mark_of(self.row["anatomy"], ", ".join(sorted(set(cts["source"]))) or "nothing yet")

    @cached_property
    def plan(self) -> pl.DataFrame:
        """Its planned nodules: donor, lobe, position, size, and why."""
        return self._rows("case_nodules")

    @cached_property
    def nodules(self) -> pl.DataFrame:
        """Its nodules as inserted: what was asked and what was got; empty before insertion."""
        return self._rows("insertions", dataset=self.row["host_dataset"])

    @property
    def volumes(self) -> Images:
        """Those of ``ct``, ``lesion_free``, ``difference``, ``host``, ``mask`` and ``real_ct`` that there are."""
        return Images(self.settings, self.uid, "case")

    @property
    def ct(self) -> Volume:
        """Its CT with the nodules (HU); whole files and patches look the same."""
        return self.volumes["ct"]

    @property
    def lesion_free(self) -> Volume:
        """Its CT without nodules (HU)."""
        return self.volumes["lesion_free"]

    @property
    def difference(self) -> Volume:
        """``ct`` minus ``lesion_free`` (HU)."""
        return self.volumes["difference"]

    @property
    def host(self) -> Volume:
        """Organ labels of the host without nodules."""
        return self.volumes["host"]

    @property
    def mask(self) -> Volume:
        """``nodule_idx`` + 1 in the voxels of each nodule."""
        return self.volumes["mask"]

    @property
    def real_ct(self) -> Volume:
        """The real CT of the host (HU), where the data root has it."""
        return self.volumes["real_ct"]

    @cached_property
    def slices(self) -> Slices:
        """Its slices, as arrays by level and condition."""
        return Slices(self.settings.output, self._rows("slices", dataset=self.row["host_dataset"]))

    @cached_property
    def answers(self) -> pl.DataFrame:
        """Every answer about its slices, with what was true; empty before reading."""
        where = {"mode": self.row["mode"], "dataset": self.row["host_dataset"]}
        key = ["slice_uid", "condition", "source"]
        truth = self.slices.frame.select(*key, *_TRUTH).unique(key).rename({"lobe": "true_lobe"})
        answers = read_all(self.settings.output, "answers", **where).join(truth, on=key)
        return answers.sort("reader", "task", "condition", "control", "slice_uid")

    def view(self) -> Any:
        """Its CT with its nodules over it, in the notebook: an ipyniivue widget.

        Raises:
            ConfigError: the extra ``notebook`` is not installed; says how to install it.
        """
        return view(self.volumes, "ct")

    def _rows(self, table: str, **partition: str) -> pl.DataFrame:
        """Its rows of a table, none where the stage has not run yet."""
        rows = read_all(self.settings.output, table, mode=self.row["mode"], **partition)
        return rows.filter(pl.col("case_uid") == self.uid)

    def __repr__(self) -> str:
        """Id, mode, host and number of nodules."""
        many = f"{self.row['n_nodules']} nodule{'' if self.row['n_nodules'] == 1 else 's'}"
        return f"Case({self.uid}: {self.row['mode']}, {many} in {self.row['host_scan_uid']})"


def _row(rows: pl.DataFrame, key: str, uid: str) -> dict[str, Any]:
    found = rows.filter(pl.col(key) == uid)
    if found.is_empty():
        raise not_found(key, uid, rows[key].to_list())
    return found.row(0, named=True)
