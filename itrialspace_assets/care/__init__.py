"""Looking after an output folder: what a run would take, what may be removed, what leaves it, one case again."""
