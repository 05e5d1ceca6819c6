"""What the driver asks of a shell: whatever waits, and whatever threads and tasks do differently.

The driver's generators yield commands and are sent the results. A shell has a method for each command: a plain one
where threads wait, a coroutine function where tasks do. `perform` and `perform_async` run a generator to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from .inbox import Inbox
from .periodic import Periodic
from .target import Target

__all__ = [
    "Command",
    "Shell",
    "Work",
    "abort",
    "announce",
    "await_turn",
    "close",
    "finish",
    "in_buffer",
    "invoke",
    "knock",
    "make_room",
    "next",
    "open",
    "perform",
    "perform_async",
    "ping",
    "receive",
    "send",
    "send_more",
    "sleep",
    "start_reading",
    "take_turn",
    "wait",
]

_T = TypeVar("_T")


class Shell(Protocol):
    """Carry out commands: a method for each, by its name, which returns the result or an awaitable of it."""

    def open(self, target: Target, arguments: Any, limit: float) -> Any: ...

    def abort(self, connection: Any) -> Any: ...

    def start_reading(self, connection: Any) -> Any: ...

    def announce(self) -> Any: ...

    def receive(self, connection: Any, limit: float) -> Any: ...

    def knock(self, connection: Any, limit: float) -> Any: ...

    def make_room(self, inbox: Any, connection: Any) -> Any: ...

    def next(self) -> Any: ...

    def invoke(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any: ...

    def in_buffer(self, function: Callable[[], Any], quick: bool, alone: bool) -> Any: ...

    def send(self, packet: bytes | str, connection: Any, limit: float) -> Any: ...

    def send_more(self) -> Any: ...

    def ping(self, connection: Any, upto: int) -> Any: ...

    def wait(self, waiter: Any, deadline: float) -> Any: ...

    def sleep(self, seconds: float) -> Any: ...

    def await_turn(self, over: Any, due: float, latest: float) -> Any: ...

    def take_turn(self, periodic: Periodic) -> Any: ...

    def close(self, connection: Any) -> Any: ...

    def finish(self, connection: Any, farewell: bytes | None, code: int) -> Any: ...


Command = Callable[[Shell], Any]
"""One thing for a shell to do, with what it needs for that: called with a shell, it returns the result or an awaitable.

A closure, and no class for each command: to make 19 named tuples took a millisecond and a half of every import.
"""

Work = Generator[Command, Any, _T]
"""Decisions: a generator that yields commands, is sent their results or thrown their errors, and returns a result."""


def perform(work: Work[_T], shell: Shell) -> _T:
    """Run a generator to its end, by a shell whose methods are plain functions."""
    steps: Any = work
    resume, value = steps.send, None
    while True:
        try:
            while True:  # in here, so that Ctrl-C between two commands gets into the generator, too
                command, resume, value = resume(value), steps.send, None
                value = command(shell)
        except BaseException as error:
            if steps.gi_frame is None:  # it has ended
                value = None  # no circle of this frame and a traceback
                if isinstance(error, StopIteration):
                    return error.value  # type: ignore[no-any-return]
                raise
            resume, value = steps.throw, error


async def perform_async(work: Work[_T], shell: Shell) -> _T:
    """Run a generator to its end, by a shell whose methods are coroutine functions.

    A cancellation is thrown into the generator as any error is.
    """
    steps: Any = work
    resume, value = steps.send, None
    while True:
        try:
            while True:
                command, resume, value = resume(value), steps.send, None
                value = await command(shell)
        except BaseException as error:
            if steps.gi_frame is None:  # it has ended
                value = None  # no circle of this frame and a traceback
                if isinstance(error, StopIteration):
                    return error.value  # type: ignore[no-any-return]
                raise
            resume, value = steps.throw, error


# A connection.


def open(target: Target, arguments: Any, limit: float) -> Command:
    """Open a WebSocket connection and return it. `arguments` are for `connect` of the library."""
    return lambda shell: shell.open(target, arguments, limit)


def abort(connection: Any) -> Command:
    """End a connection at once, without a CLOSE frame; None: the one that `open` has not returned, if there is one."""
    return lambda shell: shell.abort(connection)


def start_reading(connection: Any) -> Command:
    """Begin to run `Driver.read` for a connection, with an inbox that `next` takes from."""
    return lambda shell: shell.start_reading(connection)


def announce() -> Command:
    """Let those go on that wait until the client is connected and `on_connect` has returned."""
    return lambda shell: shell.announce()


def close(connection: Any) -> Command:
    """Close a connection without a farewell."""
    return lambda shell: shell.close(connection)


def finish(connection: Any, farewell: bytes | None, code: int) -> Command:
    """End a connection for good: send the farewell if there is one, close it, and end what reads from it.

    Args:
        connection: the connection.
        farewell: the last packet, or None.
        code: of the CLOSE frame.
    """
    return lambda shell: shell.finish(connection, farewell, code)


# Messages.


def receive(connection: Any, limit: float) -> Command:
    """Return the next WebSocket message of a connection. Raises TimeoutError if none comes in `limit` seconds."""
    return lambda shell: shell.receive(connection, limit)


def knock(connection: Any, limit: float) -> Command:
    """Send a ping to see whether anything comes. Aborts the connection if that cannot be sent in `limit` seconds."""
    return lambda shell: shell.knock(connection, limit)


def make_room(inbox: Inbox, connection: Any) -> Command:
    """Wait until an inbox takes more, or until its connection has ended."""
    return lambda shell: shell.make_room(inbox, connection)


def next() -> Command:
    """Return what has been received next, or None to have the driver look whether to stop.

    Raises how the connection ended after the last message.
    """
    return lambda shell: shell.next()


def invoke(function: Callable[..., Any], args: tuple[Any, ...]) -> Command:
    """Call a function of the program and return what it returns."""
    return lambda shell: shell.invoke(function, args)


def send(packet: bytes | str, connection: Any, limit: float) -> Command:
    """Send one WebSocket message. Raises TimeoutError, with the connection aborted, if the server does not take it.

    Args:
        packet: the message.
        connection: the connection.
        limit: seconds that this may take; with threads the socket has a limit of its own.
    """
    return lambda shell: shell.send(packet, connection, limit)


def wait(waiter: Any, deadline: float) -> Command:
    """Wait until the waiter of a call or a flush is done, or until `deadline` on the monotonic clock."""
    return lambda shell: shell.wait(waiter, deadline)


def sleep(seconds: float) -> Command:
    """Let so many seconds pass, or less when the client is stopped; 0: let others have their turn."""
    return lambda shell: shell.sleep(seconds)


def await_turn(over: Any, due: float, latest: float) -> Command:
    """Wait until `due` on the monotonic clock, and then until the client is connected, or `latest`.

    Returns False if the run has ended, True otherwise.

    Args:
        over: what the shell has given to `Driver.repeat`; names the run.
        due: when the turn is.
        latest: when it is taken without a connection.
    """
    return lambda shell: shell.await_turn(over, due, latest)


def take_turn(periodic: Periodic) -> Command:
    """Call a periodic function, beside the handlers."""
    return lambda shell: shell.take_turn(periodic)


# Durable messages.


def in_buffer(function: Callable[[], Any], quick: bool = False, alone: bool = False) -> Command:
    """Call a function that uses the buffer of durable messages.

    Args:
        function: the function.
        quick: it does not write to a file.
        alone: nobody may be sending durable messages meanwhile.
    """
    return lambda shell: shell.in_buffer(function, quick, alone)


def send_more() -> Command:
    """Have `Driver.send_durable` run, as there may be durable messages to send."""
    return lambda shell: shell.send_more()


def ping(connection: Any, upto: int) -> Command:
    """Send a ping, and have `Driver.acknowledged(upto)` run when it is answered."""
    return lambda shell: shell.ping(connection, upto)
