"""A database of PostgreSQL, as `SqlStore` uses it, by psycopg.

One program at a time uses it: the connection that writes has an advisory lock, which ends with it. A connection that
was lost is made anew. Another program may have had the database meanwhile, so it holds a word that each program that
opens it makes up anew: where that is not its own any more, a program writes nothing until it is started again.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    literal_column,
    select,
    text,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.pool import NullPool

from iotio.core.storage.contract import StoreError
from iotio_protocol.logs import get_logger

from .database import Database
from .holder import Holder, may_share

__all__ = ["PostgresDatabase", "connect_args"]

logger = get_logger("iotio.store")

_PATIENCE = 5.0  # seconds to wait for a server that ends, as when gunicorn starts the next worker before
_PAUSE = 0.05  # seconds between two tries
_TIMEOUTS = {
    "connect_timeout": "5",  # seconds
    # A server that does not answer is noticed within half a minute, where the system would wait for 2 hours.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",  # milliseconds
}
_MOST_HOST = 32  # characters of a host's name: PostgreSQL cuts application_name at 63 bytes

_owner = Table("iotio_owner", MetaData(), Column("token", Text, nullable=False))

_KEY = "1768911977, hashtext(coalesce(current_schema(), ''))"  # "ioti", and a number for each schema
_LOCK = text(f"SELECT pg_try_advisory_lock({_KEY})")
_HOLDER = text(
    "SELECT a.pid, a.backend_start::text, a.application_name, host(a.client_addr)"
    " FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = 1768911977"
    " AND l.objid = hashtext(coalesce(current_schema(), ''))::oid"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_SESSION = text("SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()")
# What commits is to be on the disk, also where the server is set up to tell so before.
_DURABLE = text(
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)

_held: set[int] = set()  # this process, and those that it was forked from, if they ever had a lock


class _Session(NamedTuple):
    """A connection, as the server knows it: the number alone may be given again."""

    process: int
    began: str


_used: set[_Session] = set()  # those of this process that are open; the server may not know yet that others are not


class _Locker(NamedTuple):
    """Who has the lock."""

    session: _Session
    application: str
    address: str | None

    @property
    def holder(self) -> Holder:
        found = _APPLICATION.fullmatch(self.application)
        if found is None:
            return Holder()
        host = platform.node() if found[3] == _host() else found[3]
        return Holder(int(found[1]), host, found[2] == "writes")

    def __str__(self) -> str:
        holder = self.holder
        who = str(holder) if holder.process else f"{self.application or 'a program'!r}"
        # None for a Unix socket, and where it is not for this user to know.
        where = f", from {self.address}" if self.address else ""
        return f"{who} (connection {self.session.process}{where})"


class PostgresDatabase(Database):
    """See the module.

    Args:
        url: such as postgresql://user@host/database, with what psycopg takes behind a question mark.
        patience: seconds that the first `connect` waits for another program to give the database back.

    Raises:
        StoreError: the URL is none, or psycopg is missing.
    """

    row_id = literal_column("ctid::text")
    after_damage = "restore a backup, or name another database"

    def __init__(self, url: str, *, patience: float = _PATIENCE) -> None:
        self._url = _parsed(url)
        self.name = _shown(self._url)
        self._patience = patience
        self._engine = self._make_engine()
        self._session: _Session | None = None  # that had the lock last
        self._token = ""  # what `iotio_owner` holds as long as no other program has opened it
        self._lost = ""  # why nothing may be written any more
        self._has_told = False  # that this program has written

    def connect(self) -> Connection:
        if self._lost:
            raise StoreError(self._lost)
        connection = self._open()
        try:
            self._acquire(connection)
            with connection.begin():
                connection.execute(_DURABLE)
                if self._token and connection.execute(select(_owner.c.token)).scalar() != self._token:
                    self._lose("another program has opened it")
        except BaseException:
            connection.close()
            raise
        self._has_told = False
        return connection

    def connected(self, connection: Connection) -> None:
        self._token = secrets.token_hex(8)
        with connection.begin():
            _owner.create(connection, checkfirst=True)
            connection.execute(_owner.delete())
            connection.execute(_owner.insert(), {"token": self._token})

    def release(self) -> None:
        self._use(None)
        self._token, self._lost = "", ""

    def begin_write(self, connection: Connection) -> None:
        if not self._has_told:  # it is undone with the transaction
            connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": _name("writes")})

    def check(self, error: StoreError | None = None) -> None:
        self._has_told = self._has_told or error is None

    def is_trouble(self, error: DBAPIError) -> bool:
        state = _state(error)
        return error.connection_invalidated or state[:2] in _TROUBLE or state == _READ_ONLY

    def is_damage(self, error: DBAPIError) -> bool:
        state = _state(error)
        return state in _DAMAGE or (state in _MISSING and "iotio_" in str(error.orig))

    def is_refusal(self, error: DBAPIError) -> bool:
        if isinstance(error, ProgrammingError):
            return not _state(error)  # psycopg's own: a value of a type that it does not know
        return isinstance(error, (DataError, IntegrityError))

    def reason(self, error: DBAPIError) -> str:
        return _reason(str(error.orig))

    def in_transaction(self, connection: Connection) -> bool:
        raw: Any = connection.connection.dbapi_connection
        return bool(raw.info.transaction_status.name == "INTRANS")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._open() as connection:
            yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def backup(self, path: str, *, force: bool, progress: Callable[[int, int], None] | None) -> None:
        raise StoreError(f"{self.name} is copied by pg_dump, the tool of PostgreSQL, or by iotio export")

    def _open(self) -> Connection:
        try:
            return self._engine.connect()
        except ProgrammingError as error:  # psycopg does not know what the URL says
            raise StoreError(f"{self.name} cannot be opened: {self.reason(error)}") from error

    # The lock.

    def _acquire(self, connection: Connection) -> None:
        """Take the lock, unless this process shares that of its parent."""
        # Anew, only a connection of ours is waited for.
        deadline = time.monotonic() + (_PATIENCE if self._token else self._patience)
        waits = False
        while not self._try(connection):
            locker = _locker(connection)
            is_ours = locker is not None and locker.holder.is_this
            if locker is not None and locker.session == self._session:
                _end(connection, locker.session)
            elif locker is not None:
                if may_share(self.name, locker.holder, _held):
                    return
                self._check_locker(locker)
            who = locker or "another program"
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"{self.name} is in use by {who}: one program at a time may have it;"
                    " end the other one, or name another database"
                )
            if not waits and not is_ours:
                waits = True
                logger.warning("%s is in use by %s; waiting %g s for it to end", self.name, who, self._patience)
            time.sleep(_PAUSE)

    def _check_locker(self, locker: _Locker) -> None:
        """Refuse to wait for a program that will not end for this one."""
        if locker.session in _used:
            raise StoreError(
                f"{self.name} is open in this program already: close() the other IoTManager first, or make one only"
            )
        if self._token and not locker.holder.is_this:
            self._lose(f"{locker} has opened it")

    def _try(self, connection: Connection) -> bool:
        with connection.begin():
            if not connection.execute(_LOCK).scalar():
                return False
            self._use(_Session(*connection.execute(_SESSION).one()))
        _held.add(os.getpid())
        return True

    def _use(self, session: _Session | None) -> None:
        if self._session is not None:
            _used.discard(self._session)
        if session is not None:
            _used.add(session)
        self._session = session

    def _lose(self, why: str) -> None:
        self._lost = (
            f"{self.name} is not written any more: {why} while the connection was lost; end one of the two programs,"
            " and start the other one again"
        )
        raise StoreError(self._lost)

    def _make_engine(self) -> Engine:
        try:
            engine = create_engine(self._url, poolclass=NullPool, connect_args=connect_args(self._url))
        except ImportError as error:
            raise StoreError(
                f"PostgreSQL needs psycopg: pip install 'iotio[postgres]' ({_one_line(str(error))})"
            ) from error

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # psycopg begins with the first statement. Had none come, `in_transaction` would take it for ended.
            connection.exec_driver_sql("SELECT 1")

        return engine


def connect_args(url: URL) -> dict[str, str]:
    """Return what a connection to this URL is made with, beside what the URL says itself."""
    given = {name: value for name, value in _TIMEOUTS.items() if name not in url.query}
    return {**given, "application_name": _name("waits")}


def _locker(connection: Connection) -> _Locker | None:
    with connection.begin():
        row = connection.execute(_HOLDER).first()
    return None if row is None else _Locker(_Session(row[0], row[1]), row[2] or "", row[3])


def _end(connection: Connection, session: _Session) -> None:
    """End a connection of ours, of before: the server has not noticed yet that nobody is there any more."""
    with connection.begin():
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": session.process})


_APPLICATION = re.compile(r"iotio (\d+) (waits|writes) (.+)")


def _name(what: str) -> str:
    """Return what `pg_stat_activity` shows of this program; what a `Holder` is made of."""
    return f"iotio {os.getpid()} {what} {_host()}"


def _host() -> str:
    return platform.node().encode("ascii", "replace").decode()[:_MOST_HOST] or "unknown"


# The URL.


def _parsed(url: str) -> URL:
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        found = None
    if found is None or not found.database:
        raise StoreError("the URL names no database: write postgresql://user@host/database, with names of yours")
    return found.set(drivername="postgresql+psycopg")


def _shown(url: URL) -> str:
    """Return the URL without a password, wherever that is."""
    host = url.host or url.query.get("host", "")
    host = host if isinstance(host, str) else ",".join(host)
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{user}{host}{port}/{url.database}"


# Errors.

_READ_ONLY = "25006"  # a standby, or a database that is set so
# Classes of SQLSTATE: connection, rollback of the database's own, resources, object in use, operator, system.
_TROUBLE = {"08", "40", "53", "55", "57", "58"}
_DAMAGE = {"XX001", "XX002"}  # the disk gives something else than was written
_MISSING = {"42P01", "42703", "42P07"}  # a table or column is not there, or is there where none should be

_ADVICE = (
    ("password", "check user and password, as in postgresql://user:password@host/database, or ~/.pgpass"),
    ("database .* does not exist", "make it, for instance with createdb, or name another one"),
    ("role .* does not exist", "make it, for instance with createuser, or name another user"),
    ("pg_hba", "let this user in there, or name another one"),
    ("resolve host|translate host", "check the host in the URL"),
    ("refused|timeout|No such file", "see whether PostgreSQL runs there, and whether the port is right"),
    ("permission denied", "the user has to own the tables, and to have CREATE on the schema"),
    ("read-only", "name the primary server, which can be written"),
)


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _reason(text: str) -> str:
    """Return what psycopg says in one line, without how it came to say it, and what to do."""
    words = _one_line(text).rpartition(" failed: ")[2].removeprefix("FATAL: ").strip()
    advice = next((advice for pattern, advice in _ADVICE if re.search(pattern, words)), "")
    return f"{words}; {advice}" if advice else words


def _one_line(text: str) -> str:
    return text.strip().partition("\n")[0]
