"""What is known of the primary number before a study: assumed, or taken from answers that are there (a pilot)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.intervals import Scale
from itrialspace_assets.analysis.estimates.power import auc_unit, share_unit
from itrialspace_assets.analysis.estimates.variance import by_way, differences
from itrialspace_assets.analysis.protocol.study import Endpoint, Study
from itrialspace_assets.analysis.scoring.observations import observe, with_one_n
from itrialspace_assets.analysis.scoring.reweighting import with_weights
from itrialspace_assets.analysis.scoring.scored import coded, scored_of
from itrialspace_assets.analysis.scoring.tasks import metrics_of
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.layout import REAL


@dataclass(frozen=True)
class Varies:
    """Expected value of a number, variance that one case contributes, and how persons correlate that."""

    value: float
    unit: float
    icc_host: float
    icc_donor: float


@dataclass(frozen=True)
class Known:
    """What is known of one reader's number and of the difference of two readers on the same cases.

    Attributes:
        scale: on which limits are made.
        number: of one reader.
        difference: of two readers; its value is 0.
        cases_per_host: reuse of hosts.
        cases_per_donor: reuse of donors.
        origin: where it comes from, a sentence each.
    """

    scale: Scale
    number: Varies
    difference: Varies
    cases_per_host: float
    cases_per_donor: float
    origin: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What is assumed where no answers tell it.

    Attributes:
        value: expected value of the number.
        icc_host: correlation of two cases of one host in what they contribute.
        icc_donor: the same of one donor.
        correlation: of two readers on the same case, over hosts and donors alike.
        negatives: slices without a nodule for each with one.
        cases_per_host: reuse of hosts.
        cases_per_donor: reuse of donors.
    """

    value: float
    icc_host: float
    icc_donor: float
    correlation: float
    negatives: float
    cases_per_host: float
    cases_per_donor: float


@dataclass(frozen=True)
class Pilot:
    """Which answers are the pilot: of a mode or real-<dataset>, a source, a reader, and one it is compared with."""

    analysis: str
    source: str
    reader: str
    against: str | None


def assumed(endpoint: Endpoint, of: Assumed) -> Known:
    """What is known if everything is assumed: a share, or an area under the ROC curve.

    Raises:
        ConfigError: the variance of the endpoint's metric cannot be assumed, or a number is out of its range.
    """
    if not 0 < of.value < 1:
        raise ConfigError(f"--expected {of.value:g}: expected a value between 0 and 1")
    if not (of.icc_host >= 0 and of.icc_donor >= 0 and of.icc_host + of.icc_donor < 1):  # so, NaN is refused
        raise ConfigError(
            f"--icc-host {of.icc_host:g}, --icc-donor {of.icc_donor:g}: expected numbers from 0 on whose sum is below 1"
        )
    if not -1 < of.correlation < 1:
        raise ConfigError(f"--correlation {of.correlation:g}: expected a number between -1 and 1")
    value = np.array([of.value])
    share = float(share_unit(value)[0])
    units = {
        "auc": float(auc_unit(value, of.negatives)[0]),
        "sensitivity": share,
        "specificity": share / of.negatives,
        "balanced_accuracy": share * (1 + 1 / of.negatives) / 4,
        "accuracy": share / (1 + of.negatives) if endpoint.task == "presence" else share,
        "macro_recall": share,
    }
    if endpoint.metric not in units:
        raise ConfigError(
            f"{endpoint.metric} of {endpoint.task}: its variance cannot be assumed (expected one of "
            f"{', '.join(units)}); take it from answers that are there with --pilot MODE"
        )
    number = Varies(of.value, units[endpoint.metric], of.icc_host, of.icc_donor)
    difference = replace(number, value=0.0, unit=2 * number.unit * (1 - of.correlation))
    origin = (
        f"Assumed: {endpoint.metric} {of.value:g}, ICC of hosts {of.icc_host:g} and of donors {of.icc_donor:g}, "
        f"correlation of two readers {of.correlation:g}",
    )
    return Known("share", number, difference, of.cases_per_host, of.cases_per_donor, origin)


def from_pilot(settings: Settings, study: Study, pilot: Pilot, of: Assumed) -> Known:
    """What the answers to a frozen list tell of the study's primary number; what they cannot tell is assumed.

    Args:
        settings: which split, and where tables lie.
        study: names the number, clusters and negatives.
        pilot: whose answers to what.
        of: correlation of persons who are used once in the pilot, and of readers where there is one.

    Raises:
        ConfigError: the pilot has no such number, or nothing varies in it.
        TableError: there is no frozen list of it.
    """
    mode = REAL if pilot.source == REAL else pilot.analysis
    readers = [r for r in (pilot.reader, pilot.against) if r is not None]
    seen = with_one_n(pl.concat([observe(settings, pilot.source, mode, pilot.analysis, r) for r in readers]))
    return known_of(with_weights(settings, mode, seen), study, pilot, of)


def known_of(seen: pl.DataFrame, study: Study, pilot: Pilot, of: Assumed) -> Known:
    """What observations tell; see ``from_pilot``.

    Args:
        seen: of ``observations.observe`` for the pilot's readers.
        study: names the number, clusters and negatives.
        pilot: whose answers to what.
        of: what is assumed where they do not tell.

    Raises:
        ConfigError: there is no such number, or nothing varies in it.
    """
    first, where = study.primary, f"{pilot.reader} on {pilot.source}/{pilot.analysis}"
    rows = coded(seen, study).filter(pl.col("task") == first.task, pl.col("condition") == first.condition)
    scored = scored_of(rows, ("reader",))
    metric = next((m for m in metrics_of(scored, first.task) if m.name == first.metric), None) if rows.height else None
    if metric is None:
        raise ConfigError(f"--pilot {pilot.analysis}: expected {first.metric} of {first.task} of {where}, found none")
    at = {reader: i for i, reader in enumerate(scored.cells["reader"])}
    counted = rows.filter(pl.Series(metric.estimates.used))
    cases = counted.filter(pl.col("reader") == pilot.reader).unique("case_uid")
    reuse = [_reuse(cases, column) for column in ("host_person_uid", "donor_person_uid")]
    value = float(metric.estimates.value[at[pilot.reader]])
    if not np.isfinite(value):
        raise ConfigError(f"--pilot {pilot.analysis}: {where}: {metric.estimates.reason[at[pilot.reader]]}")
    found = [float(v[at[pilot.reader]]) for v in by_way(metric.estimates)]
    number, notes = _varies(value, found, cases.height, reuse, of, where)
    difference = replace(number, value=0.0, unit=2 * number.unit * (1 - of.correlation))
    more = f"correlation of two readers {of.correlation:g} (assumed)"
    if pilot.against is not None:
        apart = differences(metric.estimates, np.array([at[pilot.reader]]), np.array([at[pilot.against]]))
        ways = [float((share**2).sum()) for share in apart.shares]
        difference, also = _varies(0.0, ways, cases.height, reuse, of, f"difference of {where} from {pilot.against}")
        more, notes = f"difference from {pilot.against} from the same answers", notes + also
    said = (
        f"Pilot: {where}, {cases.height} cases: {first.metric} {value:.3g}, ICC of hosts {number.icc_host:.2g} "
        f"and of donors {number.icc_donor:.2g}; {more}"
    )
    return Known(metric.scale, number, difference, reuse[0], reuse[1], (said, *notes))


def _reuse(cases: pl.DataFrame, column: str) -> float:
    """Cases of the person of an average case; a case without such a person is one of its own."""
    sizes = cases.filter(pl.col(column).is_not_null()).group_by(column).len()["len"]
    alone = cases[column].null_count()
    return float(((sizes**2).sum() + alone) / cases.height) if cases.height else 1.0


def _varies(
    value: float, ways: Sequence[float], cases: int, reuse: Sequence[float], of: Assumed, where: str
) -> tuple[Varies, tuple[str, ...]]:
    """Unit variance and correlations from the variance by host, donor and pair.

    Args:
        value: of the number.
        ways: variance by host, by donor, by pair.
        cases: how many there are.
        reuse: cases of an average case's host, and donor.
        of: correlations of those that are used once.
        where: what it is of, for messages.

    Raises:
        ConfigError: nothing varies.
    """
    host, donor, pair = ways
    if not pair > 0:
        raise ConfigError(f"--pilot: {where}: nothing varies between its cases; assume numbers, or take another pilot")
    found, notes = [], []
    for name, way, m, other in (("host", host, reuse[0], of.icc_host), ("donor", donor, reuse[1], of.icc_donor)):
        if m > 1 and np.isfinite(way):
            found.append(min(max((way / pair - 1) / (m - 1), 0.0), 0.99))
        else:
            found.append(other)
            notes.append(f"No {name} has two cases in the pilot ({where}): ICC {other:g} is assumed")
    return Varies(value, pair * cases, found[0], found[1]), tuple(notes)
