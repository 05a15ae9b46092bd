"""Rules that read free text. Each module gives polars expressions; none asks a reader or sees the truth."""
