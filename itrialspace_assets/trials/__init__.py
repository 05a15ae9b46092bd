"""Stage 4: trials. A trial file becomes a manifest: which donor goes into which host, and why.

Reads the index and the host and donor tables; opens no volume and writes no image.
"""
