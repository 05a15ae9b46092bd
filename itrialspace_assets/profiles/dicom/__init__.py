"""Reads CT series, DICOM-SEG, RTSTRUCT and LIDC XML as canonical RAS+ volumes, or lesions in the CT's grid.

Libraries read the files (SimpleITK, highdicom, pydicom, defusedxml); this package checks geometry and references, and
fills contours. It writes nothing and knows no dataset.
"""
