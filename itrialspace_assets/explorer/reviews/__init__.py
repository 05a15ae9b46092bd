"""Verdicts of people on cases: an append-only file under the outputs, and the table ``reviews`` made from it."""
