"""Typed rows hold exactly the columns of their tables."""

from dataclasses import asdict, fields

import pytest

from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials.rows import ArmRow, BalanceRow, FeasibilityRow, TrialRow, table_of

ROWS = {"trials": TrialRow, "arms": ArmRow, "balance": BalanceRow, "feasibility": FeasibilityRow}


@pytest.mark.parametrize("table", ROWS)
def test_a_row_has_the_columns_of_its_table(table: str) -> None:
    assert {f.name for f in fields(ROWS[table])} == set(TABLES[table].schema)


def test_rows_become_a_frame_in_the_order_of_the_key() -> None:
    second, first = (
        FeasibilityRow(
            mode="m", trial="t", arm="a", step=i, of="cases", constraint="c", left=3, needed=4, binding=True, price=None
        )
        for i in (1, 0)
    )
    assert table_of("feasibility", [second, first]).to_dicts() == [asdict(first), asdict(second)]
    assert table_of("feasibility", []).schema == TABLES["feasibility"].schema
