"""The contrast of a mode in its report: what was found in a sentence, a chart, the levels and the tests.

Which tests a contrast makes is in ``scoring/mode_contrasts``, the words of the sentence in ``findings``.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.contrast_charts import contrast_charts, in_order, prevalence_charts
from itrialspace_assets.analysis.reports.document import Block, Estimate, Paragraph, Section, Table, Value
from itrialspace_assets.analysis.reports.findings import (
    ContrastFinding,
    findings,
    of_crossing,
    of_prevalence,
)
from itrialspace_assets.analysis.reports.part import Part
from itrialspace_assets.analysis.scoring.cell_tests import Compared
from itrialspace_assets.analysis.scoring.mode_contrasts import compare_modes
from itrialspace_assets.analysis.scoring.predictive import Predictive, predictive
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.strata import factor_of
from itrialspace_assets.trials.model import Trial

HEADING = "What the mode compares"
_ABOUT_TESTS = (
    "Differences have two-way leave-cluster-out intervals over host and donor persons. p corrected: within the tests "
    "of a source and metric by the distribution of their largest statistic, within omnibus tests by Holm; times the "
    "number of families where several may make the claim. resolves: the least difference whose interval would leave "
    "out zero. Levels with too few persons are left out and named."
)
_TESTS = (
    *("source", "reader", "task", "condition", "test", "metric", "compared"),
    *("difference", "p", "p corrected", "resolves", "hosts", "donors"),
)


def contrast_part(
    trial: Trial,
    arms: pl.DataFrame,
    seen: pl.DataFrame,
    study: Study,
    analysis: Analysis,
    root: int,
    scored: Sequence[MetricRow] = (),
    real: pl.DataFrame | None = None,
) -> Part:
    """Rows of ``metrics`` and the section of a trial's contrast; empty where it declares none.

    Args:
        trial: whose contrast it is.
        arms: rows of the table ``arms`` of the mode.
        seen: observations of all sources and readers, with ``strata.with_datasets`` and ``reweighting.with_weights``.
        study: alpha, clusters, condition of the primary endpoint.
        analysis: what is reported.
        root: root seed.
        scored: rows of ``variance_rows``, which a crossing shows.
        real: observations of real slices, for twins of single scans.
    """
    if trial.contrast == "none" or seen.is_empty():
        return Part()
    blocks: list[Block]
    if trial.contrast == "crossing":
        rows = [r for r in scored if r.metric.startswith(("variance_", "naive_ratio"))]
        return Part(sections=[_section(of_crossing(rows), [_variances(rows)] if rows else [])])
    if trial.contrast == "prevalence":
        values = predictive(seen, study)
        declared = trial.cohort.prevalence.value if trial.cohort.prevalence else None
        if values.curve.is_empty():
            return Part(sections=[_section([], [])])
        blocks = [*prevalence_charts(values, study, analysis), _predictive_values(values)]
        return Part(values.rows(analysis), [_section(of_prevalence(values, study, declared), blocks)])
    compared = compare_modes(trial.contrast, factor_of(trial.contrast, arms), seen, study, root, real)
    if compared is None or compared.tests.is_empty():
        return Part(sections=[_section([], [])])
    blocks = [*contrast_charts(trial.contrast, compared, study, analysis)]
    if compared.levels.height:
        blocks.append(_levels(compared))
    blocks.append(_tests(compared))
    return Part(compared.rows(analysis), [_section(findings(trial.contrast, compared, study), blocks)])


def _section(found: Sequence[ContrastFinding], blocks: Sequence[Block]) -> Section:
    said = [Paragraph(f"{f.reader} on {f.source}: {f.text}") for f in found]
    return Section(HEADING, (*(said or [Paragraph("Nothing could be compared: no slices.", "note")]), *blocks))


def _estimate(row: dict[str, Any]) -> Estimate:
    return Estimate(row["estimate"], row["low"], row["high"], row.get("k"), row["n_slices"], row["flag"])


def _levels(compared: Compared) -> Table:
    shown = dict(zip(compared.factor.levels, compared.factor.shown, strict=True))
    columns = ("source", "reader", "task", "condition", "level", "metric", "estimate", "hosts", "donors", "negatives")
    rows: list[tuple[Value, ...]] = [
        (
            *(r["source"], r["reader"], r["task"], r["condition"], shown[r["level"]], r["metric"].replace("_", " ")),
            *(_estimate(r), r["n_hosts"], r["n_donors"], r["n_negatives"]),
        )
        for r in in_order(compared.levels, compared)
    ]
    return Table("contrast_levels", columns, tuple(rows), "Every level that was declared, in its order.", folded=True)


def _tests(compared: Compared) -> Table:
    rows: list[tuple[Value, ...]] = []
    for r in compared.tests.to_dicts():
        number = _estimate(r | ({"estimate": None} if r["shape"] == "omnibus_p" and r["p"] is None else {}))
        shape = r["shape"].removesuffix("_p").replace("_", " ")
        rows.append(
            (
                *(r["source"], r["reader"], r["task"], r["condition"], shape, r["metric"].replace("_", " "), r["what"]),
                None if r["shape"] == "omnibus_p" and r["p"] is not None else number,
                *(_rounded(r["p"]), _rounded(r["p_corrected"]), _rounded(r.get("resolves"))),
                *(r["n_hosts"], r["n_donors"]),
            )
        )
    return Table("contrast_tests", _TESTS, tuple(rows), _ABOUT_TESTS, folded=len(rows) > 24)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _predictive_values(values: Predictive) -> Table:
    columns = ("source", "reader", "task", "condition", "value", "prevalence", "as", "estimate")
    both = (("computed", values.curve), ("measured", values.measured))
    table: list[tuple[Value, ...]] = [
        (
            *(r["source"], r["reader"], r["task"], r["condition"], r["value"].upper(), _rounded(r["prevalence"])),
            *(f"{how}, {r['level']}" if "level" in r else how, _estimate(r)),
        )
        for how, frame in both
        for r in frame.sort("source", "reader", "task", "condition", "value", "prevalence").to_dicts()
    ]
    note = (
        "Computed: from sensitivity and specificity over all arms, by Bayes' rule; limits from the likelihood ratio, "
        "or from both at half of alpha where one of them is 0 or 1. A missing answer counts as the wrong one. "
        "Measured: shares of the answers given in an arm, at the share of positives that it holds."
    )
    return Table("predictive_values", columns, tuple(table), note, folded=True)


def _variances(rows: Sequence[MetricRow]) -> Table:
    columns = ("source", "reader", "task", "metric", "estimate", "hosts", "donors")
    values: list[tuple[Value, ...]] = [
        (
            *(r.source, r.reader, r.task, r.metric.replace("_", " ")),
            *(Estimate(r.estimate, r.low, r.high, None, r.n_slices, r.flag), r.n_hosts, r.n_donors),
        )
        for r in rows
    ]
    note = "Variances of right answers on the logit scale, over hosts and over donors, and their ratio."
    return Table("variance_components", columns, tuple(values), note)
