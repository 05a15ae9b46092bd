"""The CPU location of a cluster; what needs a GPU is a stub here."""

from itrialspace_assets.definitions import build_definitions

defs = build_definitions(location="cpu")
