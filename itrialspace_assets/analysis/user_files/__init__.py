"""Tables that users bring to be scored. A wrong value is an error that names file, row and column."""
