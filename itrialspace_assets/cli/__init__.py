"""The command line ``its``. Parses, calls, prints; holds no domain logic. Dagster is imported only
by the commands that run something.
"""
