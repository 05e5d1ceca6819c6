"""The history in SQLite: what only it does. What all stores do is in tests/history/test_tables.py."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from iotio.core.storage.contract import Run, StoreError
from iotio.history.tables import HistoryTables, Kind, SeriesRecord
from iotio.store import open_store
from iotio.store.history_sql import SqlHistoryTables


def run(tables: HistoryTables, sql: str) -> Any:
    assert isinstance(tables, SqlHistoryTables)
    return tables._connection.execute(text(sql)).scalar()


def test_a_reader_cannot_write(path: Path) -> None:
    with (
        closing(open_store(f"sqlite:///{path}")) as store,
        pytest.raises(StoreError, match="readonly database"),
        store.history().reading(5) as tables,
    ):
        tables.put_tail(1, b"")


def test_a_reader_sees_one_state_and_holds_up_no_writer(path: Path) -> None:
    with closing(open_store(f"sqlite:///{path}")) as store, store.history().reading(5) as tables:
        assert tables.tail() == []
        store.commit([Run(lambda connection: store.history().writing(connection).put_tail(1, b"1"))])
        assert tables.tail() == []
        with store.history().reading(5) as later:
            assert later.tail() == [(1, b"1")]


def test_a_long_query_is_ended(path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with (
        closing(open_store(f"sqlite:///{path}")) as store,
        pytest.raises(TimeoutError, match=r"within 0\.05 s"),
        store.history().reading(0.05) as tables,
    ):
        run(tables, endless)


def test_a_file_that_is_gone_is_told(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    history = store.history()
    store.close()
    path.unlink()
    with pytest.raises(StoreError, match="there is no store"), history.reading(5) as tables:
        tables.tail()


def test_a_series_of_an_unknown_kind_is_left_out(path: Path) -> None:
    with closing(open_store(f"sqlite:///{path}")) as store:
        known = SeriesRecord(2, "a", "b", Kind.NUMBER, None, 1.0)
        store.commit([Run(lambda connection: store.history().writing(connection).put_series([known]))])
        with closing(sqlite3.connect(path)) as raw:
            raw.execute("INSERT INTO iotio_series VALUES (1, 'a', 'b', 'vector', NULL, 1.0, 0)")
            raw.commit()
        with store.history().reading(5) as tables:
            assert tables.series() == [known]
