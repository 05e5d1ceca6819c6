"""Durable messages between two sides that lose sight of each other: the sender's and the receiver's half of a stream.

A stream has a name and numbered messages. The numbers only grow; there may be gaps, for a message can expire before
it was sent, and each message says which one is before it. The receiver takes a message whose number is larger than the
last one it took, and drops any other; if the one before it is missing, something was lost on the way. One
acknowledgement stands for all messages up to its number. A connection that ends loses what was on its way: the next
one begins behind the last number that the receiver knows.

A number is given once in the life of a stream. Who keeps a stream over a restart keeps `counter` with the messages,
before it sends them; who keeps less takes a new name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from .errors import InvalidPacket, StreamGap

__all__ = ["MAX_UNACKNOWLEDGED", "Incoming", "Outgoing"]

MAX_UNACKNOWLEDGED = 1000
"""Messages of one stream that may be on their way."""

_M = TypeVar("_M")


class Outgoing(Generic[_M]):
    """The sender's half: keeps messages until they are acknowledged. Not thread-safe; its owner locks.

    Args:
        name: of the stream; a new one where the numbers begin anew.
        counter: the last number that was given.

    Attributes:
        name: as above.
        counter: as above.
    """

    def __init__(self, name: str, counter: int = 0) -> None:
        self.name = name
        self.counter = counter
        self._kept: dict[int, _M] = {}  # in order of their numbers
        self._unsent: deque[int] = deque()  # what this connection is still to bring; some may be dropped by now
        self._sent = 0  # the last number that went out on this connection
        self._flying = 0
        self._resumed = False

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[tuple[int, _M]]:
        return iter(list(self._kept.items()))

    def add(self, message: _M) -> int:
        """Keep a message until it is acknowledged. Returns its number."""
        self.counter += 1
        self._kept[self.counter] = message
        if self._resumed:
            if len(self._unsent) > 2 * len(self._kept):
                self._unsent = deque(number for number in self._unsent if number in self._kept)
            self._unsent.append(self.counter)
        return self.counter

    def restore(self, number: int, message: _M) -> None:
        """Put back what a store has kept; in order of the numbers, before anything else."""
        self.counter = max(self.counter, number)
        self._kept[number] = message

    def drop(self, number: int) -> _M | None:
        """Drop a message that is too old, or that another one replaces. Returns it, or None if it is not kept."""
        if number not in self._kept:
            return None
        if number <= self._sent:
            self._flying -= 1
        return self._kept.pop(number)

    def was_sent(self, number: int) -> bool:
        """Return whether a message was sent on the present connection."""
        return number <= self._sent

    def get(self, number: int) -> _M | None:
        """Return a message that is kept; None if it is not."""
        return self._kept.get(number)

    @property
    def last_sent(self) -> int:
        """The number that went out last on the present connection."""
        return self._sent

    @property
    def oldest(self) -> int | None:
        """The number of the message that has been kept longest."""
        return next(iter(self._kept), None)

    @property
    def has_more(self) -> bool:
        """Whether messages are kept that have not been sent on the present connection."""
        return bool(self._kept) and next(reversed(self._kept)) > self._sent

    @property
    def on_their_way(self) -> int:
        """Messages that were sent on the present connection and are not acknowledged."""
        return self._flying

    def resume(self, stream: str | None, upto: int) -> list[tuple[int, _M]]:
        """Begin a connection, on which the receiver has said what it has taken.

        Args:
            stream: the name of the stream that it knows, or None.
            upto: the last number of it that it took.

        Returns:
            The messages that are acknowledged by that.
        """
        self.suspend()
        self._resumed = True
        done: list[tuple[int, _M]] = []
        if stream == self.name:
            self.counter = max(self.counter, upto)  # given before a crash of this side, and not noted any more
            self._sent = upto
            done = self._take_until(upto)
        self._unsent.extend(self._kept)
        return done

    def suspend(self) -> None:
        """End the connection: all messages that are kept are to be sent again."""
        self._sent = self._flying = 0
        self._resumed = False
        self._unsent.clear()

    def peek(self, most: int = MAX_UNACKNOWLEDGED) -> tuple[int, int, _M] | None:
        """Return what `next` would return, without counting it as sent."""
        unsent = self._unsent
        while unsent and self._flying < most:
            number = unsent[0]
            if number in self._kept:
                return self._sent, number, self._kept[number]
            unsent.popleft()
        return None

    def next(self, most: int = MAX_UNACKNOWLEDGED) -> tuple[int, int, _M] | None:
        """Return the next message to send, and count it as sent.

        Returns:
            The number before it, its own, and the message; None if there is none, or `most` are on their way.
        """
        item = self.peek(most)
        if item is not None:
            self._sent = self._unsent.popleft()
            self._flying += 1
        return item

    def drop_unsent(self, previous: int, number: int) -> _M | None:
        """Drop a message that `next` has just returned and that is not sent after all; none was sent behind it.

        Args:
            previous: as `next` gave it.
            number: likewise.
        """
        message = self.drop(number)
        if self._sent == number:
            self._sent = previous
        return message

    def acknowledge(self, upto: int) -> list[tuple[int, _M]]:
        """Drop the messages up to a number: the receiver has acknowledged them.

        Returns:
            The messages that are acknowledged by that.

        Raises:
            InvalidPacket: it was never sent on this connection.
        """
        if upto > self._sent:
            raise InvalidPacket(f"ACK of number {upto}, but the last one sent is {self._sent}")
        done = self._take_until(upto)
        self._flying -= len(done)
        return done

    def _take_until(self, upto: int) -> list[tuple[int, _M]]:
        done = []
        for number in self._kept:
            if number > upto:
                break
            done.append((number, self._kept[number]))
        for number, _ in done:
            del self._kept[number]
        return done


class Incoming:
    """The receiver's half: what has been taken. Not thread-safe; its owner locks.

    Args:
        stream: the name of the stream that it knows, or None.
        last: the last number of it that was taken.
    """

    def __init__(self, stream: str | None = None, last: int = 0) -> None:
        self.stream = stream
        self.last = last

    def resume(self, stream: str | None) -> None:
        """Begin a connection, on which the sender has named its stream; a stream of another name begins at 0.

        Args:
            stream: the name; None if it has no stream this time, which changes nothing.
        """
        if stream is not None and stream != self.stream:
            self.stream = stream
            self.last = 0

    def is_new(self, number: int, previous: int) -> bool:
        """Return whether a message is to be handled; a repetition is to be dropped and acknowledged again.

        Raises:
            StreamGap: the message before it is missing. The connection is to be closed; the next one brings it.
        """
        if number > self.last < previous:
            raise StreamGap(f"after message {self.last} came {number}, and before that there is {previous}")
        return number > self.last

    def took(self, number: int) -> None:
        """Note that a message has had its effect."""
        self.last = max(self.last, number)
