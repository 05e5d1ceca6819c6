"""What a device keeps of its durable messages, in memory or in a file that survives a restart."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, get_args

from iotio_protocol.stream import Incoming, Outgoing

from .errors import BufferFailed, BufferFull
from .message import Effect, Kept

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from .buffer_file import Transaction

__all__ = ["Buffer", "Damaged"]

Damaged = Literal["refuse", "set_aside"]

_MAX_PATIENCE = 2_000_000  # seconds: SQLite counts milliseconds in 32 bits


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
        self._lock = threading.RLock()
        self.outgoing: Outgoing[Kept] = Outgoing(secrets.token_hex(8))
        self.incoming = Incoming()
        self.dropped = 0
        self._flying = 0  # bytes of values that were sent on this connection and are not acknowledged
        self._file: sqlite3.Connection | None = None
        if path is not None:
            from .buffer_file import open_file  # here: SQLite is large, and most devices have no file

            self._file, self.outgoing, self.incoming = open_file(path, self.outgoing.name, patience, damaged)

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

    def took(self, number: int, effects: Iterable[Effect] = ()) -> None:
        """Note that a message of the server has been handled; on return that is in the file, with the effects.

        Raises:
            BufferFailed: the file cannot be written; the message counts as not handled.
            Exception: of an effect; likewise, and no effect has happened.
        """
        with self._lock:
            with self._writing() as file:
                for effect in effects:
                    effect(None) if file is None else file.run(effect)
                if file is not None:
                    file.execute("UPDATE stream SET heard = ?", (number,))
            self.incoming.took(number)

    def close(self) -> None:
        """Close the file. Harmless if it is closed."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _writing(self) -> AbstractContextManager[Transaction | None]:
        """Make what is written all or nothing; without a file, nothing is."""
        if self._path is None:
            return nullcontext()
        if self._file is None:
            raise BufferFailed(f"the buffer file {self._path} is closed")
        from .buffer_file import Transaction

        return Transaction(self._file)
