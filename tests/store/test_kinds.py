"""The kinds of records that an export has. Their lines are in test_exporting.py and test_importing.py."""

from __future__ import annotations

import pytest

from iotio.store.kinds import KINDS, Kind
from iotio.store.tables import metadata


def test_each_table_has_a_kind() -> None:
    """A new table that is not exported would be lost when a store is moved."""
    assert {kind.table.name for kind in KINDS} == set(metadata.tables)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_column_has_the_name_that_says_the_kind(kind: Kind) -> None:
    assert "record" not in kind.table.c
    assert kind.name != "end"
