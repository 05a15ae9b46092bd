"""Stage 7: evaluation slices. A CT plane in a window, under four kinds of guidance.

The same code for real and rendered images; may not know readers or answers.
"""
