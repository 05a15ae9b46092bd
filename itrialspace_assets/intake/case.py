"""A user's own scan to import, as one case of ``casework``."""

from pathlib import Path
from typing import Literal

from itrialspace_assets.base.validation import StrictModel


class ImportCase(StrictModel):
    """One scan and how its files are to be read.

    ``ct``: a NIfTI file, a folder with a DICOM series or a multi-frame DICOM file. ``organs``: a label map, or a
    folder with one mask a structure; null: there is none yet. ``nodules``: masks, a list, DICOM or XML; null: a scan
    without a nodule. ``labels``: key of ``labels.yaml``. ``frame``: axes of a list's coordinates (mm). ``roi``: regular
    expression for names of nodule regions. ``segments``: their numbers or names instead; empty: as ``roi`` says.
    ``patient``, ``age`` (years) and ``sex``: as the user states them; null: as the CT does.
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
