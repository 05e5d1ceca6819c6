"""The sync client: plain threads, the interface of iot.io-client 0.4.12."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection

from .base import HANDLE_PATIENCE, NO_CONNECT, BaseClient, ctrl_c, time_limit
from .calls import DEFAULT_CALL_TIMEOUT, DEFAULT_FLUSH_TIMEOUT, ThreadCall
from .commands import Work, perform
from .driver import Driver, raise_unless_clean
from .errors import NotConnected
from .session import State
from .target import Target
from .thread_shell import ThreadShell

__all__ = ["IoTClient"]


class IoTClient(BaseClient):
    """A device, for programs without asyncio.

    Handlers run one after the other in the thread that called `run` or `handle`; pings are answered beside
    them. `emit`, `call`, `sleep` and `stop` may be called from handlers and from any thread. As a context manager it is
    stopped at the end.
    """

    _shell_type = ThreadShell
    _shell: ThreadShell
    _driver: Driver[ClientConnection, ThreadCall]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ensure_open(self, timeout: float | None = None) -> None:
        """`wait_connected`, under its name in iot.io-client 0.4.12."""
        self.wait_connected(timeout)

    def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until the client is connected.

        Args:
            timeout: seconds; None, the default, for no limit.

        Raises:
            TimeoutError: not connected in time.
            NotConnected: the client was stopped.
            ClientError: it has given up; the error is that of `run`.
        """
        settled = (State.OPEN, State.ENDED)
        with self._changed:
            if not self._changed.wait_for(lambda: self._session.state in settled, timeout):
                raise TimeoutError(f"not connected within {timeout} s")
            if self._session.state is State.ENDED:
                raise self._shell.failure or NotConnected("the client is not connected, and does not try to")

    def connect(
        self,
        domain: str,
        timeout: float | None = None,
        sslopt: Mapping[str, Any] | None = None,
        use_tls: bool | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Connect once, and call `on_connect`. Then call `handle`, in this thread or another.

        Args: as for `run`.

        Raises:
            ConnectFailed: there is no connection; the subclasses and the text say why.
            ClientError: the client is connected already.
            ValueError: an argument is wrong, or `client_data` is not JSON.
        """
        target = Target.parse(domain, sslopt=sslopt, ssl_context=ssl_context, use_tls=use_tls)
        limit = time_limit(timeout)
        self._shell.leave_dead()
        self._driver.check_free()
        try:
            perform(self._driver.open(target, limit), self._shell)
        except BaseException:
            self._shell.end()
            raise
        self._shell.announce()

    def handle(self) -> None:
        """Receive until the connection ends, then call `on_disconnect`.

        Waits for `connect` in another thread first: 20 s at most until that begins, then for as long as it takes.

        Raises:
            ConnectionLost: the connection did not end in order.
            DeviceRejected: the server refuses this device.
            NotConnected: there will be no connection.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._session.state is not State.IDLE, HANDLE_PATIENCE):
                raise NotConnected(NO_CONNECT.format("connect"))
        self.ensure_open()
        self._shell.enter_loop()
        try:
            end = perform(self._driver.receive(), self._shell)
        finally:
            self._shell.end()
        raise_unless_clean(end)

    def run(
        self,
        domain: str,
        timeout: float | None = None,
        sslopt: Mapping[str, Any] | None = None,
        use_tls: bool | None = None,
        reconnect: bool = True,
        reconnect_delay: float | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Connect, receive, and connect again when the connection ends. Blocks until `stop` or Ctrl-C.

        Args:
            domain: 'example.com', 'localhost:5000' or '192.168.1.10', with 'wss://' before it for TLS.
            timeout: seconds for connecting and for each write (default 20); the server may be silent longer.
            sslopt: TLS, by the options of websocket-client.
            use_tls: None: TLS if `domain`, `sslopt` or `ssl_context` say so; True: TLS in any case.
            reconnect: False: return or raise when the first connection ends.
            reconnect_delay: longest wait between two attempts, seconds (default 60); each wait is drawn
                between 0 and a limit that starts at 1 s and doubles up to this.
            ssl_context: TLS, by a context of your own.

        Raises:
            DeviceRejected: the server refuses this device as it is; the text says what to change.
            UpgradeRefused: an HTTP status that no new attempt would change (401, 403, 404, ...).
            ConnectFailed: only with `reconnect=False`.
            ConnectionLost: only with `reconnect=False`: the connection did not end in order.
            KeyboardInterrupt: Ctrl-C, after CLOSE 1000 was sent and `on_disconnect` called. If nobody catches it, the
                program ends with status 0 and without a traceback.
            ClientError: the client is running already.
            ValueError: an argument is wrong, or `client_data` is not JSON.
        """
        work = self._begin(domain, timeout, sslopt, use_tls, reconnect, reconnect_delay, ssl_context)
        with ctrl_c(self.logger):
            self._shell.run(work)

    def start(
        self,
        domain: str,
        timeout: float | None = None,
        sslopt: Mapping[str, Any] | None = None,
        use_tls: bool | None = None,
        reconnect: bool = True,
        reconnect_delay: float | None = None,
        *,
        ssl_context: ssl.SSLContext | None = None,
    ) -> Self:
        """`run` in a thread of its own, which ends with `stop` or with the program. Returns at once.

        What ends it otherwise is logged as an error, and `wait_connected` raises it.

        Args: as for `run`.

        Returns:
            The client: `with client.start(domain):` stops it at the end.

        Raises:
            ClientError: the client is running already.
            ValueError: an argument is wrong.
        """
        self._shell.start(self._begin(domain, timeout, sslopt, use_tls, reconnect, reconnect_delay, ssl_context))
        return self

    def stop(self) -> None:
        """End `run` or `handle`, or the thread of `start`: CLOSE 1000, `on_disconnect`, and they return.

        May be called from any thread, from handlers and from signal handlers. It returns at once; after `start`, when
        that thread has ended, or after 10 s. Called before the first `run`, it makes that return at once; after the end
        of a `run`, it does nothing.
        """
        super().stop()
        self._shell.join()

    def _begin(
        self,
        domain: str,
        timeout: float | None,
        sslopt: Mapping[str, Any] | None,
        use_tls: bool | None,
        reconnect: bool,
        reconnect_delay: float | None,
        ssl_context: ssl.SSLContext | None,
    ) -> Work[None]:
        """Check what `run` and `start` got, and count the client as running."""
        target = Target.parse(domain, sslopt=sslopt, ssl_context=ssl_context, use_tls=use_tls)
        limit, backoff = time_limit(timeout), self._capped(reconnect_delay)
        self._shell.leave_dead()
        self._driver.begin()
        self._shell.enter_loop()
        return self._driver.run(target, limit, backoff if reconnect else None)

    def emit(
        self, event: str, data: Any = None, *, durable: bool = False, time: datetime | float | None = None
    ) -> int | None:
        """Send an event to the server. May be called from any thread.

        Args:
            event: its name.
            data: bytes, bytearray, bool, int, float, str, list, dict or None; protocol 1 has no float and no None.
            durable: keep it until the server has it, over any number of connections; it need not be connected.
            time: when it was, by this device's clock: a datetime with a time zone, or seconds since 1970. None: now.

        Returns:
            The number of a durable message, which on return is in the buffer; None for another one.

        Raises:
            NotConnected: there is no connection, or it ended; the message is not sent later. Not if it is durable.
            EncodeError: the data or the event cannot be sent, or a time without `durable` with protocol 1 (a
                ValueError).
            BufferFull: too many durable messages wait.
            BufferFailed: the buffer's file cannot be written; the message is not kept.
            ValueError: `time` has no time zone, or is not within the years 1970 to 9999.
        """
        return perform(self._driver.send(event, data, durable, time), self._shell)

    def send(
        self, event: str, message: Any, *, durable: bool = False, time: datetime | float | None = None
    ) -> int | None:
        """`emit`, under its name in iot.io-client. Raises as `emit` does."""
        return perform(self._driver.send(event, message, durable, time), self._shell)

    def report(
        self, values: Mapping[str, Any], *, durable: bool = False, time: datetime | float | None = None
    ) -> int | None:
        """Tell the server what endpoints are, or were.

        Without a connection the last value of each endpoint is kept, and told when the device is back. The server knows
        then what each endpoint is before anything else.

        Args:
            values: by the ids of endpoints that are declared, by `sensor` or `on`.
            durable: keep these values until the server has them, each with its time, over any number of connections.
            time: when it was, by this device's clock: a datetime with a time zone, or seconds since 1970. None: now.

        Returns:
            The number of a durable message; None without `durable`.

        Raises:
            InvalidEndpoint: there is no such endpoint, or it does not take its value (a ValueError). Nothing is sent.
            NotConnected: a report of an earlier time, not durable, and there is no connection.
            BufferFull: too many durable messages wait.
            BufferFailed: the buffer's file cannot be written; the message is not kept.
            ValueError: `time` has no time zone, or is not within the years 1970 to 9999.
        """
        return perform(self._driver.report(values, durable, time), self._shell)

    def flush(self, timeout: float = DEFAULT_FLUSH_TIMEOUT) -> None:
        """Wait until the server has all durable messages that have been sent so far. May be called from any thread.

        In a handler other messages wait meanwhile, as in `call`.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: not in time; in a handler also when the connection ends. Nothing is lost by that.
            CallError: 1000 other messages came meanwhile, in a handler.
            ValueError: `timeout` is not above 0.
        """
        perform(self._driver.flush(timeout), self._shell)

    def call(self, event: str, data: Any = None, *, timeout: float = DEFAULT_CALL_TIMEOUT) -> Any:
        """Call a handler of the server and wait for what it returns. May be called from any thread.

        In a handler of this client other messages wait until that returns.

        Args:
            event: its event.
            data: what the handler gets: bytes, bytearray, bool, int, float, str, list, dict or None.
            timeout: seconds.

        Returns:
            What the handler returned.

        Raises:
            CallTimeout: no answer in time; one that comes later is dropped.
            CallDisconnected: there is no connection, or it ended; the handler may have run.
            RemoteError: the handler raised.
            NoHandler: the server has no handler for the event.
            InvalidData: the server refused the value, or its handler's result cannot be sent.
            TooManyCalls: too many calls are on their way.
            CallsUnsupported: the connection speaks protocol 1 or 0.
            CallError: 1000 other messages came before the answer, in a handler; root of the errors above.
            EncodeError: the event or the value cannot be sent (a ValueError).
            ValueError: `timeout` is not above 0.
        """
        return perform(self._driver.call(event, data, timeout), self._shell)
