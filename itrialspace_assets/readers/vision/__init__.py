"""Readers that compare a picture with captions: CLIP models of open_clip, BiomedCLIP among them.

``captions`` gives each option its words, ``clip`` loads a model and scores, ``kind`` makes readers of it. torch and
open_clip are imported inside functions only.
"""
