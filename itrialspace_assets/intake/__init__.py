"""Own data on its way into the data root: annotation tables, scans, measured masks. Runs before the graph."""
