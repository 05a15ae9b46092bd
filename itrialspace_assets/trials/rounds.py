"""Screening rounds: which people take part in which round, and who leaves. Knows no donor and no nodule size."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.seeds import case_seeds
from itrialspace_assets.trials.assignment import Ints


@dataclass
class Rounds:
    """Who takes part in the screening rounds of n cases; changes as people leave.

    People are split by hash into those of the first round and a reserve for each later one, so that a person who leaves
    changes no other.

    Attributes:
        root: root seed.
        trial: name of the trial, which the split depends on.
        n_rounds: number of rounds.
        entry: round (from 0) in which the present person of each case entered, shape (n,).
        ever: for each round, the cases of which some person entered then, shape (n,) each.
    """

    root: int
    trial: str
    n_rounds: int
    entry: Ints
    ever: list[npt.NDArray[np.bool_]]

    @staticmethod
    def begin(root: int, trial: str, n_rounds: int, n: int) -> "Rounds":
        """The rounds before anybody leaves: the person of each case entered in the first.

        Args:
            root: root seed.
            trial: name of the trial.
            n_rounds: number of rounds.
            n: cases of a round.
        """
        return Rounds(
            root,
            trial,
            n_rounds,
            np.zeros(n, np.int64),
            [np.ones(n, bool)] + [np.zeros(n, bool) for _ in range(n_rounds - 1)],
        )

    def leave(self, cases: npt.NDArray[np.bool_], after: int) -> None:
        """People leave after a round, and new ones enter in the next.

        Args:
            cases: whose person leaves, shape (n,).
            after: the round, from 0.
        """
        if after + 1 < self.n_rounds:
            self.entry = np.where(cases, after + 1, self.entry)
            self.ever[after + 1] = self.ever[after + 1] | cases

    def group(self, hosts: pl.DataFrame) -> Ints:
        """Round (from 0) in which each host's person may enter: seven in ten in the first, ours; shape (hosts,)."""
        people = hosts["person_uid"].unique().sort()
        codes = case_seeds(self.root, self.trial, "enters", last=people)
        first = (codes % 10 < 7) | (self.n_rounds == 1)
        rounds = np.where(first, 0, 1 + codes // 10 % max(1, self.n_rounds - 1)).astype(np.int64)
        return hosts["person_uid"].replace_strict(people, pl.Series(rounds), return_dtype=pl.Int64).to_numpy()
