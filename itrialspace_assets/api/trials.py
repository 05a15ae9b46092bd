"""Trials in a notebook: which there are, and of each what was planned and what was feasible. Plans nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from itrialspace_assets.api.tables import rows_of
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.records.store import table_files
from itrialspace_assets.trials.files import load_trial, trial_files


@dataclass(frozen=True, repr=False)
class Trial:
    """A trial of a mode.

    Attributes:
        settings: where its tables are.
        mode: its key, for example ``m02_size_detection_curve``.
    """

    settings: Settings
    mode: str

    @property
    def question(self) -> str:
        """What the trial asks."""
        return load_trial(self.settings, self.mode).question

    @property
    def planned(self) -> bool:
        """Whether it has been planned in this output folder."""
        return bool(table_files(self.settings.output, "cases", mode=self.mode))

    @property
    def row(self) -> dict[str, Any]:
        """Its row of ``trials``: size, seed, overrides, hashes of what it was planned from."""
        return self._rows("trials").row(0, named=True)

    @property
    def arms(self) -> pl.DataFrame:
        """Its arms, with cases asked and got."""
        return self._rows("arms")

    @property
    def cases(self) -> pl.DataFrame:
        """Its planned cases: host, seed, how it is rendered."""
        return self._rows("cases")

    @property
    def plan(self) -> pl.DataFrame:
        """Its planned nodules: donor, lobe, position, size, and why; a row a nodule of a case."""
        return self._rows("case_nodules")

    @property
    def balance(self) -> pl.DataFrame:
        """Shares asked and got of every marginal of every arm."""
        return self._rows("balance")

    @property
    def feasibility(self) -> pl.DataFrame:
        """Donors and hosts left after each constraint, and which constraint binds."""
        return self._rows("feasibility").sort("arm", "step")

    def balance_chart(self) -> Any:
        """Shares asked and got, as an Altair chart.

        Raises:
            TableError: it is not planned yet; says how to plan it.
        """
        from itrialspace_assets.api.figures import balance

        return balance(self.balance, self.mode, self.settings.anatomy)

    def _rows(self, table: str) -> pl.DataFrame:
        """Its rows of a table.

        Raises:
            TableError: it is not planned yet; says how to plan it.
        """
        if not table_files(self.settings.output, table, mode=self.mode):
            raise TableError(
                f"table {table} of {self.mode}: expected it in the output folder, found none; plan the trial with "
                f"`its trials plan {self.mode}`"
            )
        return rows_of(self.settings, table, mode=self.mode)

    def __repr__(self) -> str:
        """Its key and question."""
        return f"Trial({self.mode}: {self.question}{'' if self.planned else ' Not planned yet.'})"


@dataclass(frozen=True, repr=False)
class Trials:
    """The trials of an installation and of the user's folder.

    Attributes:
        settings: where their files and tables are.
    """

    settings: Settings

    def list(self) -> pl.DataFrame:
        """Every trial: mode, question, and the cases planned in this output folder (null: not planned)."""
        keys = [str(key) for key in trial_files(self.settings)]
        rows = [
            {
                "mode": trial.mode,
                "cases": trial.cases.height if trial.planned else None,
                "question": trial.question,
            }
            for trial in map(self.__getitem__, keys)
        ]
        return pl.DataFrame(rows, schema={"mode": pl.String, "cases": pl.Int64, "question": pl.String})

    def __getitem__(self, mode: str | int) -> Trial:
        """A trial by its key or its number.

        Raises:
            NotFound: no such trial; names near ones.
        """
        word = str(mode)
        key = MODES[int(word) - 1] if word.isdigit() and 1 <= int(word) <= len(MODES) else word
        known = [str(k) for k in trial_files(self.settings)]
        if key not in known:
            raise not_found("trial", key, known)
        return Trial(self.settings, key)

    def __iter__(self) -> Iterator[Trial]:
        """Every trial."""
        return (self[key] for key in trial_files(self.settings))

    def __repr__(self) -> str:
        """How many there are, and how many are planned."""
        planned = sum(trial.planned for trial in self)
        return f"Trials({len(trial_files(self.settings))}, {planned} planned here)"
