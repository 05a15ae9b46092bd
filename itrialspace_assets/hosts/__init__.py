"""Stage 2: the host store and the donor store.

Of each scan: its canonical nodule-free map, lobes, boxes, fit radii and clearance map; of each nodule: its voxels. They
are measured once, so that planning and placement read no volume twice. May not know trials.
"""
