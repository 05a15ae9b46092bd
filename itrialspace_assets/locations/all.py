"""Every stage in one location: a laptop, the demo, the tests."""

from itrialspace_assets.definitions import build_definitions

defs = build_definitions()
