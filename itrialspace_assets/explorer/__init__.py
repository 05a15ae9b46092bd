"""Stage 11: the explorer. For now the two-dimensional map of the index; its page comes later."""
