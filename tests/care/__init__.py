"""Tests of looking after an output folder."""
