"""FROC in a mode's report: rows of ``metrics`` of the task detection, of readers that mark scans."""

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.detection import Detection, NotedEstimate, Resampling, detect
from itrialspace_assets.analysis.estimates.matching import OURS
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.marks import MarkedScans, marked_scans
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.base.seeds import named
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS
from itrialspace_assets.readers.registry import readers

#: Metric of the nodules of a size at one threshold: that with one false mark a lesion-free scan (ours).
AT_ONE = "sensitivity_at_1_fp_per_lesion_free_scan"


def report_detection(
    settings: Settings, seen: pl.DataFrame, study: Study, mode: str, source: str, reader: str
) -> list[MetricRow]:
    """Rows of ``metrics`` of one reader on one source; none of a reader that marks no scans.

    Args:
        settings: where tables lie, and the root seed.
        seen: slices of the report, of all sources and readers, with the status of their answers.
        study: alpha, clusters.
        mode: trial mode that is reported.
        source: a renderer's name.
        reader: name of an enabled reader.
    """
    if readers(settings)[reader].mark is None:
        return []
    mine = seen.filter(pl.col("source") == source, pl.col("reader") == reader)
    found = marked_scans(settings, source, mode, reader, mine)
    if not found.scans.height:
        return []
    analysis = Analysis(mode, settings.split, settings.anatomy)
    seed = named(settings.seed, "froc", mode, source, reader)
    return detection_rows(found, study, analysis, source, reader, seed)[0]


def detection_rows(
    found: MarkedScans, study: Study, analysis: Analysis, source: str, reader: str, seed: np.random.SeedSequence
) -> tuple[list[MetricRow], Detection]:
    """Rows of ``metrics``, and what they are made from.

    Args:
        found: marks and truth.
        study: alpha, clusters.
        analysis: what is reported.
        source: a renderer's name.
        reader: whose marks.
        seed: of the resamples.
    """
    donor = found.donor() if "donor_person_uid" in study.clusters else None
    name = "host persons" if donor is None else "host persons and donor persons"
    clusters = Resampling(name, found.host(), donor, study.min_clusters)
    sizes = [bucket for bucket in SIZE_BUCKETS if bucket in set(found.nodules["size_bucket"])]
    size = found.nodules["size_bucket"].to_numpy()
    groups = np.stack([np.ones(len(size), bool), *(size == bucket for bucket in sizes)])
    detection = detect(found.matched, OURS, clusters, groups=groups, alpha=study.alpha, seed=seed)
    strata = ["all", *(f"size_bucket={bucket}" for bucket in sizes)]
    numbers: list[tuple[str, str, NotedEstimate]] = [
        *(("all", f"froc_{r.false_per_scan:g}", r.sensitivity) for r in detection.rates),
        *(
            ("all", f"fp_per_lesion_free_scan_{r.false_per_scan:g}", r.false_per_lesion_free_scan)
            for r in detection.rates
        ),
        ("all", "cpm", detection.cpm),
        ("all", "afroc", detection.afroc),
        ("all", "wafroc", detection.wafroc),
        *((stratum, AT_ONE, n) for stratum, n in zip(strata, detection.groups, strict=True)),
    ]
    same = asdict(analysis) | {"source": source, "reader": reader, "task": "detection", "condition": "plain"}
    return [MetricRow(**same, **_values(found, detection.method, *number)) for number in numbers], detection


def _values(found: MarkedScans, method: str, stratum: str, metric: str, number: NotedEstimate) -> dict[str, Any]:
    """What a row holds besides what it is of; a share of nodules has its successes, which are whole because no line is
    drawn between thresholds."""
    size = stratum.removeprefix("size_bucket=")
    nodules = found.nodules if stratum == "all" else found.nodules.filter(pl.col("size_bucket") == size)
    of_nodules = metric.startswith("froc_") or metric == AT_ONE
    free = int(found.matched.is_free.sum())
    persons = nodules["host_person_uid"].n_unique() if stratum != "all" else found.scans["host_person_uid"].n_unique()
    return {
        "stratum": stratum,
        "metric": metric,
        "estimate": _rounded(number.estimate),
        "low": _rounded(number.low),
        "high": _rounded(number.high),
        "method": f"{method}, rules {OURS.name}" if number.low is not None else "none",
        "flag": "; ".join(filter(None, (number.note, _unread(found)))) or None,
        "k": round(number.estimate * nodules.height) if of_nodules and number.estimate is not None else None,
        "n_cases": nodules["case_uid"].n_unique(),
        "n_negatives": free,
        "n_hosts": persons,
        "n_donors": nodules["donor_person_uid"].n_unique(),
        "n_unanswered": found.unread + found.left_out,
    }


def _unread(found: MarkedScans) -> str:
    lost = f"{found.unread} scans with nodules were not read: missed" if found.unread else ""
    out = f"{found.left_out} lesion-free scans were not read: left out" if found.left_out else ""
    return "; ".join(filter(None, (lost, out)))


def _rounded(value: float | None) -> float | None:
    """Ten decimals: below any use, above the last bits that differ between processors."""
    return None if value is None else round(float(value), 10)
