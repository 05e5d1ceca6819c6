"""What the driver asks of a shell: whatever waits, and whatever threads and tasks do differently.

The driver's generators yield commands and are sent the results. A shell has a method for each command: a plain one
where threads wait, a coroutine function where tasks do. `perform` and `perform_async` run a generator to its end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from .inbox import Inbox
from .periodic import Periodic
from .target import Target

__all__ = [
    "Abort",
    "Announce",
    "AwaitTurn",
    "Close",
    "Command",
    "Finish",
    "InBuffer",
    "Invoke",
    "Knock",
    "MakeRoom",
    "Next",
    "Open",
    "Ping",
    "Receive",
    "Send",
    "SendMore",
    "Shell",
    "Sleep",
    "StartReading",
    "TakeTurn",
    "Wait",
    "Work",
    "perform",
    "perform_async",
]

_T = TypeVar("_T")


class Shell(Protocol):
    """Carry out commands: one method for each, with its fields, that returns the result or an awaitable of it."""

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


class Command(Protocol):
    """Name one thing for a shell to do, with what it needs for that."""

    def run(self, shell: Shell) -> Any:
        """Have a shell do it. Returns the result, or an awaitable of it."""


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
                value = command.run(shell)
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
                value = await command.run(shell)
        except BaseException as error:
            if steps.gi_frame is None:  # it has ended
                value = None  # no circle of this frame and a traceback
                if isinstance(error, StopIteration):
                    return error.value  # type: ignore[no-any-return]
                raise
            resume, value = steps.throw, error


# A connection.


class Open(NamedTuple):
    """Open a WebSocket connection and return it. `arguments` are for `connect` of the library."""

    target: Target
    arguments: Any
    limit: float

    def run(self, shell: Shell) -> Any:
        return shell.open(self.target, self.arguments, self.limit)


class Abort(NamedTuple):
    """End a connection at once, without a CLOSE frame; None: the one that `Open` has not returned, if there is one."""

    connection: Any

    def run(self, shell: Shell) -> Any:
        return shell.abort(self.connection)


class StartReading(NamedTuple):
    """Begin to run `Driver.read` for a connection, with an inbox that `Next` takes from."""

    connection: Any

    def run(self, shell: Shell) -> Any:
        return shell.start_reading(self.connection)


class Announce(NamedTuple):
    """Let those go on that wait until the client is connected and `on_connect` has returned."""

    def run(self, shell: Shell) -> Any:
        return shell.announce()


class Close(NamedTuple):
    """Close a connection without a farewell."""

    connection: Any

    def run(self, shell: Shell) -> Any:
        return shell.close(self.connection)


class Finish(NamedTuple):
    """End a connection for good: send the farewell if there is one, close it, and end what reads from it.

    Attributes:
        connection: the connection.
        farewell: the last packet, or None.
        code: of the CLOSE frame.
    """

    connection: Any
    farewell: bytes | None
    code: int

    def run(self, shell: Shell) -> Any:
        return shell.finish(self.connection, self.farewell, self.code)


# Messages.


class Receive(NamedTuple):
    """Return the next WebSocket message of a connection. Raises TimeoutError if none comes in `limit` seconds."""

    connection: Any
    limit: float

    def run(self, shell: Shell) -> Any:
        return shell.receive(self.connection, self.limit)


class Knock(NamedTuple):
    """Send a ping to see whether anything comes. Aborts the connection if that cannot be sent in `limit` seconds."""

    connection: Any
    limit: float

    def run(self, shell: Shell) -> Any:
        return shell.knock(self.connection, self.limit)


class MakeRoom(NamedTuple):
    """Wait until an inbox takes more, or until its connection has ended."""

    inbox: Inbox
    connection: Any

    def run(self, shell: Shell) -> Any:
        return shell.make_room(self.inbox, self.connection)


class Next(NamedTuple):
    """Return what has been received next, or None to have the driver look whether to stop.

    Raises how the connection ended after the last message.
    """

    def run(self, shell: Shell) -> Any:
        return shell.next()


class Invoke(NamedTuple):
    """Call a function of the program and return what it returns."""

    function: Callable[..., Any]
    args: tuple[Any, ...]

    def run(self, shell: Shell) -> Any:
        return shell.invoke(self.function, self.args)


class Send(NamedTuple):
    """Send one WebSocket message. Raises TimeoutError, with the connection aborted, if the server does not take it.

    Attributes:
        packet: the message.
        connection: the connection.
        limit: seconds that this may take; with threads the socket has a limit of its own.
    """

    packet: bytes | str
    connection: Any
    limit: float

    def run(self, shell: Shell) -> Any:
        return shell.send(self.packet, self.connection, self.limit)


class Wait(NamedTuple):
    """Wait until the waiter of a call or a flush is done, or until `deadline` on the monotonic clock."""

    waiter: Any
    deadline: float

    def run(self, shell: Shell) -> Any:
        return shell.wait(self.waiter, self.deadline)


class Sleep(NamedTuple):
    """Let so many seconds pass, or less when the client is stopped; 0: let others have their turn."""

    seconds: float

    def run(self, shell: Shell) -> Any:
        return shell.sleep(self.seconds)


class AwaitTurn(NamedTuple):
    """Wait until `due` on the monotonic clock, and then until the client is connected, or `latest`.

    Returns False if the run has ended, True otherwise.

    Attributes:
        over: what the shell has given to `Driver.repeat`; names the run.
        due: when the turn is.
        latest: when it is taken without a connection.
    """

    over: Any
    due: float
    latest: float

    def run(self, shell: Shell) -> Any:
        return shell.await_turn(self.over, self.due, self.latest)


class TakeTurn(NamedTuple):
    """Call a periodic function, beside the handlers."""

    periodic: Periodic

    def run(self, shell: Shell) -> Any:
        return shell.take_turn(self.periodic)


# Durable messages.


class InBuffer(NamedTuple):
    """Call a function that uses the buffer of durable messages.

    Attributes:
        function: the function.
        quick: it does not write to a file.
        alone: nobody may be sending durable messages meanwhile.
    """

    function: Callable[[], Any]
    quick: bool = False
    alone: bool = False

    def run(self, shell: Shell) -> Any:
        return shell.in_buffer(self.function, self.quick, self.alone)


class SendMore(NamedTuple):
    """Have `Driver.send_durable` run, as there may be durable messages to send."""

    def run(self, shell: Shell) -> Any:
        return shell.send_more()


class Ping(NamedTuple):
    """Send a ping, and have `Driver.acknowledged(upto)` run when it is answered."""

    connection: Any
    upto: int

    def run(self, shell: Shell) -> Any:
        return shell.ping(self.connection, self.upto)
