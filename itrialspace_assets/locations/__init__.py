"""The two code locations of a cluster, and the single one of a laptop.

A module here is what ``workspace.yaml`` names: it builds definitions when Dagster loads it.
"""
