"""The procedural data root: anatomy, nodules and tables that no person stands behind.

May import any stage; no stage imports it. Everything it writes is marked as procedural.
"""
