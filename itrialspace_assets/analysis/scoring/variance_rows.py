"""Host against donor in the report of a trial of twins: variance components of right answers as rows of ``metrics``."""

from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import codes
from itrialspace_assets.analysis.estimates.detection import NotedEstimate
from itrialspace_assets.analysis.estimates.variance_components import variance_components
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.base.seeds import named

#: Tasks whose answers are right or wrong, and the column of the truth.
_TRUTH = {"presence": "presence", "size": "size_class", "lobe": "lobe"}
_REPLICATES = 200


def variance_rows(seen: pl.DataFrame, study: Study, analysis: Analysis, root: int) -> list[MetricRow]:
    """Variance of host and donor on the logit scale, their ratio, and the published naive ratio beside it.

    Of slices that show a nodule, under the plain condition, for each source, reader and task that the reader answers.
    An answer that is missing counts as wrong.

    Args:
        seen: slices of a report with answers, as ``observations.observe`` gives them.
        study: alpha.
        analysis: what is reported.
        root: root seed.
    """
    rows: list[MetricRow] = []
    shown = seen.filter(
        pl.col("condition") == "plain", pl.col("presence") == "present", pl.col("task").is_in([*_TRUTH])
    )
    for (source, reader, task), of in shown.group_by("source", "reader", "task", maintain_order=True):
        known = of.filter(pl.col(_TRUTH[str(task)]).is_not_null()).sort("slice_uid")
        if known.height and known["status"].ne_missing("unsupported").any():
            seed = named(root, "variance components", analysis.analysis, str(source), str(reader), str(task))
            same = asdict(analysis) | {"source": source, "reader": reader, "task": task, "condition": "plain"}
            rows += _rows(known, _TRUTH[str(task)], study.alpha, seed, same)
    return rows


def _rows(
    answers: pl.DataFrame, truth: str, alpha: float, seed: np.random.SeedSequence, same: dict[str, object]
) -> Iterator[MetricRow]:
    """Rows of one source, reader and task, of which ``same`` says what they are of."""
    right = pl.col("status").eq("ok") & pl.col("answer").cast(pl.String).eq(pl.col(truth).cast(pl.String))
    score = answers.select(right.fill_null(False).cast(pl.Float64)).to_series().to_numpy()
    ways = {way: codes(answers, [f"{way}_person_uid"])[0] for way in ("host", "donor")}
    found = variance_components(score, ways, replicates=_REPLICATES, alpha=alpha, seed=seed)
    numbers = {
        "variance_host": found.variance["host"],
        "variance_donor": found.variance["donor"],
        "variance_ratio_host_donor": found.ratio,
        "naive_ratio_host_donor": NotedEstimate(
            found.naive_ratio, None, None, "as published: holds the error of each mean"
        ),
    }
    for metric, number in numbers.items():
        yield MetricRow(
            **same,  # type: ignore[arg-type]
            stratum="all",
            metric=metric,
            estimate=_rounded(number.estimate),
            low=_rounded(number.low),
            high=_rounded(number.high),
            method=f"parametric bootstrap, {_REPLICATES} resamples" if number.low is not None else "none",
            flag=number.note,
            k=int(score.sum()),
            n_slices=answers.height,
            n_pictures=answers["sha256"].n_unique(),
            n_cases=answers["case_uid"].n_unique(),
            n_negatives=0,
            n_hosts=answers["host_person_uid"].n_unique(),
            n_donors=answers["donor_person_uid"].n_unique(),
            n_unanswered=int(answers["status"].ne_missing("ok").sum()),
        )


def _rounded(value: float | None) -> float | None:
    """Six decimals: a fit stops before the last digits, which differ between processors."""
    return None if value is None else round(float(value), 6)
