"""The contrast section of every mode at 1,000 cases, five readers and four conditions: seconds and rows of metrics.

Named baseline of the same run: ``score_cells`` on the same answers with the strata of the mode, as the report does it.

    python -m bench.contrasts [--cases 1000] [--readers 5]
"""

import argparse
import time

import numpy as np
import polars as pl

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.contrast_section import contrast_part
from itrialspace_assets.analysis.scoring.metrics import score_cells
from itrialspace_assets.analysis.scoring.observations import strata_of
from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.strata import factors_of
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.trials.files import load_trial, trial_files
from itrialspace_assets.trials.model import Trial
from tests.analysis.planted import answered, cases

CONDITIONS = {"plain": 0.0, "bbox": 0.1, "contour": 0.1, "bbox_contour": 0.15}
#: Arms of trials that make theirs: replicates, rounds, values, datasets.
MADE = 5


def arms_of(trial: Trial) -> pl.DataFrame:
    """Arms as the table of a plan has them."""
    names = [(a.name, a.level) for a in trial.arms] or [(f"arm{i}", "ABCDE"[i]) for i in range(MADE)]
    return pl.DataFrame({"arm": [n for n, _ in names], "level": [v for _, v in names], "number": range(len(names))})


def main() -> None:
    """Time every shipped mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--readers", type=int, default=5)
    given = parser.parse_args()
    settings = load_settings()
    study = load_study(settings).model_copy(update={"clusters": ["host_person_uid", "donor_person_uid"]})
    readers = {f"r{i}": 0.02 * i for i in range(given.readers)}
    print("mode | rows of answers | section s | score_cells s | ratio | rows of metrics")
    ratios = []
    for mode in trial_files(settings):
        trial = load_trial(settings, mode)
        arms = arms_of(trial)
        of = cases(given.cases // arms.height, 1, tuple(arms["arm"]), 400, 400)
        seen = answered(of, 2, conditions=CONDITIONS, readers=readers)
        real = answered(of, 3, conditions=CONDITIONS, readers=readers)
        real = real.with_columns(case_uid="real/" + pl.col("donor_nodule_uid"))
        start = time.process_time()
        part = contrast_part(trial, arms, seen, study, Analysis(mode, "s", "procedural"), 42, real=real)
        section = time.process_time() - start
        start = time.process_time()
        score_cells(seen, strata_of(seen, factors_of(trial.contrast)), study, Analysis(mode, "s", "procedural"))
        scored = time.process_time() - start
        ratios.append(section / scored)
        print(f"{mode} | {seen.height} | {section:.2f} | {scored:.2f} | {section / scored:.2f} | {len(part.rows)}")
    print(f"median ratio {np.median(ratios):.2f}, largest {max(ratios):.2f} (processor seconds)")


if __name__ == "__main__":
    main()
