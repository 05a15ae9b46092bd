"""Tests of CLIP models as readers."""
