"""From slices and answers of a frozen list to rows of ``metrics``. Draws nothing."""
