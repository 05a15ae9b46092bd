"""Foreign keys of the catalog: rows that refer to a row that no table holds."""

from dataclasses import dataclass

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog.rebuild import connect
from itrialspace_assets.records.tables import TABLES


@dataclass(frozen=True)
class Orphans:
    """Rows of ``table`` whose ``columns`` refer to a row that ``target`` does not hold; ``sample`` names the first."""

    table: str
    columns: tuple[str, ...]
    target: str
    rows: int
    sample: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.table} ({', '.join(self.columns)}): {self.rows} rows refer to no row of {self.target}, first: "
            f"{'; '.join(self.sample)}"
        )


def orphans(settings: Settings) -> list[Orphans]:
    """Every reference of the registry that some row breaks; a null value is no reference.

    Raises:
        TableError: there is no catalog.
    """
    found = []
    with connect(settings) as db:
        for table in TABLES.values():
            for columns, target, keys in table.references:
                join = " AND ".join(f't."{k}" = a."{c}"' for c, k in zip(columns, keys, strict=True))
                given = " AND ".join(f'a."{c}" IS NOT NULL' for c in columns)
                if table.name == "case_nodules":  # planned from profiles alone: the donor store is still empty
                    given += " AND a.fit <> 'unverified'"
                shown = " || ' ' || ".join(f'a."{c}"::VARCHAR' for c in columns)
                rows = db.execute(
                    f'SELECT {shown} FROM "{table.name}" a WHERE {given} AND NOT EXISTS (SELECT 1 FROM '
                    f'"{target}" t WHERE {join}) ORDER BY 1'
                ).fetchall()
                if rows:
                    found.append(Orphans(table.name, columns, target, len(rows), tuple(str(r[0]) for r in rows[:3])))
    return found
