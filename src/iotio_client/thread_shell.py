"""How threads carry out what the driver asks for: a thread that reads, locks, and sleeps that a signal handler ends."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, cast

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State as WireState
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as ws_connect

from iotio_protocol.errors import CallDisconnected, CallError, IoTError
from iotio_protocol.logs import get_logger

from .addresses import connect_any, direct
from .calls import ThreadCall, too_many
from .commands import Work, perform
from .driver import Driver
from .errors import ClientError, NotConnected
from .inbox import MAX_QUEUE, Inbox, ThreadInbox
from .periodic import Periodic
from .received import Received
from .target import Target
from .tls import TurnTakingSocket

if TYPE_CHECKING:
    from .driver import ConnectArguments

__all__ = ["ThreadShell"]

_PATIENCE = 10.0  # seconds that `stop` waits for the thread of `start`, whose handler may take longer
_INTERVAL = 1.0  # seconds between two looks at what wakes no event: Ctrl-C on Windows, a connection that ends

_T = TypeVar("_T")


class ThreadShell:
    """Carry out the commands of a driver in the calling thread, and read from the connection in a second thread.

    Args:
        driver: yields the commands.

    Attributes:
        inbox: the messages that the reading thread has received.
        looping: whether a thread is in `run` or `handle`; that thread cleans up.
        failure: why the last of them ended, if that was an error of the client.
    """

    changed = threading.Condition
    waiter = ThreadCall

    def __init__(self, driver: Driver[ClientConnection, ThreadCall]) -> None:
        self._driver = driver
        self.inbox = ThreadInbox()
        self.looping = False
        self.failure: ClientError | None = None
        self._changed = cast(threading.Condition, driver.changed)
        self._over = threading.Event()  # the run has ended; another one has another event
        self._announced: ClientConnection | None = None  # the one whose on_connect is through
        self._beside: threading.Thread | None = None  # made by `start`
        self._pending: ClientConnection | None = None  # before it counts
        self._calling: int | None = None  # the thread that is in a handler
        self._reader: threading.Thread | None = None  # fills the inbox
        self._asking: dict[ThreadCall, bool] = {}  # calls that wait, and whether the running handler made them
        self._turn = threading.Lock()  # held by who sends durable messages, so that they go in order
        self._more = False  # there may be some
        # stop() may run in a signal handler: neither flags nor a SimpleQueue need a lock that may be held.
        self._wake: SimpleQueue[None] = SimpleQueue()

    # The thread in run or handle.

    def enter_loop(self) -> None:
        """Count this thread as the one that cleans up. Raises ClientError if there is one."""
        with self._driver.changed:
            if self.looping:
                raise ClientError("this client is in run() or handle() already")
            self.looping = True
            self.failure = None
            self._over = threading.Event()
            for periodic in self._driver.periodic:
                self._repeat(periodic)

    def leave_dead(self) -> None:
        """Clean up after a connection that ended while nobody was in `handle`."""
        if not self.looping and perform(self._driver.leave_dead(), self):
            self.end()

    def run(self, work: Work[None]) -> None:
        """Carry out `Driver.run`, after `enter_loop`."""
        failure: ClientError | None = None
        try:
            perform(work, self)
        except ClientError as error:
            failure = error
            raise
        finally:
            if self._driver.connection is not None:  # Ctrl-C at a bad moment
                perform(self._driver.finish(self._driver.connection), self)
            self.end(failure)

    def start(self, work: Work[None]) -> None:
        """Have another thread do what `run` does, after `enter_loop`."""
        self._beside = threading.Thread(target=self._run_beside, args=(work,), name="iotio-client", daemon=True)
        self._beside.start()

    def _run_beside(self, work: Work[None]) -> None:
        try:
            self.run(work)
        except IoTError as error:
            self._driver.logger.error("the client has ended: %s", error)
        except Exception:
            self._driver.logger.exception("the client has ended")

    def join(self) -> None:
        """Wait for the end of that thread, if there is one; not in itself."""
        if self._beside is not None and self._beside is not threading.current_thread():
            self._beside.join(_PATIENCE)

    def end(self, failure: ClientError | None = None) -> None:
        """End `run`, `handle` or `connect`."""
        with self._driver.changed:
            self.failure = failure
            self._over.set()
            self._driver.end()
            self.looping = False

    # Functions that are called every so many seconds, each in a thread of its own.

    def add(self, periodic: Periodic) -> None:
        """Call a function every so many seconds, from the next run on; from now on if there is one."""
        with self._changed:
            self._driver.periodic.append(periodic)
            if self.looping:
                self._repeat(periodic)

    def _repeat(self, periodic: Periodic) -> None:
        work = self._driver.repeat(periodic, self._over)
        name = f"iotio-client-{periodic.name}"
        threading.Thread(target=perform, args=(work, self), name=name, daemon=True).start()

    def await_turn(self, over: threading.Event, due: float, latest: float) -> bool:
        with self._changed:
            self._changed.wait_for(over.is_set, max(due - time.monotonic(), 0))
            self._changed.wait_for(lambda: over.is_set() or self._ready, max(latest - time.monotonic(), 0))
            return not over.is_set()

    def take_turn(self, periodic: Periodic) -> None:
        with periodic.turn:
            periodic.function()

    @property
    def _ready(self) -> bool:
        """Whether the client is connected, and `on_connect` is through."""
        return self._announced is not None and self._announced is self._driver.connection

    def interrupt(self) -> None:
        """Have the driver look at `stopping` soon, wherever it waits."""
        self._wake.put(None)
        pending, connection = self._pending, self._driver.connection  # in this order: the one becomes the other
        if self._calling == threading.get_ident():
            return  # the loop looks at the flag when the handler returns, after the answer
        if connection is None and pending is not None:
            _shut(pending)
        elif connection is not None and self.looping:
            threading.Thread(target=self._hang_up, args=(connection,), name="iotio-client-stop", daemon=True).start()
        elif connection is not None:  # after connect(), with nobody in handle()
            perform(self._driver.finish(connection), self)
            self.end()

    # Commands: the connection.

    def open(self, target: Target, arguments: ConnectArguments, limit: float) -> ClientConnection:
        host = direct(target)
        sock = None  # the library connects to the proxy
        if host is not None:
            deadline = time.monotonic() + limit
            sock = connect_any(*host, deadline, self._driver.asked_to_stop)
            arguments["open_timeout"] = max(deadline - time.monotonic(), 0)
        # Entered by hand: it lives longer than this function. `finish` closes it.
        connection = ws_connect(
            target.uri,
            sock=sock,
            ssl=target.context,
            server_hostname=target.server_hostname,
            create_connection=cast("type[ClientConnection]", self._adopt),
            **arguments,
        ).__enter__()
        _limit_writes(connection.socket, self._driver.limit)
        return connection

    def _adopt(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ClientConnection:
        """Make the library's connection; known before the upgrade, so that `stop` can end that too."""
        if isinstance(sock, ssl.SSLSocket):
            sock = cast(socket.socket, TurnTakingSocket(sock))
        self._pending = ClientConnection(sock, *args, **kwargs)
        if self._driver.stopping:
            _shut(self._pending)
        return self._pending

    def abort(self, connection: ClientConnection | None) -> None:
        pending, self._pending = self._pending, None
        ended = pending if connection is None else connection
        if ended is not None:
            _shut(ended)

    def start_reading(self, connection: ClientConnection) -> None:
        inbox = ThreadInbox()
        reader = threading.Thread(target=self._read, args=(connection, inbox), name="iotio-client-reader", daemon=True)
        reader.start()
        with self._driver.changed:
            self.inbox, self._reader = inbox, reader
            if self._asking:
                inbox.allow()

    def announce(self) -> None:
        with self._changed:
            self._announced = self._driver.connection
            self._changed.notify_all()

    def close(self, connection: ClientConnection) -> None:
        connection.close()

    def finish(self, connection: ClientConnection, farewell: bytes | None, code: int) -> None:
        self._pending = None
        self.inbox.close()
        reader = self._reader
        try:
            self._say_and_close(connection, farewell, code)
            if reader is not None:
                reader.join()
        finally:
            self._reader = None

    def _hang_up(self, connection: ClientConnection) -> None:
        self._say_and_close(connection, self._driver.farewell(connection), self._driver.session.close_code)

    def _say_and_close(self, connection: ClientConnection, farewell: bytes | None, code: int) -> None:
        if farewell is not None:
            with suppress(ConnectionClosed):
                connection.send(farewell)
        connection.close(code)

    # Commands: messages.

    def receive(self, connection: ClientConnection, limit: float) -> bytes | str:
        return connection.recv(timeout=limit)

    def knock(self, connection: ClientConnection, limit: float) -> None:
        connection.ping()  # the socket has a limit of its own

    def make_room(self, inbox: ThreadInbox, connection: ClientConnection) -> None:
        while inbox.must_wait and connection.state is not WireState.CLOSED:
            self._fail_asking(too_many, inside=False, full=inbox)
            inbox.wait_for_room(lambda: connection.state is WireState.CLOSED, _INTERVAL)

    def next(self) -> Received | None:
        return self.inbox.get(_INTERVAL)

    def invoke(self, function: Callable[..., _T], args: tuple[Any, ...]) -> _T:
        self._calling = threading.get_ident()
        try:
            return function(*args)
        finally:
            self._calling = None

    def send(self, packet: bytes | str, connection: ClientConnection, limit: float) -> None:
        connection.send(packet)  # the socket has a limit of its own

    def sleep(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self._driver.stopping and (left := deadline - time.monotonic()) > 0:
            try:
                self._wake.get(timeout=left)  # tokens of earlier stops are used up by the loop
            except Empty:
                return

    # Commands: durable messages.

    def in_buffer(self, function: Callable[[], _T], quick: bool, alone: bool) -> _T:
        with self._turn if alone else nullcontext():
            return function()

    def send_more(self) -> None:
        """Send what may be sent; in this thread, or in the one that is at it."""
        self._more = True
        while self._more and self._turn.acquire(blocking=False):
            try:
                self._more = False
                connection = self._driver.connection
                if connection is not None:
                    perform(self._driver.send_durable(connection), self)
            except NotConnected:  # they go over the next one
                return
            finally:
                self._turn.release()

    def ping(self, connection: ClientConnection, upto: int) -> None:
        arguments = (connection, connection.ping(), upto)
        threading.Thread(target=self._await_pong, args=arguments, name="iotio-client-pong", daemon=True).start()

    def _await_pong(self, connection: ClientConnection, answered: threading.Event, upto: int) -> None:
        """Wait for the PONG of a ping, then count the durable messages up to `upto` as acknowledged.

        This is for servers that send no ACK. Nothing is done if the connection ends first.
        """
        while not answered.wait(self._driver.options.close_timeout):
            if connection is not self._driver.connection or connection.state is not WireState.OPEN:
                return
        if connection is self._driver.connection:
            perform(self._driver.acknowledged(upto), self)

    # The thread that reads, and those that wait for what it gets.

    def _read(self, connection: ClientConnection, inbox: Inbox) -> None:
        why = perform(self._driver.read(connection, inbox), self)
        self._fail_asking(partial(_disconnected, why=why), inside=True)

    def wait(self, pending: ThreadCall, deadline: float) -> None:
        """Wait until a call is done, or its time is over.

        Its answer is read by the thread of the connection, also while more messages than usual wait for the handlers:
        the handler that waits here keeps them waiting.
        """
        inside = threading.get_ident() == self._calling
        with self._driver.changed:
            self._asking[pending] = inside
            inbox = self.inbox
            inbox.allow()
        try:
            if inside and inbox.ended:  # there is no other connection before the handler has returned
                pending.fail(_disconnected(pending, "it has ended"))
            pending.done.wait(max(deadline - time.monotonic(), 0))
        finally:
            with self._driver.changed:
                del self._asking[pending]
                if not self._asking:
                    self.inbox.allow(MAX_QUEUE, 0)

    def _fail_asking(
        self, error: Callable[[ThreadCall], CallError], *, inside: bool, full: ThreadInbox | None = None
    ) -> None:
        """Fail the calls that wait for an answer and keep the messages before it waiting.

        Args:
            error: makes the error of a call.
            inside: only the one of the running handler; False: those where nobody is in `handle`, too.
            full: the inbox that is the reason; a call that has just begun may have made room in it.
        """
        with self._driver.changed:
            if full is not None and not full.must_wait:
                return
            asking = [pending for pending, own in self._asking.items() if own or not (inside or self.looping)]
        for pending in asking:
            pending.fail(error(pending))


def _disconnected(pending: ThreadCall, why: str) -> CallError:
    return CallDisconnected(f"the connection ended before {pending.event!r} was through: {why}")


def _shut(connection: ClientConnection) -> None:
    """End a connection that has no WebSocket to close yet, or whose other end is gone."""
    try:
        connection.socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        get_logger("iotio.client").debug("the socket is closed already", exc_info=True)


def _limit_writes(sock: socket.socket | TurnTakingSocket, seconds: float) -> None:
    """Let a write fail that the server does not take within `seconds`.

    By a socket option and not by Python's time-out, because that would hold for reads too.
    """
    if isinstance(sock, TurnTakingSocket):
        sock.write_limit = seconds
        return
    if sys.platform == "win32":
        values = [int(seconds * 1000).to_bytes(4, "little")]
    else:
        moment = divmod(max(int(seconds * 1e6), 1), 1_000_000)
        # struct timeval; the second where a 32-bit system keeps time in 64 bits
        values = [struct.pack("ll", *moment), struct.pack("qq", *moment)]
    for value in values:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
        except OSError:
            continue
        return
