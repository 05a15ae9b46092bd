"""How a node of the graph becomes a Dagster asset with its checks, partitions and metadata. Knows no stage."""
