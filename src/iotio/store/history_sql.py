"""The tables of the history in a database; see `iotio.history.tables`. The SQL is that of SQLite and of PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Table, bindparam, delete, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from iotio.core.storage.contract import StoreError
from iotio.history.statistics import Statistics
from iotio.history.tables import Chunk, Counted, HistoryStorage, HistoryTables, Kind, Quarter, SeriesRecord

from . import tables
from .database import Database

__all__ = ["SqlHistory", "SqlHistoryTables"]

_STEPS = 20_000  # of SQLite's virtual machine, between two looks at the clock
_KINDS = frozenset(Kind)
_VALUES = ("n", "vmin", "vmax", "vsum", "first", "last", "increase")

_SERIES = select(tables.series).order_by(tables.series.c.id)
_TAIL = select(tables.tail).order_by(tables.tail.c.id)
_CHUNKS = (
    select(tables.chunks)
    .where(tables.chunks.c.series == bindparam("_series"), tables.chunks.c.start >= bindparam("_start"))
    .where(tables.chunks.c.start < bindparam("_stop"))
    .order_by(tables.chunks.c.start, tables.chunks.c.id)
)
_CHUNK_BEFORE = (
    select(tables.chunks)
    .where(tables.chunks.c.series == bindparam("_series"), tables.chunks.c.start < bindparam("_stop"))
    .order_by(tables.chunks.c.start.desc(), tables.chunks.c.id.desc())
    .limit(1)
)
_FIRST_CHUNK = select(func.min(tables.chunks.c.start)).where(tables.chunks.c.series == bindparam("_series"))
_STARTS = (
    select(tables.chunks.c.start)
    .where(tables.chunks.c.series == bindparam("_series"), tables.chunks.c.start < bindparam("_stop"))
    .order_by(tables.chunks.c.start)
    .limit(bindparam("_most"))
)
_QUARTERS = (
    select(tables.quarters)
    .where(tables.quarters.c.series == bindparam("_series"), tables.quarters.c.start >= bindparam("_start"))
    .where(tables.quarters.c.start < bindparam("_stop"))
    .order_by(tables.quarters.c.start)
)
_COUNTED = (
    select(*(column for column in tables.quarters.c if column.name != "series"))
    .where(tables.quarters.c.series == bindparam("_series"), tables.quarters.c.start >= bindparam("_start"))
    .where(tables.quarters.c.start < bindparam("_stop"))
    .order_by(tables.quarters.c.start)
)
_QUARTER_BEFORE = (
    select(tables.quarters)
    .where(tables.quarters.c.series == bindparam("_series"), tables.quarters.c.start < bindparam("_stop"))
    .order_by(tables.quarters.c.start.desc())
    .limit(1)
)
_FIRST_QUARTERS = (
    select(tables.quarters.c.start)
    .where(tables.quarters.c.series == bindparam("_series"), tables.quarters.c.start < bindparam("_stop"))
    .order_by(tables.quarters.c.start)
    .limit(bindparam("_most"))
)
_DELETE_SERIES = delete(tables.series).where(tables.series.c.id == bindparam("_series"))
_DELETE_TAIL = delete(tables.tail).where(tables.tail.c.id < bindparam("_stop"))
_DELETE_CHUNKS = delete(tables.chunks).where(
    tables.chunks.c.series == bindparam("_series"), tables.chunks.c.start < bindparam("_stop")
)
_DELETE_QUARTERS = delete(tables.quarters).where(
    tables.quarters.c.series == bindparam("_series"), tables.quarters.c.start < bindparam("_stop")
)
_SIZES = {
    "sqlite": "SELECT (page_count - freelist_count) * page_size"
    " FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
    # Of what is there, and not of the files, which deleted rows do not make smaller; 90 bytes of a row are its head and
    # its place in the index, 60 its numbers.
    "postgresql": "SELECT sum(n_live_tup * (90 + CASE relname WHEN 'iotio_chunks' THEN"
    " (SELECT coalesce(avg(pg_column_size(a)), 0) FROM (SELECT * FROM iotio_chunks LIMIT 1000) a) ELSE 60 END))"
    " FROM pg_stat_user_tables"
    " WHERE schemaname = current_schema() AND relname IN ('iotio_chunks', 'iotio_quarters')",
}


class SqlHistoryTables(HistoryTables):
    """The tables in a transaction.

    Args:
        connection: in the transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def series(self) -> list[SeriesRecord]:
        return [
            SeriesRecord(row.id, row.device_id, row.endpoint_id, Kind(row.kind), row.unit, row.created, row.dropped)
            for row in self._connection.execute(_SERIES)
            if row.kind in _KINDS
        ]

    def tail(self) -> list[tuple[int, bytes]]:
        return [(row.id, row.body) for row in self._connection.execute(_TAIL)]

    def chunks(self, series: int, start: int, stop: int) -> list[Chunk]:
        values = {"_series": series, "_start": start, "_stop": stop}
        return [_chunk_of(row) for row in self._connection.execute(_CHUNKS, values)]

    def chunk_before(self, series: int, time: int) -> Chunk | None:
        row = self._connection.execute(_CHUNK_BEFORE, {"_series": series, "_stop": time}).first()
        return None if row is None else _chunk_of(row)

    def first_chunk(self, series: int) -> int | None:
        return self._connection.execute(_FIRST_CHUNK, {"_series": series}).scalar()

    def chunk_starts(self, series: int, below: int, most: int) -> list[int]:
        values = {"_series": series, "_stop": below, "_most": most}
        return list(self._connection.execute(_STARTS, values).scalars())

    def quarters(self, series: int, start: int, stop: int) -> list[Quarter]:
        values = {"_series": series, "_start": start, "_stop": stop}
        return [_quarter_of(row) for row in self._connection.execute(_QUARTERS, values)]

    def counted(self, series: int, start: int, stop: int) -> Sequence[Counted]:
        values = {"_series": series, "_start": start, "_stop": stop}
        return cast("Sequence[Counted]", self._connection.execute(_COUNTED, values).all())

    def quarter_before(self, series: int, time: int) -> Quarter | None:
        row = self._connection.execute(_QUARTER_BEFORE, {"_series": series, "_stop": time}).first()
        return None if row is None else _quarter_of(row)

    def size(self) -> int:
        return int(self._connection.execute(text(_SIZES[self._connection.dialect.name])).scalar() or 0)

    def put_series(self, records: Sequence[SeriesRecord]) -> None:
        self._put(
            tables.series,
            [{column.name: getattr(record, column.name) for column in tables.series.c} for record in records],
        )

    def delete_series(self, series: int) -> None:
        self._connection.execute(_DELETE_SERIES, {"_series": series})

    def put_tail(self, row: int, body: bytes) -> None:
        self._put(tables.tail, [{"id": row, "body": body}])

    def delete_tail(self, below: int) -> None:
        self._connection.execute(_DELETE_TAIL, {"_stop": below})

    def put_chunks(self, chunks: Sequence[Chunk]) -> None:
        self._put(
            tables.chunks,
            [
                {
                    "series": one.series,
                    "start": one.start,
                    "id": one.id,
                    "stop": one.stop,
                    "body": one.body,
                    **dict(zip(_VALUES, one.statistics, strict=True)),
                }
                for one in chunks
            ],
        )

    def delete_chunks(self, series: int, below: int) -> None:
        self._connection.execute(_DELETE_CHUNKS, {"_series": series, "_stop": below})

    def put_quarters(self, quarters: Sequence[Quarter]) -> None:
        self._put(
            tables.quarters,
            [
                {"series": one.series, "start": one.start, **dict(zip(_VALUES, one.statistics, strict=True))}
                for one in quarters
            ],
        )

    def delete_quarters(self, series: int, below: int, most: int) -> int:
        values: dict[str, Any] = {"_series": series, "_stop": below, "_most": most}
        starts = list(self._connection.execute(_FIRST_QUARTERS, values).scalars())
        if starts:
            self._connection.execute(_DELETE_QUARTERS, {"_series": series, "_stop": starts[-1] + 1})
        return len(starts)

    def _put(self, table: Table, rows: list[dict[str, Any]]) -> None:
        if rows:
            self._connection.execute(_upsert(table, self._connection.dialect.name), rows)


@cache
def _upsert(table: Table, dialect: str) -> Any:
    """Return the statement that writes a row, in the place of one with the same key."""
    new = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    changed = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
    return new.on_conflict_do_update(index_elements=[column.name for column in table.primary_key], set_=changed)


def _chunk_of(row: Any) -> Chunk:
    series, start, number, stop, *values, body = row
    return Chunk(series, start, number, stop, Statistics(*values), body)


def _quarter_of(row: Any) -> Quarter:
    return Quarter(row[0], row[1], Statistics(*row[2:]))


class SqlHistory(HistoryStorage):
    """The history in a database.

    Args:
        database: the database, which is read by connections of their own.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def writing(self, connection: Any) -> HistoryTables:
        return SqlHistoryTables(connection)

    @contextmanager
    def reading(self, timeout: float) -> Iterator[HistoryTables]:
        end = time.monotonic() + timeout
        try:
            with self._database.reading() as connection:
                _end_after(connection, timeout)
                yield SqlHistoryTables(connection)
        except DBAPIError as error:
            if time.monotonic() >= end:
                raise TimeoutError(f"the store has not answered within {timeout:g} s: ask for less time") from error
            raise StoreError(f"the history cannot be read: {error.orig}") from error


def _end_after(connection: Connection, timeout: float) -> None:
    """Have statements of a connection that reads fail after so many seconds."""
    raw: Any = connection.connection.dbapi_connection
    if isinstance(raw, sqlite3.Connection):
        end = time.monotonic() + timeout
        raw.set_progress_handler(lambda: time.monotonic() >= end, _STEPS)
    else:
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(round(timeout * 1000), 1)}")
