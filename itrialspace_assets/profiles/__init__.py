"""Stage 1: nodule profiles: the registry of datasets, reading of their tables, measuring of profiles.

Reads profile CSVs and label maps; may not know hosts, trials or images.
"""
