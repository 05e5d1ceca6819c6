"""The kinds of records that an export has. Their lines are in test_exporting.py and test_importing.py."""

from __future__ import annotations

import re

import pytest

from iotio.store.kinds import KINDS, Kind
from iotio.store.tables import metadata
from scripts.tools.environments import ROOT

PAGE = (ROOT / "docs" / "reference" / "export.md").read_text(encoding="utf-8")


def test_each_table_has_a_kind() -> None:
    """A new table that is not exported would be lost when a store is moved."""
    assert {kind.table.name for kind in KINDS} == set(metadata.tables)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_column_has_the_name_that_says_the_kind(kind: Kind) -> None:
    assert "record" not in kind.table.c
    assert kind.name != "end"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_page_has_each_member(kind: Kind) -> None:
    part = PAGE.partition(f"\n## {kind.name}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", part, re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(\w+)`", cell)] == kind.table.c.keys()
