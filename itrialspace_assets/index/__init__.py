"""Stage 3: the harmonised nodule index over all datasets, its scans and people.

Reads ``profiles`` and what lies in the data root; may not know trials or open volumes.
"""
