"""A file of SQLite, as `SqlStore` uses it.

SQLite runs in WAL mode with `synchronous=FULL`: a commit is on the disk before it returns. NORMAL would leave the last
commits to the operating system; they survive SIGKILL, but a power cut, the common end of a small machine, would take
back messages that were promised. FULL costs one fsync for a whole batch of changes, not for each: bench/store.py shows
that 5 000 a second and more pass.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event, literal_column
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.pool import NullPool

from iotio.core.storage.contract import StoreDamaged, StoreError, StoreLost
from iotio_protocol.logs import get_logger

from .backup import copy_file, open_moment
from .database import Database
from .file_lock import FileLock

__all__ = ["Damaged", "SqliteDatabase"]

Damaged = Literal["refuse", "set_aside"]

logger = get_logger("iotio.store")

_BUSY = 1.0  # seconds that SQLite waits for another process's lock; the store writer tries again
_PATIENCE = 5.0  # seconds to wait for a server that ends, as when gunicorn starts the next worker before
_MAX_WAL = 16 * 1024 * 1024  # bytes that the write-ahead log keeps after a burst
_HEAD = b"SQLite format 3\0"
_NO_DATABASE = "file is not a database; name another file"

_NO_OBJECT = re.compile(r"no such (table|column): iotio_|table iotio_\w+ already exists|has no column named")


class SqliteDatabase(Database):
    """See the module.

    Args:
        url: as SQLAlchemy takes it, such as sqlite:///iotio.db.
        busy_timeout: seconds that one commit waits for a lock of another process.
        patience: seconds that `connect` waits for another program to give the file back.
        damaged: what becomes of a file that cannot be read: "refuse" raises `StoreDamaged`, "set_aside" gives it
            another name, and begins anew.

    Raises:
        StoreError: the URL names no file.
    """

    row_id = literal_column("rowid")
    after_damage = (
        'restore a backup, or begin anew with IoTManager(..., damaged="set_aside"), which keeps this file beside'
    )

    def __init__(
        self, url: str, *, busy_timeout: float = _BUSY, patience: float = _PATIENCE, damaged: Damaged = "refuse"
    ) -> None:
        self.replaces_damaged = damaged == "set_aside"
        self._path = _path_of(url)
        self.name = str(self._path)
        self._lock = FileLock(self._path, patience)
        self._is_locked = False
        self._engine = _make_engine(url, busy_timeout)
        # A new connection each time: after the file was replaced, or the process was forked, an old one would be wrong.
        self._reader = create_engine("sqlite://", creator=lambda: open_moment(self._path), poolclass=NullPool)
        self._file: tuple[int, int] | None = None  # device and inode of what is open

    def connect(self) -> Connection:
        if not self._is_locked:
            folder = self._path.parent
            if not folder.is_dir():
                raise StoreError(f"the folder {str(folder)!r} does not exist: make it, or name a file in another one")
            if self._path.is_dir():
                raise StoreError(f"{self._path} cannot be opened: unable to open database file, it is a folder")
            self._lock.acquire()
            self._is_locked = True
        self._check_kind()
        return self._engine.connect()

    def connected(self, connection: Connection) -> None:
        # What is in the log beside the file only would be missed by whoever copies the file.
        connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        self._file = _identity(self._path)

    def release(self) -> None:
        self._engine.dispose()
        self._is_locked = False
        self._lock.release()

    def begin_write(self, connection: Connection) -> None:
        self._lock.tell_written()

    def check(self, error: StoreError | None = None) -> None:
        """Raise an error if the file was deleted or moved away. SQLite would go on to write to it, out of sight."""
        try:
            there = _identity(self._path)
        except FileNotFoundError:
            there = None
        except OSError:
            return  # who knows; what can be written counts
        if there != self._file:
            raise StoreLost(f"{self._path} was deleted or replaced while it was open") from error

    def is_trouble(self, error: DBAPIError) -> bool:
        code: int = getattr(error.orig, "sqlite_errorcode", 0)
        return code & 0xFF in _TROUBLE  # the higher bits tell more

    def is_damage(self, error: DBAPIError) -> bool:
        code: int = getattr(error.orig, "sqlite_errorcode", 0)
        return code & 0xFF in _DAMAGE or _NO_OBJECT.search(str(error.orig)) is not None

    def is_refusal(self, error: DBAPIError) -> bool:
        return isinstance(error, _REFUSALS) or not isinstance(error, DatabaseError)

    def reason(self, error: DBAPIError) -> str:
        text = str(error.orig)
        return _ADVICE.get(text, text)

    def in_transaction(self, connection: Connection) -> bool:
        raw: Any = connection.connection.dbapi_connection
        return bool(raw.in_transaction)

    @contextmanager
    def reads_anything(self, connection: Connection) -> Iterator[None]:
        """Have text that cannot be decoded read as bytes; sqlite3 would not give the whole row."""
        raw: Any = connection.connection.dbapi_connection
        raw.text_factory = _text_or_bytes
        try:
            yield
        finally:
            raw.text_factory = str

    def move_aside(self, reason: str) -> None:
        path = os.path.realpath(self._path)
        end = first = time.strftime(".damaged-%Y%m%d-%H%M%S")
        number = 1
        while os.path.lexists(f"{path}{end}"):
            number += 1
            end = f"{first}-{number}"
        for name in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{name}", f"{path}{end}{name}")
        logger.error("%s cannot be used: %s; it is %s%s now, and a new one begins", self._path, reason, path, end)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        if not self._path.is_file():
            raise StoreError(f"there is no store {str(self._path)!r}")
        connection = self._reader.connect()
        try:
            raw: Any = connection.connection.dbapi_connection
            if not raw.in_transaction:  # SQLAlchemy has ended that of its first connection
                raw.execute("BEGIN").close()
                raw.execute("SELECT count(*) FROM sqlite_schema").close()
            yield connection
        finally:
            connection.close()

    def is_file(self, path: Path) -> bool:
        return path.exists() and self._path.exists() and path.samefile(self._path)

    def backup(self, path: str, *, force: bool, progress: Callable[[int, int], None] | None) -> None:
        copy_file(self._path, Path(path).absolute(), force=force, progress=progress)

    def _check_kind(self) -> None:
        """Refuse a file that is no database. SQLite takes a very short one for an empty database."""
        with suppress(FileNotFoundError, IsADirectoryError), open(self._path, "rb") as file:
            if file.read(len(_HEAD)) not in (_HEAD, b""):
                raise StoreDamaged(_NO_DATABASE)


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
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REFUSALS = (DataError, IntegrityError, ProgrammingError)


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
