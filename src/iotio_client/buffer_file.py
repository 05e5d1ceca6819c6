"""The file that keeps durable messages of a device: an SQLite database, which a cut of the power leaves whole."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from iotio_protocol import v2
from iotio_protocol.errors import IoTError
from iotio_protocol.logs import get_logger
from iotio_protocol.stream import Incoming, Outgoing

from .errors import BufferDamaged, BufferFailed
from .message import Effect, Kept

__all__ = ["Transaction", "open_file"]

logger = get_logger("iotio.client")

_VERSION = 1
_WRONG_USE = frozenset(
    {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE}
    | {sqlite3.SQLITE_RANGE, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_AUTH}
)
"""What the file is not to blame for: an effect would fail again and again."""
_TABLES = """
CREATE TABLE stream (name TEXT NOT NULL, counter INTEGER NOT NULL, heard_stream TEXT, heard INTEGER NOT NULL);
CREATE TABLE message (number INTEGER PRIMARY KEY, event TEXT NOT NULL, kind INTEGER NOT NULL, body BLOB NOT NULL,
                      time INTEGER NOT NULL);
"""
_OWN_NAME = re.compile("[0-9a-f]{16}")  # as `Buffer` makes it
_SET_ASIDE = "iotio_set_aside"
_HEAD = b"SQLite format 3\0"
_NO_DATABASE = "file is not a database"
_WHAT_THEN = 'name another file, or begin anew with Buffer(..., damaged="set_aside"), which keeps this file beside'
_DAMAGE = _WRONG_USE | {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
"""What the file is to blame for while it is opened: the statements are right."""
_MOST_NAMED = 10  # rows that are set aside, in the log; the table has all
_MOST_SHOWN = 100  # characters of a value that the log shows

Opened = tuple[sqlite3.Connection, Outgoing[Kept], Incoming]


def open_file(path: str | Path, name: str, patience: float, damaged: str) -> Opened:
    """Open or make a file.

    Args:
        path: its path.
        name: of the stream to the server, if a new one begins.
        patience: seconds to wait for a file that another program has locked.
        damaged: see `Buffer`.

    Returns:
        The open file, and what it keeps to the server and from the server.

    Raises:
        BufferDamaged: the file is damaged, or not a buffer's.
        BufferFailed: the file cannot be used; the text says why.
    """
    try:
        return _connect(path, name, patience)
    except BufferDamaged as error:
        if damaged == "refuse":
            raise BufferDamaged(f"the buffer file {path} cannot be used: {error}; {_WHAT_THEN}") from error
        _move_aside(path, error)
    try:
        return _connect(path, name, patience)
    except BufferDamaged as error:
        raise BufferFailed(f"the buffer file {path} cannot be used, though it is new: {error}") from error


def _connect(path: str | Path, name: str, patience: float) -> Opened:
    _check_kind(path)
    try:
        file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=patience)
    except sqlite3.Error as error:
        raise BufferFailed(f"the buffer file {path} cannot be opened: {error}; does its folder exist?") from error
    try:
        file.text_factory = _text_or_bytes
        is_new = _check_tables(file, path)  # before the first change: it may be another program's
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = FULL")  # a device is switched off by its plug
        if is_new:
            first = f"INSERT INTO stream VALUES ('{name}', 0, NULL, 0)"
            file.executescript(f"BEGIN; {_TABLES} {first}; PRAGMA user_version = {_VERSION}; COMMIT;")
        outgoing, incoming = _load(file, path, name)
        file.text_factory = str
    except (sqlite3.Error, UnicodeError) as error:  # sqlite3 decodes what SQLite says of names in the file
        file.close()
        if isinstance(error, UnicodeError) or _code(error) in _DAMAGE:
            raise BufferDamaged(str(error)) from error
        raise BufferFailed(f"the buffer file {path} cannot be used: {error}") from error
    except BaseException:
        file.close()
        raise
    return file, outgoing, incoming


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    return code & 0xFF  # the higher bits tell more


class Transaction:
    """All that is written in it, or nothing.

    Args:
        file: an open file.
    """

    def __init__(self, file: sqlite3.Connection) -> None:
        self._file = file

    def __enter__(self) -> Self:
        if self._file.in_transaction:
            raise RuntimeError("within a transaction of the buffer nothing can be sent as durable")
        try:
            self._file.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise BufferFailed(f"the buffer file cannot be written: {error}") from error
        return self

    def execute(self, statement: str, values: Sequence[object]) -> None:
        """Run one statement."""
        self._file.execute(statement, values)

    def run(self, effect: Effect) -> None:
        """Run what a handler wants done.

        Raises:
            RuntimeError: the effect does what SQLite never allows.
            Exception: of the effect.
        """
        try:
            effect(self._file)
        except sqlite3.Error as error:
            if _code(error) in _WRONG_USE:
                raise RuntimeError(f"a transaction of a handler is wrong: {error}") from error
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._file.execute("ROLLBACK" if error is not None else "COMMIT")
        except sqlite3.Error as failure:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise BufferFailed(f"the buffer file cannot be written: {failure}") from failure
        if isinstance(error, sqlite3.Error):
            raise BufferFailed(f"the buffer file cannot be written: {error}") from error


# Files that are damaged.


def _check_kind(path: str | Path) -> None:
    """Refuse a file that is no database. SQLite takes a very short one for an empty database."""
    try:
        with suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError), open(path, "rb") as file:
            if file.read(len(_HEAD)) not in (_HEAD, b""):
                raise BufferDamaged(_NO_DATABASE)
    except OSError as error:
        raise BufferFailed(f"the buffer file {path} cannot be opened: {error.strerror}") from error


def _move_aside(path: str | Path, error: BufferDamaged) -> None:
    """Give the file another name, so that a new one can take its place."""
    real = os.path.realpath(path)
    end = first = time.strftime(".damaged-%Y%m%d-%H%M%S")
    number = 1
    while os.path.lexists(f"{real}{end}"):
        number += 1
        end = f"{first}-{number}"
    try:
        for name in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{real}{name}", f"{real}{end}{name}")
    except OSError as failure:
        raise BufferFailed(
            f"the buffer file {path} cannot be used: {error}; nor can it be set aside: {failure.strerror}"
        ) from failure
    logger.error("the buffer file %s cannot be used: %s; it is %s%s now, and a new one begins", path, error, real, end)


def _check_tables(file: sqlite3.Connection, path: str | Path) -> bool:
    """Return whether the tables are still to be made; those of a program may be there already."""
    (version,) = file.execute("PRAGMA user_version").fetchone()
    found = _columns(file)
    if version > _VERSION and all(found):
        raise BufferFailed(f"the buffer file {path} was written by a newer iotio: install that, or use another file")
    if not version and not any(found):
        return True
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(_TABLES)
        if found != _columns(model):
            raise BufferDamaged("its tables are not those of a buffer")
    return False


def _columns(file: sqlite3.Connection) -> list[list[Any]]:
    return [file.execute(f"PRAGMA table_info({table})").fetchall() for table in ("stream", "message")]


# Rows that are damaged: SQLite takes any kind of value in any column.


class _Bad(NamedTuple):
    """A row that is to be set aside."""

    table: str
    row: Mapping[str, Any]
    why: str


_Checks = Mapping[str, tuple[Callable[[Any], bool], str]]


def _is_whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and least <= value <= most


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_stream(value: Any) -> bool:
    try:
        v2.read_stream(value)
    except IoTError:
        return False
    return True


_SENDS: _Checks = {
    "name": (lambda value: _is_text(value) and _OWN_NAME.fullmatch(value) is not None, "a name of a stream"),
    "counter": (_is_whole(0, v2.MAX_NUMBER), "a number of a message"),
}
_HEARS: _Checks = {
    "heard_stream": (_is_stream, "a name of a stream"),
    "heard": (_is_whole(0, v2.MAX_HEARD), "a number of a message"),
}
_MESSAGE: _Checks = {
    "number": (_is_whole(1, v2.MAX_NUMBER), "a number of a message"),
    "event": (_is_text, "text"),
    "kind": (_is_whole(0, v2.NULL), "a type of a value"),
    "body": (lambda value: isinstance(value, bytes), "bytes"),
    "time": (_is_whole(0, v2.MAX_TIME), "a time"),
}


def _load(file: sqlite3.Connection, path: str | Path, name: str) -> tuple[Outgoing[Kept], Incoming]:
    """Read all that is kept, and set aside what cannot be."""
    bad: list[_Bad] = []
    waiting: list[tuple[int, Kept]] = []
    for row in _rows(file, "SELECT * FROM message ORDER BY number"):
        why = _wrong(row, _MESSAGE) or _wrong_value(row["event"], row["kind"], row["body"])
        if why:
            bad.append(_Bad("message", row, why))
        else:
            waiting.append((row.pop("number"), Kept(**row)))
    streams = _rows(file, "SELECT * FROM stream")
    outgoing: Outgoing[Kept] | None = None
    incoming = Incoming()
    if len(streams) == 1:
        row = streams[0]
        sends, hears = _wrong(row, _SENDS), _wrong(row, _HEARS)
        last = waiting[-1][0] if waiting else 0
        if not sends and row["counter"] < last:
            sends = f"counter is {row['counter']}, but message {last} waits"
        if not sends:
            outgoing = Outgoing(row["name"], row["counter"])
        if not hears:
            incoming = Incoming(row["heard_stream"], row["heard"])
        if sends or hears:
            bad.append(_Bad("stream", row, sends or hears))
    else:
        bad += [_Bad("stream", row, f"it is one of {len(streams)}, not the only one") for row in streams]
        if not streams:
            logger.error("%s: the row of stream is gone; a new stream begins", path)
    renamed = outgoing is None
    if outgoing is None:
        # The server would take a lower number under the old name for a repetition.
        outgoing = Outgoing(name)
        waiting = [(number, kept) for number, (_, kept) in enumerate(waiting, 1)]
    for number, kept in waiting:
        outgoing.restore(number, kept)
    if bad or renamed:
        _mend(file, bad, outgoing, incoming)
        _tell(bad, path)
    return outgoing, incoming


def _rows(file: sqlite3.Connection, query: str) -> list[dict[str, Any]]:
    cursor = file.execute(query)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def _wrong(row: Mapping[str, Any], checks: _Checks) -> str:
    for name, (is_right, what) in checks.items():
        if not is_right(row[name]):
            return f"{name} is {_shown(row[name])}, not {what}"
    return ""


def _wrong_value(event: str, kind: int, body: bytes) -> str:
    """Say what the server would not understand: it would end each connection that brings it."""
    try:
        v2.encode_head(kind, event)
        v2.decode_value(kind, body)
    except (IoTError, ValueError, RecursionError) as error:
        return f"body is {_shown(body)}, which cannot be sent: {error}"
    return ""


def _mend(file: sqlite3.Connection, bad: Sequence[_Bad], outgoing: Outgoing[Kept], incoming: Incoming) -> None:
    """Move rows to a table of their own, and write what is right anew; who fails here closes the file."""
    file.execute("BEGIN IMMEDIATE")
    file.execute(
        f"CREATE TABLE IF NOT EXISTS {_SET_ASIDE} (time FLOAT NOT NULL, origin TEXT NOT NULL, why TEXT NOT NULL,"
        " content TEXT NOT NULL)"
    )
    now = time.time()
    file.executemany(
        f"INSERT INTO {_SET_ASIDE} VALUES (?, ?, ?, ?)",
        [(now, one.table, one.why, _describe(one.row)) for one in bad],
    )
    file.execute("DELETE FROM stream")
    file.execute(
        "INSERT INTO stream VALUES (?, ?, ?, ?)", (outgoing.name, outgoing.counter, incoming.stream, incoming.last)
    )
    file.execute("DELETE FROM message")
    file.executemany(
        "INSERT INTO message VALUES (?, ?, ?, ?, ?)",
        [(number, kept.event, kept.kind, kept.body, kept.time) for number, kept in outgoing],
    )
    file.execute("COMMIT")


def _tell(bad: Sequence[_Bad], path: str | Path) -> None:
    for one in bad[:_MOST_NAMED]:
        logger.error(
            "%s: a row of %s cannot be used and is kept in the table %s: %s", path, one.table, _SET_ASIDE, one.why
        )
    if len(bad) > _MOST_NAMED:
        logger.error("%s: and %d rows more", path, len(bad) - _MOST_NAMED)


def _text_or_bytes(data: bytes) -> str | bytes:
    """Decode text; sqlite3 would not give the whole row if it cannot be."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _describe(row: Mapping[str, Any]) -> str:
    """Return a row as JSON, whatever it holds; bytes as hexadecimal digits."""
    return json.dumps(
        {name: {"hex": value.hex()} if isinstance(value, bytes) else value for name, value in row.items()}
    )


def _shown(value: object) -> str:
    """Return the beginning of a value as Python writes it."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
