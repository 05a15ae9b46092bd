"""Estimators: numbers with their limits from arrays of answers. Knows no table of the registry and no file."""
