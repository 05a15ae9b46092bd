"""What a user asks of an import, for all of its scans."""

import re
from dataclasses import dataclass, field

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.intake.case import Allowances
from itrialspace_assets.intake.organs import label_maps
from itrialspace_assets.profiles.dicom.regions import LESION_NAMES


@dataclass(frozen=True)
class ImportRequest:
    """How the files of an import are to be read.

    ``labels``: key of ``labels.yaml``: whose label map the organ maps follow. ``frame``: ``RAS`` or ``LPS``, the axes
    of nodule lists. ``roi``: regular expression for names of nodule regions. ``segments``: their numbers or names
    instead. ``allowed``: doubtful inputs that are taken. ``replace_scans``: another scan of the dataset under the same
    id is replaced; else that is refused.

    Raises:
        ConfigError: an unknown label map or frame, no regular expression, or ``roi`` and ``segments`` at once.
    """

    labels: str = "totalsegmentator"
    frame: str | None = None
    roi: str = LESION_NAMES
    segments: tuple[str, ...] = ()
    allowed: Allowances = field(default_factory=Allowances)
    replace_scans: bool = False

    def __post_init__(self) -> None:
        try:
            re.compile(self.roi)
        except re.error as error:
            raise ConfigError(f"--roi {self.roi!r}: expected a regular expression, got {error}") from None
        if self.segments and self.roi != LESION_NAMES:
            raise ConfigError("--roi and --segment: expected one of them, got both")
        if self.labels not in label_maps():
            raise ConfigError(f"--labels {self.labels!r}: expected one of {', '.join(label_maps())}")
        if self.frame not in (None, "RAS", "LPS"):
            raise ConfigError(f"--frame {self.frame!r}: expected RAS or LPS")
