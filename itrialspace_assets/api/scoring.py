"""What a notebook imports: scores of a user's own files, outside the graph. Reads tables, prints and writes nothing.

``froc`` scores marks on scans, ``mrmc`` a reader study, ``auc`` a table of scored cases. Each takes files (CSV,
Parquet) or polars frames, and returns a frozen record; what cannot be estimated is None with its reason.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates import roc
from itrialspace_assets.analysis.estimates.cells import Ints, clusters
from itrialspace_assets.analysis.estimates.detection import REPLICATES, Detection, Resampling, detect
from itrialspace_assets.analysis.estimates.froc import curve
from itrialspace_assets.analysis.estimates.intervals import intervals
from itrialspace_assets.analysis.estimates.matching import RULES, match
from itrialspace_assets.analysis.estimates.mrmc import Readers, StudyResult, analyse
from itrialspace_assets.analysis.user_files.reader_files import read_reader_study
from itrialspace_assets.analysis.user_files.scoring_files import read_scan_marks, read_scored_cases
from itrialspace_assets.analysis.user_files.user_tables import TableSource
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.seeds import named

__all__ = ["AucResult", "FrocResult", "auc", "froc", "mrmc"]

#: Resamples at most (ours): their draws are held in memory.
MOST_REPLICATES = 100_000
#: Fewer persons of a kind are noted as too few to test (ours, as in the shipped study).
FEWEST = 10


@dataclass(frozen=True)
class FrocResult:
    """A FROC analysis.

    Attributes:
        rules: luna16 or ours.
        n_scans: scans that were read.
        n_lesion_free_scans: those without a nodule that counts.
        n_nodules: nodules that count.
        n_found: those that are hit at all.
        n_marks: marks given.
        n_false: false marks.
        n_repeated: further hits of a nodule; neither right nor false.
        n_on_excluded: marks on excluded findings; neither right nor false.
        n_beyond_limit: marks left out because a scan has too many.
        detection: sensitivities, CPM and areas with intervals.
        points: where the curve bends: false marks a scan, sensitivity.
        notes: what was assumed.
    """

    rules: str
    n_scans: int
    n_lesion_free_scans: int
    n_nodules: int
    n_found: int
    n_marks: int
    n_false: int
    n_repeated: int
    n_on_excluded: int
    n_beyond_limit: int
    detection: Detection
    points: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]


def froc(
    marks: TableSource,
    annotations: TableSource,
    excluded: TableSource | None = None,
    scans: TableSource | None = None,
    *,
    rules: str = "ours",
    replicates: int = REPLICATES,
    alpha: float = 0.05,
    seed: int = 42,
) -> FrocResult:
    """Score marks on scans: FROC, CPM, AFROC and wAFROC.

    Example:
        >>> import polars as pl
        >>> place = {"coordX": [0.0], "coordY": [0.0], "coordZ": [0.0]}
        >>> marks = pl.DataFrame({"seriesuid": ["a"], **place, "probability": [0.9]})
        >>> nodules = pl.DataFrame({"seriesuid": ["a"], **place, "diameter_mm": [8.0]})
        >>> scans = pl.DataFrame({"seriesuid": ["a", "b"]})
        >>> found = froc(marks, nodules, scans=scans, rules="luna16")
        >>> found.n_found, found.n_false, found.detection.cpm.estimate
        (1, 0, 1.0)

    Args:
        marks: columns seriesuid, coordX, coordY, coordZ (mm) and probability (or score); a row a mark.
        annotations: columns seriesuid, coordX, coordY, coordZ and diameter_mm; a row a nodule.
        excluded: the same columns; findings that are neither right nor wrong to mark.
        scans: ids of all scans that were read, those without a nodule too; None: those that the tables name.
        rules: ours or luna16; docs/facts/evaluation.md#froc says what each counts.
        replicates: resamples of the scans for the intervals.
        alpha: 0.05 gives 95 % intervals.
        seed: of the resamples.

    Raises:
        ConfigError: unknown rules, or a number out of range.
        TableError: a table is wrong; names the row and the column.
    """
    if rules not in RULES:
        raise ConfigError(f"rules: expected one of {', '.join(RULES)}, got {rules!r}")
    _require(0 < alpha < 0.5, "alpha", "a number between 0 and 0.5", alpha)
    _require(0 <= replicates <= MOST_REPLICATES, "replicates", f"0 to {MOST_REPLICATES}", replicates)
    _require(seed >= 0, "seed", "0 or more", seed)
    given, how = read_scan_marks(marks, annotations, excluded, scans), RULES[rules]
    matched = match(given.marks, given.nodules, len(given.scans), how)
    clusters = Resampling("scans", np.arange(matched.n_scans))
    return FrocResult(
        rules=rules,
        n_scans=matched.n_scans,
        n_lesion_free_scans=int(matched.is_free.sum()),
        n_nodules=len(matched.nodule_scan),
        n_found=int(np.isfinite(matched.nodule_score).sum()),
        n_marks=len(given.marks.scan),
        n_false=len(matched.false_scan),
        n_repeated=matched.repeated,
        n_on_excluded=matched.on_excluded,
        n_beyond_limit=matched.beyond_limit,
        detection=detect(matched, how, clusters, replicates=replicates, alpha=alpha, seed=named(seed, "froc")),
        points=tuple(curve(matched).corners()),
        notes=given.notes,
    )


def mrmc(study: TableSource, *, readers: Readers = "random", alpha: float = 0.05) -> StudyResult:
    """Analyse a reader study: areas, and differences of modalities over readers and cases.

    Example:
        >>> import polars as pl
        >>> case, score = ["a", "b", "c", "d"], [0.1, 0.4, 0.3, 0.9]
        >>> study = pl.DataFrame({"reader": "r", "modality": "m", "case": case, "truth": [0, 0, 1, 1], "score": score})
        >>> found = mrmc(study)
        >>> found.areas[0].auc, found.modalities[0].auc.reason
        (0.75, 'random readers need 4 or more, got 1')

    Args:
        study: a file of iMRMC, or a table with the columns reader, modality, case, truth and score.
        readers: random: the readers stand for a population (four or more); fixed: conclusions are about them alone.
        alpha: 0.05 gives 95 % intervals.

    Raises:
        ConfigError: alpha is out of range.
        TableError: the study is wrong; names the row (or line) and the column.
    """
    _require(0 < alpha < 0.5, "alpha", "a number between 0 and 0.5", alpha)
    _require(readers in ("random", "fixed"), "readers", "random or fixed", readers)
    return analyse(read_reader_study(study), readers, alpha)


@dataclass(frozen=True)
class AucResult:
    """An area under the ROC curve with two-way clustered limits; ``note`` says what is null or should not be tested.

    ``n_hosts`` and ``n_donors`` count persons; a case whose person is not stated is one of its own.
    """

    auc: float | None
    low: float | None
    high: float | None
    method: str
    n_cases: int
    n_positive: int
    n_negative: int
    n_hosts: int
    n_donors: int
    n_effective: float | None
    note: str | None


def auc(
    cases: TableSource,
    *,
    truth: str = "truth",
    score: str = "score",
    host: str | None = None,
    donor: str | None = None,
    alpha: float = 0.05,
) -> AucResult:
    """Area under the ROC curve of scored cases, with limits that hold where cases share persons.

    Example:
        >>> import polars as pl
        >>> person, score = ["a", "b", "c", "d"], [0.9, 0.4, 0.4, 0.1]
        >>> found = auc(pl.DataFrame({"truth": [1, 1, 0, 0], "score": score, "person": person}), host="person")
        >>> found.auc, found.n_hosts, found.note
        (0.875, 4, 'fewer than 10 clusters')

    Args:
        cases: a table, a row a case.
        truth: its column of 0 and 1.
        score: its column of numbers, higher for more likely diseased.
        host: its column of the person whose anatomy it is; None: every case has its own.
        donor: its column of the person whose nodule it is; an empty cell is a person of its own. None: as ``host``.
        alpha: 0.05 gives 95 % intervals.

    Raises:
        ConfigError: alpha is out of range.
        TableError: the table is wrong; names the row and the column.
    """
    _require(0 < alpha < 0.5, "alpha", "a number between 0 and 0.5", alpha)
    given = read_scored_cases(cases, truth, score, host, donor)
    n = len(given.truth)
    hosts, donors = _persons(given.host), _persons(given.donor if donor is not None else given.host)
    everyone = np.ones(n, bool)
    ways = clusters(np.zeros(n, np.int64), hosts, donors, 1)
    why = np.full(1, None, dtype=object)
    estimates = roc.auc(ways, given.score, given.truth, everyone, everyone, "worst", why)
    found = intervals(estimates, "share", alpha, FEWEST)
    return AucResult(
        auc=_finite(estimates.value[0]),
        low=_finite(found.low[0]),
        high=_finite(found.high[0]),
        method=str(found.method[0]),
        n_cases=n,
        n_positive=int(given.truth.sum()),
        n_negative=int((~given.truth).sum()),
        n_hosts=len(np.unique(hosts)),
        n_donors=len(np.unique(donors)),
        n_effective=_finite(found.n_effective[0]),
        note=found.flag[0],
    )


def _persons(named: pl.Series) -> Ints:
    """Persons as whole numbers from 0; each row without one is a person of its own."""
    alone = pl.Series(range(named.len()), dtype=pl.String())
    keys = pl.DataFrame({"named": named, "alone": alone}).with_columns(pl.when(named.is_null()).then("alone"))
    return (keys.select(pl.struct("named", "alone").rank("dense")).to_series().cast(pl.Int64) - 1).to_numpy()


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _require(holds: bool, name: str, expected: str, got: object) -> None:
    if not holds:
        raise ConfigError(f"{name}: expected {expected}, got {got}")
