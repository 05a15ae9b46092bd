"""Tables and names: what a table is, which there are, the only way into Parquet, the published layout. Knows no stage."""
