"""A user's own scan to import, as one case of ``casework``."""

from pathlib import Path
from typing import Literal

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.imaging.nifti import Trust
from itrialspace_assets.profiles.doubts import Doubt


class Allowances(StrictModel):
    """Doubtful inputs that the user takes in spite of the doubt; a profile row names those in force (``doubts``).

    ``trust``: which orientation of a NIfTI to use where it states none, or two that differ. ``threshold``: least value
    of a nodule in a probability map. ``unusual_anatomy``: a lobe may be missing, or hold no air.
    """

    trust: Trust | None = None
    threshold: float | None = None
    unusual_anatomy: bool = False

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """The allowances in force."""
        given = (
            (self.trust is not None, Doubt.TRUSTED_ORIENTATION),
            (self.threshold is not None, Doubt.THRESHOLD),
            (self.unusual_anatomy, Doubt.UNUSUAL_ANATOMY),
        )
        return tuple(doubt for said, doubt in given if said)


def allowances(trust: str | None, threshold: float | None, unusual_anatomy: bool) -> Allowances:
    """The allowances that options of a command state.

    Args:
        trust: ``sform`` or ``qform``.
        threshold: a finite number above 0.
        unusual_anatomy: as in ``Allowances``.

    Raises:
        ConfigError: another word for ``trust``, or a threshold that every voxel reaches.
    """
    if trust not in (None, "sform", "qform"):
        raise ConfigError(f"--trust {trust!r}: expected sform or qform")
    if threshold is not None and not 0 < threshold < float("inf"):
        raise ConfigError(f"--threshold {threshold}: expected a number above 0")
    return Allowances(trust=trust, threshold=threshold, unusual_anatomy=unusual_anatomy)


class ImportCase(StrictModel):
    """One scan and how its files are to be read.

    ``ct``: a NIfTI file, a folder with a DICOM series or a multi-frame DICOM file. ``organs``: a label map, or a
    folder with one mask a structure; null: there is none yet. ``nodules``: masks, a list, DICOM or XML; null: a scan
    without a nodule. ``labels``: key of ``labels.yaml``. ``frame``: axes of a list's coordinates (mm). ``roi``: regular
    expression for names of nodule regions. ``segments``: their numbers or names instead; empty: as ``roi`` says.
    ``patient``, ``age`` (years) and ``sex``: as the user states them; null: as the CT does. ``allowed``: doubtful
    inputs that are taken.
    """

    ct_id: str
    dataset: str
    ct: Path
    organs: Path | None
    nodules: Path | None
    labels: str
    frame: Literal["RAS", "LPS"] | None
    roi: str
    segments: tuple[str, ...] = ()
    patient: str | None
    age: str | None
    sex: str | None
    allowed: Allowances = Allowances()
