"""A store in a database, by SQLAlchemy Core. All that the server writes to a database is written here.

What databases do in ways of their own is a `Database`: `iotio.store.sqlite` and `iotio.store.postgresql`.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from weakref import WeakSet

from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from iotio.core.storage.contract import (
    Change,
    DropDevice,
    DropMessages,
    DropTwins,
    Heard,
    PutDevice,
    PutMessage,
    PutTwin,
    Record,
    Run,
    Snapshot,
    Store,
    StoreDamaged,
    StoreError,
)
from iotio.core.storage.records import DeviceRecord, MessageRecord, TwinRecord
from iotio_protocol.logs import get_logger

from .any_text import AnyText
from .database import Database
from .exporting import export_database
from .history_sql import SqlHistory
from .reading import read_rows
from .rows import DamagedRow, describe, device_of, message_of, row_of, shown, twin_of
from .schema import upgrade
from .tables import devices, messages, set_aside, twins

__all__ = ["SqlStore"]

_R = TypeVar("_R")

logger = get_logger("iotio.store")

_MOST_NAMED = 10  # rows that are set aside, in the log; the table has all


class SqlStore(Store):
    """See the module.

    Args:
        database: where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        _stores.add(self)

    def open(self) -> None:
        if self._connection is not None:
            return
        with self._database.says("cannot be opened"):
            try:
                self._connection = self._unless_damaged(self._connect)
            except BaseException:
                self._database.release()
                raise

    def _unless_damaged(self, function: Callable[[], _R]) -> _R:
        """Call a function; if the database is damaged and may be moved, do that and call it again."""
        try:
            return function()
        except (DBAPIError, StoreDamaged) as error:
            if isinstance(error, StoreDamaged):
                reason = str(error)
            elif self._database.is_damage(error):
                reason = self._database.reason(error)
            else:
                raise
            if not self._database.replaces_damaged:
                raise
            if self._connection is None:
                self._database.move_aside(reason)
            else:
                self._connection.close()
                self._database.move_aside(reason)
                self._connection = self._connect()
            return function()

    def _connect(self) -> Connection:
        """Connect to the database, which is made if it can be, and bring it to the newest schema."""
        connection = self._database.connect()
        try:
            with connection.begin():
                upgrade(connection, self._database.name)
            self._database.connected(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def load(self) -> Snapshot:
        with self._database.says("cannot be read"):
            return self._unless_damaged(self._load)

    def _load(self) -> Snapshot:
        row_id = self._database.row_id
        bad: list[_Bad] = []
        with self._transaction() as connection:
            with self._database.reads_anything(connection):
                known = _read(connection, row_id, devices, device_of, bad)
                waiting = _read(connection, row_id, messages, message_of, bad)
                found = _read(connection, row_id, twins, twin_of, bad)
            _set_aside(connection, row_id, bad)
        self._tell(bad)
        return Snapshot(tuple(known), tuple(waiting), tuple(found))

    def set_aside(self, records: Sequence[tuple[Record, str]]) -> None:
        row_id = self._database.row_id
        bad = []
        with self._database.says("cannot be written"), self._transaction() as connection:
            for record, why in records:
                table, row = _TABLES[type(record)], row_of(record)
                key = and_(*(column == row[column.name] for column in table.primary_key))
                number = connection.execute(select(row_id).select_from(table).where(key)).scalar()
                bad.append(_Bad(table, number, row, why))
            _set_aside(connection, row_id, bad)
        self._tell(bad)

    def backup(self, path: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        self._database.backup(path, force=force, progress=progress)

    def export(self, path: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        export_database(self._database, Path(path).absolute(), force=force, progress=progress)

    def history(self) -> SqlHistory:
        return SqlHistory(self._database)

    def _tell(self, bad: list[_Bad]) -> None:
        for one in bad[:_MOST_NAMED]:
            logger.error(
                "%s: a row of %s cannot be used and is kept in the table %s: device %s, %s",
                self._database.name,
                one.table.name,
                set_aside.name,
                shown(one.row["id" if one.table is devices else "device_id"]),
                one.why,
            )
        if len(bad) > _MOST_NAMED:
            logger.error("%s: and %d rows more", self._database.name, len(bad) - _MOST_NAMED)

    def commit(self, changes: Sequence[Change]) -> None:
        try:
            with self._database.says("cannot be written"), self._transaction() as connection:
                self._database.begin_write(connection)
                for kind, group in groupby(changes, type):
                    if kind is Run:
                        _run(connection, group, self._database)
                    else:
                        _WRITERS[kind](connection, list(group))
        except StoreError as error:
            self._database.check(error)
            raise
        self._database.check()

    def replace(self, snapshot: Snapshot) -> None:
        with self._database.says("cannot be written"), self._transaction() as connection:
            for table in _TABLES.values():
                connection.execute(delete(table))
            _put_devices(connection, [PutDevice(record) for record in snapshot.devices])
            _put_messages(connection, [PutMessage(record) for record in snapshot.messages])
            _put_twins(connection, [PutTwin(record) for record in snapshot.twins])

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._database.release()

    def _abandon(self) -> None:
        """Let go of the connection in a forked child, without closing it: it is the other process's.

        SQLite must not be called with what it had open before a fork, and would wait for ever for a lock that a thread
        held then.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._connection is None:
            raise StoreError(f"{self._database.name} is not open")
        if self._connection.invalidated:  # the database has gone
            self._connection.close()
        if self._connection.closed:  # or by a Run that should not
            self._connection = self._database.connect()
        with self._connection.begin():
            yield self._connection


_TABLES: dict[type[Record], Table] = {MessageRecord: messages, TwinRecord: twins, DeviceRecord: devices}

_stores: WeakSet[SqlStore] = WeakSet()


def _abandon_all() -> None:
    for store in list(_stores):
        store._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


# Reading, and rows that cannot be read.


class _Bad(NamedTuple):
    """A row that is to be set aside."""

    table: Table
    number: int | str | None
    row: Mapping[str, Any]
    why: str


def _read(
    connection: Connection,
    row_id: ColumnElement[int | str],
    table: Table,
    record_of: Callable[[Mapping[str, Any]], _R],
    bad: list[_Bad],
) -> list[_R]:
    """Read the records of a table, and collect the rows that have none."""
    found = []
    for number, row in read_rows(connection, table, row_id):
        try:
            found.append(record_of(row))
        except DamagedRow as damage:
            bad.append(_Bad(table, number, row, str(damage)))
    return found


def _set_aside(connection: Connection, row_id: ColumnElement[int | str], bad: list[_Bad]) -> None:
    """Move rows to a table of their own, which is made for the first one."""
    if not bad:
        return
    set_aside.create(connection, checkfirst=True)
    for one in bad:
        row = {"time": time.time(), "origin": one.table.name, "why": one.why, "content": describe(one.row)}
        connection.execute(set_aside.insert(), row)
        connection.execute(delete(one.table).where(row_id == one.number))


# Statements. All of one kind in a row are written by one call.


class _Statement:
    """A statement for many rows, compiled once: by SQLAlchemy's `execute` each row costs about twice what it does here.

    Args:
        statement: with a parameter for each value; or a function that makes it, given the `insert` of the database,
            for one that replaces rows.
        pick: `itemgetter` for rows that are dictionaries, `attrgetter` for records.
    """

    def __init__(self, statement: Any, pick: Callable[..., Callable[[Any], Any]] = itemgetter) -> None:
        self._statement = statement
        self._pick = pick
        self._compiled: dict[str, tuple[str, Callable[[Any], Any]]] = {}  # by the name of the database

    def run(self, connection: Connection, rows: Iterable[Any]) -> None:
        """Execute the statement for each row, which has the values of the parameters under their names."""
        name = connection.dialect.name
        if name not in self._compiled:
            self._compiled[name] = self._compile(name)
        sql, values_of = self._compiled[name]
        values = list(map(values_of, rows))
        if values:
            connection.exec_driver_sql(sql, values)

    def _compile(self, name: str) -> tuple[str, Callable[[Any], Any]]:
        dialect, insert = _dialect(name)
        statement = self._statement(insert) if callable(self._statement) else self._statement
        compiled = statement.compile(dialect=dialect)
        names = compiled.positiontup
        picked = self._pick(*names)
        values = picked if len(names) > 1 else lambda row: (picked(row),)
        kinds = [compiled.binds[name].type for name in names]
        texts = [isinstance(kind, AnyText) for kind in kinds]
        if name == "sqlite" or not any(texts):
            return str(compiled), values

        def encoded(row: Any) -> tuple[Any, ...]:
            return tuple(
                value.encode() if is_text and value is not None else value
                for value, is_text in zip(values(row), texts, strict=True)
            )

        return str(compiled), encoded


def _dialect(name: str) -> tuple[Dialect, Any]:
    """Return the dialect of a database with positional parameters, and its `insert`. Only what is used is loaded."""
    if name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.dialect(), sqlite.insert
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.dialects.postgresql import psycopg

    dialect: Callable[..., Dialect] = psycopg.dialect  # its constructor has no types
    return dialect(paramstyle="format"), postgresql.insert


def _put_device_statement(insert: Any) -> Any:
    new = insert(devices)
    row = new.excluded
    changed: dict[str, Any] = {column.name: row[column.name] for column in devices.c if column.name != "id"}
    old = devices.c
    changed["counter"] = case(
        ((old.stream == row.stream) & (old.counter > row.counter), old.counter), else_=row.counter
    )
    higher = (old.heard_stream == row.heard_stream) & (old.heard > row.heard)
    changed["heard"] = case((row.heard_stream.is_(None) | higher, old.heard), else_=row.heard)
    changed["heard_stream"] = func.coalesce(row.heard_stream, old.heard_stream)
    return new.on_conflict_do_update(index_elements=["id"], set_=changed)


def _put_statement(table: Table) -> Callable[[Any], Any]:
    """Return what makes the statement that puts a row in the place of the one of its key; see `_Statement`."""

    def make(insert: Any) -> Any:
        new = insert(table)
        changed = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
        return new.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed)

    return make


_PUT_DEVICE = _Statement(_put_device_statement)
_PUT_MESSAGE = _Statement(_put_statement(messages), attrgetter)
_PUT_TWIN = _Statement(_put_statement(twins))
_RAISE_COUNTER = _Statement(
    update(devices)
    .where(devices.c.id == bindparam("_id"), devices.c.counter < bindparam("_number"))
    .values(counter=bindparam("_number"))
)
_HEARD = _Statement(
    update(devices)
    .where(
        devices.c.id == bindparam("_id"),
        or_(devices.c.heard_stream.is_distinct_from(bindparam("_stream")), devices.c.heard < bindparam("_number")),
    )
    .values(heard_stream=bindparam("_stream"), heard=bindparam("_number"))
)
_DROP_DEVICE = _Statement(delete(devices).where(devices.c.id == bindparam("_id")))
_DROP_DEVICES_MESSAGES = _Statement(delete(messages).where(messages.c.device_id == bindparam("_id")))
_DROP_DEVICES_TWINS = _Statement(delete(twins).where(twins.c.device_id == bindparam("_id")))
_DROP_TWIN = _Statement(
    delete(twins).where(twins.c.device_id == bindparam("_id"), twins.c.endpoint_id == bindparam("_endpoint"))
)
_DROP_MESSAGE = _Statement(
    delete(messages).where(messages.c.device_id == bindparam("_id"), messages.c.number == bindparam("_number"))
)


def _put_devices(connection: Connection, changes: list[PutDevice]) -> None:
    _PUT_DEVICE.run(connection, [row_of(change.record) for change in changes])


def _put_messages(connection: Connection, changes: list[PutMessage]) -> None:
    _PUT_MESSAGE.run(connection, [change.record for change in changes])
    counters: dict[str, int] = {}
    for change in changes:
        record = change.record
        counters[record.device_id] = max(record.number, counters.get(record.device_id, record.number))
    _RAISE_COUNTER.run(connection, [{"_id": name, "_number": number} for name, number in counters.items()])


def _drop_devices(connection: Connection, changes: list[DropDevice]) -> None:
    rows = [{"_id": change.device_id} for change in changes]
    _DROP_DEVICES_MESSAGES.run(connection, rows)
    _DROP_DEVICES_TWINS.run(connection, rows)
    _DROP_DEVICE.run(connection, rows)


def _drop_messages(connection: Connection, changes: list[DropMessages]) -> None:
    rows = [{"_id": change.device_id, "_number": number} for change in changes for number in change.numbers]
    _DROP_MESSAGE.run(connection, rows)


def _put_twins(connection: Connection, changes: list[PutTwin]) -> None:
    _PUT_TWIN.run(connection, [row_of(change.record) for change in changes])


def _drop_twins(connection: Connection, changes: list[DropTwins]) -> None:
    for change in changes:
        found = connection.execute(select(twins.c.endpoint_id).where(twins.c.device_id == change.device_id)).scalars()
        gone = set(found) - set(change.kept)
        _DROP_TWIN.run(connection, [{"_id": change.device_id, "_endpoint": endpoint_id} for endpoint_id in gone])


def _heard(connection: Connection, changes: list[Heard]) -> None:
    rows = [{"_id": change.device_id, "_stream": change.stream, "_number": change.number} for change in changes]
    _HEARD.run(connection, rows)


def _run(connection: Connection, changes: Iterable[Any], database: Database) -> None:
    for change in changes:
        try:
            change.function(connection)
        except DBAPIError as error:
            if database.is_trouble(error):
                raise
            raise RuntimeError(f"what {change.function!r} wrote was refused: {database.reason(error)}") from error
        # SQLite has rolled back by itself if the disk was full; what follows would be outside of any transaction.
        if not database.in_transaction(connection):
            raise RuntimeError(f"{change.function!r} has ended the transaction, or hidden an error that did")


_WRITERS: dict[type[Change], Callable[[Connection, list[Any]], None]] = {
    PutDevice: _put_devices,
    DropDevice: _drop_devices,
    PutMessage: _put_messages,
    DropMessages: _drop_messages,
    PutTwin: _put_twins,
    DropTwins: _drop_twins,
    Heard: _heard,
}
