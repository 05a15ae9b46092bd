"""Screening rounds: who takes part in which, and who leaves. Knows no donor and no size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.seeds import case_seed
from itrialspace_assets.trials.allocate import Ints


@dataclass
class Rounds:
    """Who takes part in screening rounds: in which round each case's person entered, and all who ever did.

    People are split by hash into those of the first round and a reserve for each later one, so that who
    leaves changes nobody else.
    """

    root: int
    trial: str
    n_rounds: int
    entry: Ints  # round (from 0) in which the present person of each case entered
    ever: list[npt.NDArray[np.bool_]]  # by round: cases whose person entered then

    @staticmethod
    def begin(root: int, trial: str, n_rounds: int, n: int) -> "Rounds":
        return Rounds(
            root,
            trial,
            n_rounds,
            np.zeros(n, np.int64),
            [np.ones(n, bool)] + [np.zeros(n, bool) for _ in range(n_rounds - 1)],
        )

    def leave(self, cases: npt.NDArray[np.bool_], after: int) -> None:
        """The people of some cases leave after a round; new ones enter in the next."""
        if after + 1 < self.n_rounds:
            self.entry = np.where(cases, after + 1, self.entry)
            self.ever[after + 1] = self.ever[after + 1] | cases

    def group(self, hosts: pl.DataFrame) -> Ints:
        """Round in which each host's person may enter: seven in ten in the first."""
        people = hosts["person_uid"].unique().sort().to_list()
        codes = {p: case_seed(self.root, self.trial, "enters", p) for p in people}
        rounds = {
            p: 0 if c % 10 < 7 or self.n_rounds == 1 else 1 + c // 10 % (self.n_rounds - 1) for p, c in codes.items()
        }
        return hosts["person_uid"].replace_strict(rounds, return_dtype=pl.Int64).to_numpy()
