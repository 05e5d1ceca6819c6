"""A store in a database, by SQLAlchemy Core; SQLite so far. All that the server writes to SQLite is written here.

SQLite runs in WAL mode with `synchronous=FULL`: a commit is on the disk before it returns. NORMAL would leave the last
commits to the operating system; they survive SIGKILL, but a power cut, the common end of a small machine, would take
back messages that were promised. FULL costs one fsync for a whole batch of changes, not for each: bench/store.py shows
that 5 000 a second and more pass.
"""

from __future__ import annotations

import ctypes
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args
from weakref import WeakSet

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    bindparam,
    case,
    create_engine,
    delete,
    event,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import dialect, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.pool import NullPool

from iotio.core.storage.contract import (
    Change,
    DropDevice,
    DropMessages,
    Heard,
    PutDevice,
    PutMessage,
    Run,
    Snapshot,
    Store,
    StoreDamaged,
    StoreError,
    StoreLost,
)
from iotio.core.storage.records import DeviceRecord, MessageRecord
from iotio_protocol.logs import get_logger

from .backup import copy_file
from .file_lock import FileLock
from .rows import DamagedRow, describe, device_of, message_of, row_of, shown
from .schema import upgrade
from .tables import devices, messages

__all__ = ["Damaged", "SqlStore"]

_R = TypeVar("_R")

Damaged = Literal["refuse", "set_aside"]

logger = get_logger("iotio.store")

_BUSY = 1.0  # seconds that SQLite waits for another process's lock; the store writer tries again
_PATIENCE = 5.0  # seconds to wait for a server that ends, as when gunicorn starts the next worker before
_MAX_WAL = 16 * 1024 * 1024  # bytes that the write-ahead log keeps after a burst
_HEAD = b"SQLite format 3\0"
_NO_DATABASE = "file is not a database; name another file"
_WHAT_THEN = 'restore a backup, or begin anew with IoTManager(..., damaged="set_aside"), which keeps this file beside'
_MOST_NAMED = 10  # rows that are set aside, in the log; the table has all
_SET_ASIDE = "iotio_set_aside"

_NO_OBJECT = re.compile(r"no such (table|column): iotio_|table iotio_\w+ already exists|has no column named")


class SqlStore(Store):
    """See the module.

    Args:
        url: as SQLAlchemy takes it, such as sqlite:///iotio.db.
        busy_timeout: seconds that one commit waits for a lock of another process.
        patience: seconds that `open` waits for another program to give the file back.
        damaged: what becomes of a file that cannot be read: "refuse" raises `StoreDamaged`, "set_aside" gives it
            another name, and begins anew.

    Raises:
        StoreError: the URL names no file.
        ValueError: there is no such `damaged`.
    """

    def __init__(
        self, url: str, *, busy_timeout: float = _BUSY, patience: float = _PATIENCE, damaged: Damaged = "refuse"
    ) -> None:
        if damaged not in get_args(Damaged):
            raise ValueError(f"damaged is one of {', '.join(get_args(Damaged))}, not {damaged!r}")
        self._damaged = damaged
        self._path = _path_of(url)
        self._lock = FileLock(self._path, patience)
        self._engine = _make_engine(url, busy_timeout)
        self._connection: Connection | None = None
        _stores.add(self)
        self._file: tuple[int, int] | None = None  # device and inode of what is open

    def open(self) -> None:
        if self._connection is not None:
            return
        folder = self._path.parent
        if not folder.is_dir():
            raise StoreError(f"the folder {str(folder)!r} does not exist: make it, or name a file in another one")
        if self._path.is_dir():
            raise StoreError(f"{self._path} cannot be opened: unable to open database file, it is a folder")
        with self._says("cannot be opened"):
            self._lock.acquire()
            try:
                self._connection = self._unless_damaged(self._connect)
            except BaseException:
                self._lock.release()
                raise

    def _unless_damaged(self, function: Callable[[], _R]) -> _R:
        """Call a function; if the file is damaged and may be moved, do that and call it again."""
        try:
            return function()
        except (DatabaseError, StoreDamaged) as error:
            if self._damaged == "refuse" or not _is_damage(error):
                raise
            if self._connection is None:
                self._move_aside(error)
            else:
                self._connection.close()
                self._move_aside(error)
                self._connection = self._connect()
            return function()

    def _move_aside(self, error: DatabaseError | StoreDamaged) -> None:
        """Give the file another name, so that a new one can take its place."""
        path = os.path.realpath(self._path)
        end = first = time.strftime(".damaged-%Y%m%d-%H%M%S")
        number = 1
        while os.path.lexists(f"{path}{end}"):
            number += 1
            end = f"{first}-{number}"
        for name in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{name}", f"{path}{end}{name}")
        reason = _reason(error) if isinstance(error, DBAPIError) else str(error)
        logger.error("%s cannot be used: %s; it is %s%s now, and a new one begins", self._path, reason, path, end)

    def _connect(self) -> Connection:
        """Connect to the file, which is made if it is not there, and bring it to the newest schema."""
        self._check_kind()
        connection = self._engine.connect()
        try:
            with connection.begin():
                upgrade(connection, str(self._path))
            # What is in the log beside the file only would be missed by whoever copies the file.
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
            self._file = _identity(self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def load(self) -> Snapshot:
        with self._says("cannot be read"):
            return self._unless_damaged(self._load)

    def _load(self) -> Snapshot:
        with self._transaction() as connection:
            raw: Any = connection.connection.dbapi_connection
            raw.text_factory = _text_or_bytes
            try:
                bad: list[_Bad] = []
                known = _read(connection, devices, device_of, bad)
                waiting = _read(connection, messages, message_of, bad, [messages.c.device_id, messages.c.number])
            finally:
                raw.text_factory = str
            _set_aside(connection, bad)
        self._tell(bad)
        return Snapshot(tuple(known), tuple(waiting))

    def set_aside(self, records: Sequence[tuple[DeviceRecord | MessageRecord, str]]) -> None:
        bad = []
        with self._says("cannot be written"), self._transaction() as connection:
            for record, why in records:
                if isinstance(record, DeviceRecord):
                    table, key, row = devices, devices.c.id == record.id, row_of(record)
                else:
                    key = (messages.c.device_id == record.device_id) & (messages.c.number == record.number)
                    table, row = messages, {column.name: getattr(record, column.name) for column in messages.c}
                number = connection.execute(select(_ROWID).select_from(table).where(key)).scalar()
                bad.append(_Bad(table, number, row, why))
            _set_aside(connection, bad)
        self._tell(bad)

    def backup(self, path: str, *, force: bool = False, progress: Callable[[int, int], None] | None = None) -> None:
        copy_file(self._path, Path(path).absolute(), force=force, progress=progress)

    def _tell(self, bad: list[_Bad]) -> None:
        for one in bad[:_MOST_NAMED]:
            logger.error(
                "%s: a row of %s cannot be used and is kept in the table %s: device %s, %s",
                self._path,
                one.table.name,
                _SET_ASIDE,
                shown(one.row["id" if one.table is devices else "device_id"]),
                one.why,
            )
        if len(bad) > _MOST_NAMED:
            logger.error("%s: and %d rows more", self._path, len(bad) - _MOST_NAMED)

    def commit(self, changes: Sequence[Change]) -> None:
        self._lock.tell_written()
        try:
            with self._says("cannot be written"), self._transaction() as connection:
                for kind, group in groupby(changes, type):
                    _WRITERS[kind](connection, list(group))
        except StoreError as error:
            self._check_file(error)
            raise
        self._check_file()

    def replace(self, snapshot: Snapshot) -> None:
        with self._says("cannot be written"), self._transaction() as connection:
            connection.execute(delete(messages))
            connection.execute(delete(devices))
            _put_devices(connection, [PutDevice(record) for record in snapshot.devices])
            _put_messages(connection, [PutMessage(record) for record in snapshot.messages])

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._engine.dispose()
        self._lock.release()

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
            raise StoreError(f"{self._path} is not open")
        if self._connection.closed:  # by a Run that should not
            self._connection = self._engine.connect()
        with self._connection.begin():
            yield self._connection

    @contextmanager
    def _says(self, what: str) -> Iterator[None]:
        """Turn the errors of database and file within the block into a StoreError.

        Errors about values (DataError, IntegrityError, ProgrammingError) are raised as they are.

        Args:
            what: what could not be done, for the text of the error.
        """
        try:
            yield
        except (DataError, IntegrityError, ProgrammingError):
            raise
        except StoreDamaged as error:
            raise StoreDamaged(f"{self._path} {what}: {error}; {_WHAT_THEN}") from error
        except DatabaseError as error:
            if _is_damage(error):
                raise StoreDamaged(f"{self._path} {what}: {_reason(error)}; {_WHAT_THEN}") from error
            raise StoreError(f"{self._path} {what}: {_reason(error)}") from error
        except OSError as error:
            raise StoreError(f"{self._path} {what}: {error.strerror}") from error

    def _check_kind(self) -> None:
        """Refuse a file that is no database. SQLite takes a very short one for an empty database."""
        with suppress(FileNotFoundError, IsADirectoryError), open(self._path, "rb") as file:
            if file.read(len(_HEAD)) not in (_HEAD, b""):
                raise StoreDamaged(_NO_DATABASE)

    def _check_file(self, error: StoreError | None = None) -> None:
        """Raise an error if the file was deleted or moved away. SQLite would go on to write to it, out of sight."""
        try:
            there = _identity(self._path)
        except FileNotFoundError:
            there = None
        except OSError:
            return  # who knows; what can be written counts
        if there != self._file:
            raise StoreLost(f"{self._path} was deleted or replaced while it was open") from error


_stores: WeakSet[SqlStore] = WeakSet()


def _abandon_all() -> None:
    for store in list(_stores):
        store._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


def _path_of(url: str) -> Path:
    try:
        name = make_url(url).database
    except ArgumentError:
        name = None
    if not name or name == ":memory:" or name.startswith("file:"):
        raise StoreError(f"{url!r} names no file: write sqlite:///iotio.db, with the name of your file")
    return Path(name).absolute()


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _make_engine(url: str, busy_timeout: float) -> Engine:
    engine = create_engine(
        url,
        poolclass=NullPool,
        connect_args={"timeout": busy_timeout, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(raw: sqlite3.Connection, _: object) -> None:
        raw.isolation_level = None  # sqlite3 would begin transactions by its own rules
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", f"journal_size_limit={_MAX_WAL}"):
                raw.execute(f"PRAGMA {pragma}").close()
        except sqlite3.Error:
            raw.close()  # nobody else does
            raise

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # At once for writing: a transaction that began by reading is refused, without any waiting, if another
        # process has written since.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


_ADVICE = {
    "file is not a database": _NO_DATABASE,
    "database is locked": "another process has locked it",
}


def _reason(error: DBAPIError) -> str:
    text = str(error.orig)
    return _ADVICE.get(text, text)


_TROUBLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


def _is_trouble(error: DBAPIError) -> bool:
    """Return whether the database is to blame for an error, and not the statement."""
    code: int = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF in _TROUBLE  # the higher bits tell more


_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _is_damage(error: DatabaseError | StoreDamaged) -> bool:
    """Return whether trying again cannot help: the file is wrong, and not the disk or another program."""
    if isinstance(error, StoreDamaged):
        return True
    code: int = getattr(error.orig, "sqlite_errorcode", 0)
    return code & 0xFF in _DAMAGE or _NO_OBJECT.search(str(error.orig)) is not None


def _in_transaction(connection: Connection) -> bool:
    raw: Any = connection.connection.dbapi_connection
    return bool(raw.in_transaction)


# Reading, and rows that cannot be read.

_ROWID: ColumnElement[int] = literal_column("rowid")


class _Bad(NamedTuple):
    """A row that is to be set aside."""

    table: Table
    number: int | None
    row: Mapping[str, Any]
    why: str


def _text_or_bytes(data: bytes) -> str | bytes:
    """Decode text; sqlite3 would not give the whole row if it cannot be."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _read(
    connection: Connection,
    table: Table,
    record_of: Callable[[Mapping[str, Any]], _R],
    bad: list[_Bad],
    order: Sequence[ColumnElement[Any]] = (),
) -> list[_R]:
    """Read the records of a table, and collect the rows that have none."""
    found = []
    # Without the types of the columns: SQLAlchemy would try to convert what the table should not hold.
    columns: list[ColumnElement[Any]] = [
        literal_column(f"{table.name}.{column.name}").label(column.name) for column in table.c
    ]
    for number, *values in connection.execute(select(_ROWID, *columns).select_from(table).order_by(*order)):
        row = dict(zip(table.c.keys(), values, strict=True))
        try:
            found.append(record_of(row))
        except DamagedRow as damage:
            bad.append(_Bad(table, number, row, str(damage)))
    return found


def _set_aside(connection: Connection, bad: list[_Bad]) -> None:
    """Move rows to a table of their own, which is made for the first one."""
    if not bad:
        return
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {_SET_ASIDE} (time FLOAT NOT NULL, origin TEXT NOT NULL, why TEXT NOT NULL,"
        " content TEXT NOT NULL)"
    )
    for one in bad:
        connection.exec_driver_sql(
            f"INSERT INTO {_SET_ASIDE} VALUES (?, ?, ?, ?)", (time.time(), one.table.name, one.why, describe(one.row))
        )
        connection.exec_driver_sql(f"DELETE FROM {one.table.name} WHERE rowid = ?", (one.number,))


# Statements. All of one kind in a row are written by one call.


class _Statement:
    """A statement for many rows, compiled once: by SQLAlchemy's `execute` each row costs about twice what it does here.

    Args:
        statement: with a parameter for each value.
        pick: `itemgetter` for rows that are dictionaries, `attrgetter` for records.
    """

    def __init__(self, statement: Any, pick: Callable[..., Callable[[Any], Any]] = itemgetter) -> None:
        compiled = statement.compile(dialect=dialect())
        self._sql = str(compiled)
        names = compiled.positiontup
        values = pick(*names)
        self._values = values if len(names) > 1 else lambda row: (values(row),)

    def run(self, connection: Connection, rows: Iterable[Any]) -> None:
        """Execute the statement for each row, which has the values of the parameters under their names."""
        values = list(map(self._values, rows))
        if values:
            connection.exec_driver_sql(self._sql, values)


def _put_device_statement() -> Any:
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


def _put_message_statement() -> Any:
    new = insert(messages)
    changed = {column.name: new.excluded[column.name] for column in messages.c if not column.primary_key}
    return new.on_conflict_do_update(index_elements=["device_id", "number"], set_=changed)


_PUT_DEVICE = _Statement(_put_device_statement())
_PUT_MESSAGE = _Statement(_put_message_statement(), attrgetter)
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
    _DROP_DEVICE.run(connection, rows)


def _drop_messages(connection: Connection, changes: list[DropMessages]) -> None:
    rows = [{"_id": change.device_id, "_number": number} for change in changes for number in change.numbers]
    _DROP_MESSAGE.run(connection, rows)


def _heard(connection: Connection, changes: list[Heard]) -> None:
    rows = [{"_id": change.device_id, "_stream": change.stream, "_number": change.number} for change in changes]
    _HEARD.run(connection, rows)


def _run(connection: Connection, changes: list[Run]) -> None:
    for change in changes:
        try:
            change.function(connection)
        except DBAPIError as error:
            if _is_trouble(error):
                raise
            raise RuntimeError(f"what {change.function!r} wrote was refused: {_reason(error)}") from error
        # SQLite has rolled back by itself if the disk was full; what follows would be outside of any transaction.
        if not _in_transaction(connection):
            raise RuntimeError(f"{change.function!r} has ended the transaction, or hidden an error that did")


_WRITERS: dict[type[Change], Callable[[Connection, list[Any]], None]] = {
    PutDevice: _put_devices,
    DropDevice: _drop_devices,
    PutMessage: _put_messages,
    DropMessages: _drop_messages,
    Heard: _heard,
    Run: _run,
}
