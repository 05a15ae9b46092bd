"""Imports own data into a data root: annotation tables, scans, measured masks. Runs before the graph."""
