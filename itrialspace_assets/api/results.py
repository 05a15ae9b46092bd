"""Results in a notebook: numbers of the reports, the cases behind them, flips, SQL. Computes as ``its`` does."""

from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.scoring.comparison import compared
from itrialspace_assets.analysis.scoring.sides import pair, read_side
from itrialspace_assets.api.tables import narrowed, rows_of
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog.questions import ready
from itrialspace_assets.catalog.rebuild import connect


@dataclass(frozen=True, repr=False)
class Results:
    """The results of an output folder.

    Attributes:
        settings: where they are.
    """

    settings: Settings

    def sql(self, query: str, **values: Any) -> pl.DataFrame:
        """The answer of the catalog to a SELECT.

        The catalog is open for reading alone: a statement can neither change it nor read or write another file.

        Example:
            >>> root.results.sql("SELECT mode, count(*) AS cases FROM cases GROUP BY mode")  # doctest: +SKIP

        Args:
            query: SQL of DuckDB; the tables and views are in ``dictionary.html`` of the output folder.
            values: of each ``$name`` in it.

        Raises:
            ConfigError: the statement is wrong.
            TableError: there is no catalog yet; says how to make it.
        """
        with connect(self.settings) as db:
            db.execute("SET enable_external_access = false")
            db.execute("SET lock_configuration = true")
            try:
                found = db.sql(query, params=values or None)
                if found is None:
                    raise ConfigError("sql: expected a statement with an answer, got one without, as CREATE or SET")
                rows: pl.DataFrame = found.pl()
            except duckdb.Error as error:
                raise ConfigError(f"sql: {error}") from None
        return rows

    def questions(self) -> pl.DataFrame:
        """The ready questions: name, what each asks, and the values that it takes."""
        rows = [
            {"question": q.name, "asks": q.asks, "values": ", ".join(v.name for v in q.values)}
            for q in ready().values()
        ]
        return pl.DataFrame(rows)

    def ask(self, question: str, **values: str) -> pl.DataFrame:
        """The answer to a ready question.

        Args:
            question: its name.
            values: that it takes.

        Raises:
            ConfigError: no such question or value, or one is missing.
            TableError: there is no catalog yet; says how to make it.
        """
        known = ready()
        if question not in known:
            raise not_found("question", question, list(known))
        return self.sql(
            known[question].sql, **known[question].bound([f"{name}={value}" for name, value in values.items()])
        )

    def metrics(self, **wanted: Any) -> pl.DataFrame:
        """Numbers of the reports with limits; where one is null or not to be trusted, ``flag`` says why.

        Args:
            wanted: by column of ``metrics``: a value, a list (any of) or a pair (low, high); for example
                ``analysis="m02_size_detection_curve", metric="sensitivity", stratum="all"``.

        Raises:
            ConfigError: no such column, or a value that it cannot hold.
            TableError: there is no report yet; says how to make one.
        """
        return narrowed(rows_of(self.settings, "metrics"), wanted)

    def cases_of(self, analysis: str, metric: str, **place: str) -> pl.DataFrame:
        """The slices behind a number of ``metrics``, those that cost it most first.

        Args:
            analysis: the report: a mode, or ``real-<dataset>``.
            metric: the metric.
            place: ``task`` (presence), ``condition`` (plain), ``stratum`` (all), ``source`` (any), ``reader`` (any).

        Raises:
            ConfigError: no such value.
            TableError: there is no catalog yet; says how to make it.
        """
        return self.ask("cases_of", analysis=analysis, metric=metric, **place)

    def flips(
        self, reader_a: str, reader_b: str, task: str | None = None, condition: str | None = None
    ) -> pl.DataFrame:
        """Slices that one reader answered rightly and the other wrongly, as ``its compare`` finds them.

        ``flip`` is improved where the second is right, regressed where the first is.

        Args:
            reader_a: the first reader.
            reader_b: the second.
            task: of the study's primary endpoint unless given.
            condition: guidance; of the primary endpoint unless given.

        Raises:
            ConfigError: a reader has no answers there, both are one, or they share no slice.
        """
        if reader_a == reader_b:
            raise ConfigError(f"flips: expected two readers, got {reader_a!r} twice")
        study = load_study(self.settings)
        asked = task or study.primary.task
        metric = study.primary.metric if asked == study.primary.task else "accuracy"
        first, second = (
            read_side(self.settings, name, asked, condition or study.primary.condition) for name in (reader_a, reader_b)
        )
        return compared(pair(first, second), first, second, asked, metric, study).flips

    def chart(self, rows: pl.DataFrame, x: str = "stratum", color: str = "reader") -> Any:
        """Numbers of ``metrics`` with their limits, as an Altair chart; flagged ones are hollow.

        Args:
            rows: of ``metrics``.
            x: column along x.
            color: column that has one colour.
        """
        from itrialspace_assets.api.figures import estimates

        return estimates(rows, x, color, self.settings.anatomy)
