"""The study file: what is asked, and by which rules. Reads no answers."""
