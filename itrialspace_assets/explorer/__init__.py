"""Stage 11, beside the catalog: the explorer. It makes the two-dimensional map of the index; its page is planned."""
