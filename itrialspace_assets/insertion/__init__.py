"""Stage 5: insertion. A donor's voxels go into a host's map as label 23, wholly inside the lung.

Reads manifests and the host and donor stores; may not know renderers, slices or readers.
"""
