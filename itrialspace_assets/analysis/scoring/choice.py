"""Which pairs of a comparison count: a condition in SQL over their columns. Reads no file and changes nothing."""

import duckdb
import polars as pl

from itrialspace_assets.base.errors import ConfigError


def chosen(pairs: pl.DataFrame, where: str) -> pl.DataFrame:
    """The rows for which a condition holds, in their order.

    Args:
        pairs: rows of ``sides.Pairs``; seen by the condition as the view ``cases``.
        where: what may stand after WHERE in DuckDB, for example ``size_bucket = '<5mm' AND a_score > 0``.

    Raises:
        ConfigError: it is no condition over these columns, or it asks for a file; names what DuckDB says.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "python_enable_replacements": "false",
        "lock_configuration": "true",
    }
    with duckdb.connect(config=config) as db:
        db.register("pairs", pairs.with_row_index("_row").to_arrow())
        db.execute("CREATE VIEW cases AS SELECT * EXCLUDE (_row) FROM pairs")
        text = f"SELECT _row FROM pairs AS cases WHERE (\n{where}\n) ORDER BY _row"
        try:
            statements = duckdb.extract_statements(text)
            if len(statements) != 1:
                raise ConfigError(f"--where {where!r}: expected one condition, got {len(statements)} statements")
            rows = db.execute(statements[0]).fetchnumpy()["_row"]
        except duckdb.Error as error:
            first = str(error).splitlines()[0]
            columns = ", ".join(pairs.columns)
            raise ConfigError(
                f"--where {where!r}: expected a condition over the columns {columns}; DuckDB says: {first}"
            ) from None
    return pairs[rows.astype("int64").tolist()]
