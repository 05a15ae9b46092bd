"""Plans twin trials: native nodules put back into their own host.

People are chosen by seeded order, so asking for more keeps those already chosen.
"""

import numpy as np
import polars as pl

from itrialspace_assets.errors import TrialError
from itrialspace_assets.trials.model import Arm, Size, Trial
from itrialspace_assets.trials.plan import (
    Manifest,
    Stock,
    arm_row,
    case_row,
    case_seed,
    in_pool,
    nodule_row,
    seeded_order,
)


def plan_isolation(trial: Trial, size: Size, stock: Stock, root_seed: int, anatomy: str) -> Manifest:
    """One case per native nodule, alone in its own nodule-free host, voxel for voxel.

    Raises:
        TrialError: a dataset that the size names has no nodule whose scan is a host.
    """
    donors = in_pool(stock.donors, trial.cohort.donors)
    names = donors["dataset"].unique().sort().to_list() if size.datasets in (None, "all") else list(size.datasets or [])
    hosts = {row["scan_uid"]: row for row in in_pool(stock.hosts, trial.cohort.hosts).iter_rows(named=True)}
    arms, cases, nodules = [], [], []
    for name in names:
        own = donors.filter(pl.col("dataset") == name, pl.col("scan_uid").is_in(list(hosts)))
        if own.is_empty():
            raise TrialError(
                f"{trial.trial}: dataset {name}: expected nodules whose scan is a host, found none; run the stages profiles and hosts for it"
            )
        arm = Arm(name=name.lower(), published=f"{trial.trial}_{name}", varies="dataset", level=name)
        people = own["person_uid"].unique().sort().to_list()
        order = seeded_order(case_seed(root_seed, trial.trial, name), people)
        chosen = {people[i] for i in (order[: size.max_patients] if size.max_patients else order)}
        picked = own.filter(pl.col("person_uid").is_in(sorted(chosen))).sort("scan_uid", "nodule_uid")
        if size.max_nodules_per_scan:
            picked = picked.filter(pl.int_range(pl.len()).over("scan_uid") < size.max_nodules_per_scan)
        for number, donor in enumerate(picked.iter_rows(named=True)):
            uid = f"{trial.trial}/{arm.name}/{number:05d}"
            seed = case_seed(root_seed, uid)
            cases.append(case_row(trial, arm.name, number, hosts[donor["scan_uid"]], 1, "native", seed, anatomy))
            nodules.append(nodule_row(trial, uid, 0, donor, "native", 1.0, None, [], "its own scan: native voxels"))
        malignant = int(np.nansum(picked["label"].cast(pl.Float64).to_numpy() == 1))
        arms.append(arm_row(trial, arm, picked.height, picked.height, None, malignant, own.height, len(hosts), None))
    return Manifest(arms, cases, nodules)
