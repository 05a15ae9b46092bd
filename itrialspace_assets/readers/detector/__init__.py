"""Detectors of lung nodules on whole scans.

``network`` builds MONAI's RetinaNet as its bundle configures it, ``marks`` brings a scan to its grid and its boxes back
to the world, ``kind`` makes a reader of it. torch and monai are imported inside functions only.
"""
