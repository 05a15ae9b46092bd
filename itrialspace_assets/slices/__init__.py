"""Stage 7: evaluation slices. Planes of a CT in the windows of a profile, plain, under guidance and as controls.

The same code for real and rendered images; may not know readers or answers.
"""
