"""What a device keeps of its durable messages, in memory or in a file that survives a restart.

The file is an SQLite database: a cut of the power at any moment leaves it whole.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from iotio_protocol import v2
from iotio_protocol.errors import IoTError
from iotio_protocol.logs import get_logger
from iotio_protocol.stream import Incoming, Outgoing
from iotio_protocol.v2_session import read_stream

from .errors import BufferDamaged, BufferFailed, BufferFull

__all__ = ["Buffer", "Damaged", "Kept"]

Damaged = Literal["refuse", "set_aside"]

logger = get_logger("iotio.client")

_VERSION = 1
_MAX_PATIENCE = 2_000_000  # seconds: SQLite counts milliseconds in 32 bits
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
_OWN_NAME = re.compile("[0-9a-f]{16}")  # as `_new_name` makes it
_SET_ASIDE = "iotio_set_aside"
_HEAD = b"SQLite format 3\0"
_NO_DATABASE = "file is not a database"
_WHAT_THEN = 'name another file, or begin anew with Buffer(..., damaged="set_aside"), which keeps this file beside'
_DAMAGE = _WRONG_USE | {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
"""What the file is to blame for while it is opened: the statements are right."""
_MOST_NAMED = 10  # rows that are set aside, in the log; the table has all
_MOST_SHOWN = 100  # characters of a value that the log shows


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that waits for the server.

    Attributes:
        event: its event.
        kind: the type of its value on the wire.
        body: the value on the wire.
        time: when it was, in milliseconds since 1970 by the device's own clock.
    """

    event: str
    kind: int
    body: bytes
    time: int


class Buffer:
    """The durable messages of one device. Every method may be called from any thread; those that write may take a
    disk's time.

    Args:
        path: a file, made if it is not there; None keeps all in memory, for the life of this object.
        max_messages: how many may wait for the server.
        drop_oldest: what happens when there are more: True drops the one that has waited longest, and counts it;
            False refuses the new one.
        patience: seconds to wait for a file that another program has locked.
        damaged: what becomes of a file that cannot be read: "refuse" raises `BufferDamaged`, "set_aside" gives it
            another name, and begins anew. A single row is set aside in any case.

    Attributes:
        outgoing: to the server.
        incoming: from the server.
        dropped: how many were dropped.

    Raises:
        BufferDamaged: the file is damaged, or not a buffer's.
        BufferFailed: the file cannot be used; the text says why.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        max_messages: int = 10_000,
        drop_oldest: bool = False,
        patience: float = 5.0,
        damaged: Damaged = "refuse",
    ) -> None:
        if max_messages < 1:
            raise ValueError("max_messages must be at least 1")
        if not 0 <= patience <= _MAX_PATIENCE:
            raise ValueError(f"patience must be seconds, 0 or more and at most {_MAX_PATIENCE}, not {patience!r}")
        if damaged not in get_args(Damaged):
            raise ValueError(f"damaged is one of {', '.join(get_args(Damaged))}, not {damaged!r}")
        self._path = path
        self._most = max_messages
        self._drops = drop_oldest
        self._patience = patience
        self._lock = threading.RLock()
        self.outgoing: Outgoing[Kept] = Outgoing(_new_name())
        self.incoming = Incoming()
        self.dropped = 0
        self._flying = 0  # bytes of values that were sent on this connection and are not acknowledged
        self._file = None if path is None else self._open(path, damaged)

    def __len__(self) -> int:
        return len(self.outgoing)

    @property
    def on_disk(self) -> bool:
        """Whether there is a file."""
        return self._path is not None

    @property
    def oldest(self) -> int | None:
        """The number of the message that has waited longest."""
        with self._lock:
            return self.outgoing.oldest

    def put(self, event: str, kind: int, body: bytes, time: int) -> int:
        """Keep a message until the server has it; on return it is in the file.

        Returns:
            Its number.

        Raises:
            BufferFull: there is no room.
            BufferFailed: the file cannot be written; the message is not kept.
        """
        with self._lock:
            oldest = self._oldest_to_drop()
            number = self.outgoing.counter + 1
            with self._writing() as file:
                if file is not None:
                    file.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", (number, event, kind, body, time))
                    file.execute("UPDATE stream SET counter = ?", (number,))
                    file.execute("DELETE FROM message WHERE number = ?", (oldest,))
            if oldest is not None:
                sent = self.outgoing.was_sent(oldest)
                dropped = self.outgoing.drop(oldest)
                if dropped is not None and sent:
                    self._flying -= len(dropped.body)
                self.dropped += 1
            return self.outgoing.add(Kept(event, kind, body, time))

    def _oldest_to_drop(self) -> int | None:
        if len(self.outgoing) < self._most:
            return None
        if not self._drops:
            raise BufferFull(
                f"{self._most} durable messages wait for the server already: give Buffer a larger max_messages,"
                " or drop_oldest=True"
            )
        return self.outgoing.oldest

    def resume(self, stream: str | None, upto: int, sends: str | None) -> None:
        """Take the buffer to the beginning of a connection: what the server has not handled is to be sent again.

        Args:
            stream: the stream that the server knows, or None.
            upto: the last message of it that the server has handled.
            sends: the name of the server's own stream.
        """
        with self._lock:
            self._flying = 0
            self._delete(self.outgoing.resume(stream, upto))
            if sends is not None and sends != self.incoming.stream:
                with self._writing() as file:
                    if file is not None:
                        file.execute("UPDATE stream SET heard_stream = ?, heard = 0", (sends,))
                self.incoming.resume(sends)

    def suspend(self) -> None:
        """Note that the connection is over: nothing is on its way any more."""
        with self._lock:
            self._flying = 0
            self.outgoing.suspend()

    def next(self, most: int, most_bytes: int | None = None) -> tuple[int, int, Kept] | None:
        """Return the next message to send, if there is one and fewer than `most` are on their way; see `Outgoing.next`.

        Args:
            most: messages.
            most_bytes: none is given while values of so many bytes are on their way.
        """
        with self._lock:
            if most_bytes is not None and self._flying >= most_bytes:
                return None
            item = self.outgoing.next(most)
            if item is not None:
                self._flying += len(item[2].body)
            return item

    def drop_unsent(self, previous: int, number: int) -> None:
        """Forget a message that `next` has just given, because it cannot be sent; it counts as dropped.

        Raises:
            BufferFailed: the file cannot be written; the message comes back when the file is opened again.
        """
        with self._lock:
            message = self.outgoing.drop_unsent(previous, number)
            if message is None:
                return
            self._flying -= len(message.body)
            self.dropped += 1
            with self._writing() as file:
                if file is not None:
                    file.execute("DELETE FROM message WHERE number = ?", (number,))

    def acknowledge(self, upto: int) -> None:
        """Drop the messages up to a number: the server has handled them.

        Raises:
            InvalidPacket: that was never sent to it.
        """
        with self._lock:
            done = self.outgoing.acknowledge(upto)
            self._flying -= sum(len(message.body) for _, message in done)
            self._delete(done)

    def _delete(self, done: Iterable[tuple[int, Kept]]) -> None:
        numbers = [number for number, _ in done]
        if numbers:
            with self._writing() as file:
                if file is not None:
                    file.execute("DELETE FROM message WHERE number <= ?", (numbers[-1],))

    def is_new(self, number: int, previous: int) -> bool:
        """Whether a message of the server is to be handled. Raises StreamGap."""
        with self._lock:
            return self.incoming.is_new(number, previous)

    def took(self, number: int, effects: Iterable[Callable[[Any], object]] = ()) -> None:
        """Note that a message of the server has been handled; on return that is in the file, with the effects.

        Raises:
            BufferFailed: the file cannot be written; the message counts as not handled.
            Exception: of an effect; likewise, and no effect has happened.
        """
        with self._lock:
            with self._writing() as file:
                for effect in effects:
                    _run(effect, file)
                if file is not None:
                    file.execute("UPDATE stream SET heard = ?", (number,))
            self.incoming.took(number)

    def close(self) -> None:
        """Close the file. Harmless if it is closed."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    # The file.

    def _open(self, path: str | Path, damaged: Damaged) -> sqlite3.Connection:
        try:
            return self._connect(path)
        except BufferDamaged as error:
            if damaged == "refuse":
                raise BufferDamaged(f"the buffer file {path} cannot be used: {error}; {_WHAT_THEN}") from error
            _move_aside(path, error)
        try:
            return self._connect(path)
        except BufferDamaged as error:
            raise BufferFailed(f"the buffer file {path} cannot be used, though it is new: {error}") from error

    def _connect(self, path: str | Path) -> sqlite3.Connection:
        _check_kind(path)
        try:
            file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=self._patience)
        except sqlite3.Error as error:
            raise BufferFailed(f"the buffer file {path} cannot be opened: {error}; does its folder exist?") from error
        try:
            file.text_factory = _text_or_bytes
            is_new = _check_tables(file, path)  # before the first change: it may be another program's
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")  # a device is switched off by its plug
            if is_new:
                first = f"INSERT INTO stream VALUES ('{self.outgoing.name}', 0, NULL, 0)"
                file.executescript(f"BEGIN; {_TABLES} {first}; PRAGMA user_version = {_VERSION}; COMMIT;")
            self.outgoing, self.incoming = _load(file, path)
            file.text_factory = str
        except (sqlite3.Error, UnicodeError) as error:  # sqlite3 decodes what SQLite says of names in the file
            file.close()
            if isinstance(error, UnicodeError) or _code(error) in _DAMAGE:
                raise BufferDamaged(str(error)) from error
            raise BufferFailed(f"the buffer file {path} cannot be used: {error}") from error
        except BaseException:
            file.close()
            raise
        return file

    def _writing(self) -> _Transaction:
        if self._path is not None and self._file is None:
            raise BufferFailed(f"the buffer file {self._path} is closed")
        return _Transaction(self._file)


def _new_name() -> str:
    return secrets.token_hex(8)


def _run(effect: Callable[[Any], object], file: sqlite3.Connection | None) -> None:
    try:
        effect(file)
    except sqlite3.Error as error:
        if _code(error) in _WRONG_USE:
            raise RuntimeError(f"a transaction of a handler is wrong: {error}") from error
        raise


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)
    return code & 0xFF  # the higher bits tell more


class _Transaction:
    """All or nothing; without a file, nothing."""

    def __init__(self, file: sqlite3.Connection | None) -> None:
        self._file = file

    def __enter__(self) -> sqlite3.Connection | None:
        if self._file is not None:
            if self._file.in_transaction:
                raise RuntimeError("within a transaction of the buffer nothing can be sent as durable")
            try:
                self._file.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                raise BufferFailed(f"the buffer file cannot be written: {error}") from error
        return self._file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._file is None:
            return
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
        read_stream(value)
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


def _load(file: sqlite3.Connection, path: str | Path) -> tuple[Outgoing[Kept], Incoming]:
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
        outgoing = Outgoing(_new_name())
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
