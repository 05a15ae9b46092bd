"""A data root and its outputs, opened for reading: the start of every notebook."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.api.cases import Case
from itrialspace_assets.api.nodules import Nodule, Nodules
from itrialspace_assets.api.results import Results
from itrialspace_assets.api.tables import narrowed, rows_of
from itrialspace_assets.api.trials import Trials
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.records.tables import TABLES


def open_root(folder: str | Path | None = None, **settings: Any) -> "Root":
    """Open a data root and its outputs.

    Args:
        folder: with ``data/`` and ``out/``, as ``--dir`` of every command; None: what the environment says.
        settings: settings of ``its config`` by their names, for example ``trials_dir``.

    Raises:
        ConfigError: no such folder, or a wrong setting.
    """
    if folder is not None:
        path = Path(folder).expanduser().absolute()
        settings = {"data_dir": path / "data", "output_dir": path / "out"} | settings
    found = load_settings(**settings)
    if not (found.data / "profiles").is_dir():
        raise ConfigError(
            f"{found.data}: expected a data root with a folder 'profiles', found none; make one with `its demo --dir "
            "DIR`, and open that DIR"
        )
    return Root(found)


@dataclass(frozen=True, repr=False)
class Root:
    """A data root and its outputs. Tables are read when they are asked for; the index once.

    Attributes:
        settings: where the data root and the outputs lie.
    """

    settings: Settings

    @cached_property
    def index(self) -> Nodules:
        """The nodules of all datasets: search, similar, match, facets, compare, map."""
        return Nodules(self.settings)

    @cached_property
    def trials(self) -> Trials:
        """The trials: which there are, and of each its plan, balance and feasibility."""
        return Trials(self.settings)

    @cached_property
    def results(self) -> Results:
        """Metrics, the cases behind them, flips between readers, and SQL over the catalog."""
        return Results(self.settings)

    def nodule(self, uid: str) -> Nodule:
        """A nodule of the index, with its volumes.

        Raises:
            NotFound: no such ``nodule_uid``; names near ones.
            TableError: there is no index yet; says how to make it.
        """
        return Nodule.named(self.settings, uid)

    def case(self, uid: str) -> Case:
        """A case of a trial, with its volumes, slices and answers.

        Raises:
            NotFound: no such ``case_uid``; names near ones.
            TableError: no trial is planned yet; says how.
        """
        return Case.named(self.settings, uid)

    def cases(self, **wanted: Any) -> pl.DataFrame:
        """Rows of ``cases`` that meet every condition.

        Args:
            wanted: a column of ``cases``: a value, a list (any of) or a pair (low, high); for example
                ``mode="m02_size_detection_curve"``.

        Raises:
            ConfigError: no such column, or a value that it cannot hold.
            TableError: no trial is planned yet; says how.
        """
        return narrowed(rows_of(self.settings, "cases"), wanted)

    def table(self, name: str, **wanted: Any) -> pl.DataFrame:
        """Rows of any table of the output folder that meet every condition; its columns are in ``dictionary.html``.

        Args:
            name: of the table, for example ``insertions``.
            wanted: as in ``cases``.

        Raises:
            ConfigError: no such table or column, or a value that it cannot hold.
            TableError: the table is not made yet; says how.
        """
        if name not in TABLES:
            raise not_found("table", name, list(TABLES))
        return narrowed(rows_of(self.settings, name), wanted)

    def __repr__(self) -> str:
        """Where it is, and that its anatomy is not of real people where it is not."""
        kind = "" if self.settings.anatomy == "real" else "; PROCEDURAL anatomy, no real people"
        return f"Root({self.settings.output}{kind})"
