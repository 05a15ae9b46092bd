"""Whether two shares are equivalent within a margin, different, or neither is shown.

Two one-sided tests (docs/facts/evaluation.md#comparisons) on the two-way variance of the difference. Where no cluster
differs from the rest there is no variance, and the exact chance takes the place of t. Arrays only.
"""

from dataclasses import dataclass

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Flags, Floats
from itrialspace_assets.analysis.estimates.comparisons import PairedTests, equivalence, tested
from itrialspace_assets.analysis.estimates.intervals import joined
from itrialspace_assets.analysis.estimates.jackknife import Texts
from itrialspace_assets.analysis.estimates.variance import Differences

EQUIVALENT, DIFFERENT, NOT_SHOWN = "equivalent", "different", "not shown"


@dataclass(frozen=True)
class Verdicts:
    """Tests of M differences: p that they lie within the margin, what is shown, and what to beware of.

    ``verdict`` is ``equivalent`` where p is below alpha; else ``different`` where the test of no difference rejects;
    else ``not shown``, which says neither. It is None where there is no difference to judge.
    """

    tests: PairedTests
    p: Floats
    verdict: Texts
    flag: Texts


def verdicts(found: Differences, alike: Flags, *, margin: float, alpha: float, min_clusters: int) -> Verdicts:
    """Test each difference (M,) for equivalence.

    Args:
        found: differences of shares with their variance.
        alike: where no answer of one side differs from the other side, nor within it (M,).
        margin: largest difference that does not matter, declared beforehand; between 0 and 1.
        alpha: level of each of the two one-sided tests, and of the test of no difference.
        min_clusters: fewer clusters are not tested.

    Raises:
        ValueError: the margin is not between 0 and 1.
    """
    if not 0 < margin < 1:
        raise ValueError(f"margin: expected a share between 0 and 1, got {margin:g}")
    tests, of = tested(found, alpha, min_clusters), found.variance
    p, none = equivalence(tests, margin), tests.p.copy()
    enough = ~(of.one_host & of.one_donor) & (of.clusters >= min_clusters)
    flat = np.isfinite(found.value) & (of.value == 0) & enough
    same = flat & alike
    # if one side in a hundred were another answer, none in G persons would be one with the chance (1 - 0.01)^G
    p = np.where(same, (1 - margin) ** of.effective, p)
    opposed = flat & (np.abs(found.value) == 1)
    none = np.where(opposed, np.minimum(1.0, 2 * 0.5**of.effective), none)
    verdict: Texts = np.full(len(p), NOT_SHOWN, dtype=object)
    verdict[none < alpha] = DIFFERENT
    verdict[p < alpha] = EQUIVALENT
    verdict[~np.isfinite(found.value)] = None
    exact = [(same, "no answer differs: exact"), (opposed, "every answer differs: exact")]
    flags = joined([*exact, *((f == tests.flag, str(f)) for f in sorted({f for f in tests.flag if f}))], len(p))
    return Verdicts(tests, p, verdict, flags)
