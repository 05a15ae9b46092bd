"""The steps of the reports. What each reads is said in ``graph``."""

from itrialspace_assets.analysis.splits import options
from itrialspace_assets.casework.steps import Step

MODE_STEP = Step(("mode_report",), "report", ("mode",), "8", options)
REAL_STEP = Step(("real_report",), "report", ("dataset",), "7", options)
STUDY_STEP = Step(("study_report",), "report", (), "4", options)
