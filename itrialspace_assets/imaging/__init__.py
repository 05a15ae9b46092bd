"""Volumes, lesions, anatomy, DICOM and pictures. Knows no table and no stage."""
