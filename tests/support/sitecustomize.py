"""Python runs this at the start of every process that the tests start: their folder is on PYTHONPATH."""

import torchvision_operators  # type: ignore[import-not-found]  # noqa: F401
