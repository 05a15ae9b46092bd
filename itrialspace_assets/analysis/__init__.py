"""Stage 9: analysis. Frozen splits, estimates with honest intervals, figures and reports.

Reads tables only; may not open volumes or call readers.
"""
