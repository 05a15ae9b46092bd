"""Stage 1: nodule profiles. What each dataset is, how its table is read, how a profile is measured.

Reads profile CSVs and label maps; may not know hosts, trials or images.
"""
