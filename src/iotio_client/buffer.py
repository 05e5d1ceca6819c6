"""What a device keeps of its durable messages, in memory or in a file that survives a restart.

The file is an SQLite database: a cut of the power at any moment leaves it whole.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from iotio_protocol.stream import Incoming, Outgoing

from .errors import BufferFailed, BufferFull

__all__ = ["Buffer", "Kept"]

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

    Attributes:
        outgoing: to the server.
        incoming: from the server.
        dropped: how many were dropped.

    Raises:
        BufferFailed: the file cannot be used; the text says why.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        max_messages: int = 10_000,
        drop_oldest: bool = False,
        patience: float = 5.0,
    ) -> None:
        if max_messages < 1:
            raise ValueError("max_messages must be at least 1")
        if not 0 <= patience <= _MAX_PATIENCE:
            raise ValueError(f"patience must be seconds, 0 or more and at most {_MAX_PATIENCE}, not {patience!r}")
        self._path = path
        self._most = max_messages
        self._drops = drop_oldest
        self._patience = patience
        self._lock = threading.RLock()
        self.outgoing: Outgoing[Kept] = Outgoing(secrets.token_hex(8))
        self.incoming = Incoming()
        self.dropped = 0
        self._flying = 0  # bytes of values that were sent on this connection and are not acknowledged
        self._file = None if path is None else self._open(path)

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

    def _open(self, path: str | Path) -> sqlite3.Connection:
        try:
            file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=self._patience)
        except sqlite3.Error as error:
            raise BufferFailed(f"the buffer file {path} cannot be opened: {error}; does its folder exist?") from error
        try:
            file.execute("PRAGMA journal_mode = WAL")
            file.execute("PRAGMA synchronous = FULL")  # a device is switched off by its plug
            self._load(file)
        except sqlite3.Error as error:
            file.close()
            raise BufferFailed(f"the buffer file {path} cannot be used: {error}") from error
        except BaseException:
            file.close()
            raise
        return file

    def _load(self, file: sqlite3.Connection) -> None:
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise BufferFailed(
                f"the buffer file {self._path} was written by a newer iotio: install that, or use another file"
            )
        if not version:
            name = self.outgoing.name
            first = f"INSERT INTO stream VALUES ('{name}', 0, NULL, 0)"
            file.executescript(f"BEGIN; {_TABLES} {first}; PRAGMA user_version = {_VERSION}; COMMIT;")
        name, counter, heard_stream, heard = file.execute("SELECT * FROM stream").fetchone()
        self.outgoing = Outgoing(name, counter)
        self.incoming = Incoming(heard_stream, heard)
        for number, event, kind, body, time in file.execute("SELECT * FROM message ORDER BY number"):
            self.outgoing.restore(number, Kept(event, kind, body, time))

    def _writing(self) -> _Transaction:
        if self._path is not None and self._file is None:
            raise BufferFailed(f"the buffer file {self._path} is closed")
        return _Transaction(self._file)


def _run(effect: Callable[[Any], object], file: sqlite3.Connection | None) -> None:
    try:
        effect(file)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF in _WRONG_USE:
            raise RuntimeError(f"a transaction of a handler is wrong: {error}") from error
        raise


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
