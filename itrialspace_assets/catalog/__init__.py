"""Stage 10: the catalogue and the published layout, both made from Parquet and the store.

Losing either loses nothing. May read every table; writes no table of the registry.
"""
