"""Tests of detectors of lung nodules."""
