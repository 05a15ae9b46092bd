"""Dagster resources: what assets are given at run time."""
