"""The procedural data root: drawn anatomy, nodules and tables, of no person.

May import any stage; no stage imports it. Everything it writes is marked as procedural.
"""
