"""Builds the study's report: the primary endpoint of all modes and datasets, and the fidelity of rendered CTs."""

import polars as pl

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports.figures import mark_of
from itrialspace_assets.analysis.reports.page import Page, Section, render, section_of
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.records.store import read_all


def build_study(settings: Settings, partition: Partition) -> Result:
    """One page over all modes and datasets; transfer only where it can be estimated at all."""
    require_data_root(settings)
    study = load_study(settings)
    metrics = read_all(settings.output, "metrics").filter(pl.col("stratum") == "all")
    primary = metrics.filter(
        pl.col("metric") == study.primary.metric,
        pl.col("task") == study.primary.task,
        pl.col("condition") == study.primary.condition,
    )
    counts = ["k", "n_slices", "n_pictures", "n_cases", "n_hosts", "n_donors", "n_negatives"]
    columns = ["analysis", "source", "reader", "estimate", "low", "high", *counts, "flag"]
    shown = primary.select(columns).with_columns(pl.col("estimate", "low", "high").round(3))
    procedural = "not estimable by construction: anatomy is procedural" if settings.anatomy == "procedural" else None
    fidelity, about_fidelity = _fidelity(settings)
    about_primary = f"{study.primary.metric} of {study.primary.task}, condition {study.primary.condition}"
    page = Page(
        title="Study report",
        question="What was estimated over all modes and datasets?",
        mark=mark_of(settings.anatomy, "all sources"),
        figures=(),
        sections=(
            section_of("Primary endpoint", shown, about_primary),
            Section(
                "Real against synthetic",
                ("transfer", "equivalence"),
                [[procedural or "not built in this version"] * 2],
            ),
            section_of("Fidelity of rendered CTs", fidelity, about_fidelity),
        ),
    )
    path, html = settings.output / "reports" / "study" / "report.html", render(settings, study, page)
    replace_file(path, html)
    files = {str(path.relative_to(settings.output)): sha256_bytes(html)}
    return Result({}, computed=1, preview=markdown(shown), files=files)


def _fidelity(settings: Settings) -> tuple[pl.DataFrame, str]:
    """Mean distances over the three planes, and how to read them."""
    rows = read_all(settings.output, "fidelity").filter(pl.col("plane") == "average").sort("kind", "value", "compared")
    band = rows.filter(pl.col("kind") == "real_to_real", pl.col("value").is_not_null())["value"].to_list()
    said = "; ".join(rows["note"].drop_nulls().unique().sort())
    if band:
        said = f"Real datasets lie {min(band):.3g} to {max(band):.3g} apart: the yardstick of the rest. {said}"
    if "descriptor_distance" in rows["metric"]:
        said += " Measured with a descriptor that needs no weights: not FID, and not to be compared with published FID."
    return rows.select(
        "kind", "reference", "compared", "metric", "value", "images_reference", "images_compared"
    ), said.strip()
