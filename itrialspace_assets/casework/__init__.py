"""Runs one function over many cases: in parallel, resumable, with bad cases rejected. Knows no stage."""
