"""A case in a notebook: its rows, volumes, slices, answers. Images are of ``explorer.images``, slices of ``slices``."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from itrialspace_assets.api.images import Images
from itrialspace_assets.api.slices import Slices
from itrialspace_assets.api.tables import row_of, rows_of
from itrialspace_assets.api.viewing import view
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all

#: What is said of a slice beside each answer.
_TRUTH = ("presence", "lobe", "size_class", "slice_z", "guidance_site")


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
        return cls(settings, row_of(rows_of(settings, "cases"), "case_uid", uid))

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
