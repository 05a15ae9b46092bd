"""Stage 2: the host store and the donor store.

Per scan once: canonical nodule-free map, lobes, boxes, fit radii; per nodule once: its voxels. So
that planning and placement need no volume twice. May not know trials.
"""
