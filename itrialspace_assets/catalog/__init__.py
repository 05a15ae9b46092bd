"""Stage 10: the catalog with its dictionary, data quality and case pages, and the asset of the published layout.

All of it can be made again from Parquet and the store. May read every table; writes no table of the registry.
"""
