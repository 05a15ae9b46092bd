"""The GPU location of a cluster: renderers and readers whose entry says ``gpu``; the rest are stubs."""

from itrialspace_assets.definitions import build_definitions

defs = build_definitions(location="gpu")
