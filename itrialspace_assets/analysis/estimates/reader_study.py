"""Scores of several readers under several modalities on the same cases, as arrays."""

from dataclasses import dataclass

from itrialspace_assets.analysis.estimates.cells import Flags, Floats


@dataclass(frozen=True)
class ReaderStudy:
    """Scores of readers under modalities.

    Attributes:
        modalities: names, sorted (t).
        readers: names, sorted (r).
        cases: names, sorted (n).
        truth: whether a case is diseased (n,).
        score: of each modality, reader and case (t, r, n); NaN where a reader did not read the case.
    """

    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]
    truth: Flags
    score: Floats
