"""The client for asyncio programs: the interface of iot.io-client 0.1.0."""

from __future__ import annotations

import asyncio
import inspect
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection

from iotio_protocol.calls import check_timeout

from .base import HANDLE_PATIENCE, NO_CONNECT, BaseClient, ctrl_c, time_limit
from .calls import DEFAULT_CALL_TIMEOUT, DEFAULT_FLUSH_TIMEOUT, timed_out
from .commands import Work, perform_async
from .driver import Driver, raise_unless_clean
from .errors import ClientError, NotConnected
from .session import State
from .target import Target
from .task_shell import TaskShell
from .task_waits import TaskCall

__all__ = ["AsyncIoTClient"]


class AsyncIoTClient(BaseClient):
    """A device, for asyncio programs.

    Handlers are awaited one after the other; pings are answered, and answers of calls taken, beside them. Methods
    `on_<event>` may be `async def` or `def`; what `on` gets must be `async def`. All methods but `stop` and `sleep`
    belong to the event loop. As a context manager (`async with`) it is stopped at the end.
    """

    _allow_async = True
    _shell_type = TaskShell
    _shell: TaskShell
    _driver: Driver[ClientConnection, TaskCall]
    _own_loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running event loop, or the one that `run` is going to use."""
        with suppress(RuntimeError):
            return asyncio.get_running_loop()
        if self._own_loop is None or self._own_loop.is_closed():
            self._own_loop = asyncio.new_event_loop()
        return self._own_loop

    @property
    def socket(self) -> ClientConnection | None:
        """The WebSocket connection, or None."""
        return self._driver.connection

    @property
    def handshake_sent(self) -> bool:
        """Whether the server has been told who this is, on the current connection."""
        return self._driver.connection is not None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await self._shell.join()

    async def wait_until_ready(self, timeout: float | None = None) -> None:
        """`wait_connected`, under its name in iot.io-client 0.1.0."""
        await self.wait_connected(timeout)

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until the client is connected, and `on_connect` has returned.

        Args:
            timeout: seconds; None, the default, for no limit.

        Raises:
            TimeoutError: not connected in time.
            ClientError: `begin` or `run` failed for good, or the client was stopped.
        """
        if not self.connected and not await self._shell.wait_ready(timeout):
            raise TimeoutError(f"not connected within {timeout} s")

    async def begin(
        self,
        domain: str,
        ssl_context: ssl.SSLContext | None = None,
        use_tls: bool | None = None,
        *,
        timeout: float | None = None,
        sslopt: Mapping[str, Any] | None = None,
    ) -> None:
        """Connect once, and call `on_connect`. Then await `handle`.

        Args: as for `run`.

        Raises:
            ConnectFailed: there is no connection; the subclasses and the text say why.
            ClientError: the client is connected already.
            ValueError: an argument is wrong, or `client_data` is not JSON.
        """
        target = Target.parse(domain, sslopt=sslopt, ssl_context=ssl_context, use_tls=use_tls)
        limit = time_limit(timeout)
        await self._shell.leave_dead()
        self._driver.check_free()
        try:
            await self._shell.guard(self._driver.open(target, limit))
        except BaseException as error:
            self._shell.end(error if isinstance(error, ClientError) else None)
            raise
        if self._driver.connection is None:
            self._shell.end(None)
            raise NotConnected("the client was stopped before it was connected")
        self._shell.tell_ready()

    async def handle(self) -> None:
        """Receive until the connection ends, then call `on_disconnect`.

        Waits for `begin` in another task first: 20 s at most until that begins, then for as long as it takes.

        Raises:
            NotConnected: nobody has called `begin`, or there will be no connection.
            ConnectionLost: the connection did not end in order.
            DeviceRejected: the server refuses this device.
            ConnectFailed: `begin` failed.
        """
        shell = self._shell
        if not shell.ready and not await shell.wait_ready(HANDLE_PATIENCE) and not shell.ready:
            if self._session.state in (State.IDLE, State.ENDED):
                raise NotConnected(NO_CONNECT.format("begin"))
            await shell.wait_ready()
        if shell.leaving is not None:  # stopped before
            await asyncio.shield(shell.leaving)
            return
        shell.check_idle()
        connection = self._driver.connection
        try:
            end = await shell.run(self._driver.receive())
        finally:
            if connection is not None:  # stopped before the task's first step
                await perform_async(self._driver.finish(connection), shell)
            shell.end(None)
        raise_unless_clean(end)

    def run(
        self,
        domain: str,
        ssl_context: ssl.SSLContext | None = None,
        use_tls: bool | None = None,
        *,
        timeout: float | None = None,
        sslopt: Mapping[str, Any] | None = None,
        reconnect: bool = True,
        reconnect_delay: float | None = None,
    ) -> None:
        """Connect, receive, and connect again when the connection ends, on an event loop of its own.

        Blocks until `stop` or Ctrl-C; the loop (`loop`) and the tasks on it end with it.

        Args:
            domain: 'example.com', 'localhost:5000' or '192.168.1.10', with 'wss://' before it for TLS.
            ssl_context: TLS, by a context of your own.
            use_tls: None: TLS if `domain`, `sslopt` or `ssl_context` say so; True: TLS in any case.
            timeout: seconds for connecting and for each write (default 20); the server may be silent longer.
            sslopt: TLS, by the options of websocket-client.
            reconnect: False: return or raise when the first connection ends.
            reconnect_delay: longest wait between two attempts, seconds (default 60); each wait is drawn
                between 0 and a limit that starts at 1 s and doubles up to this.

        Raises:
            DeviceRejected: the server refuses this device as it is; the text says what to change.
            UpgradeRefused: an HTTP status that no new attempt would change (401, 403, 404, ...).
            ConnectFailed: only with `reconnect=False`.
            ConnectionLost: only with `reconnect=False`: the connection did not end in order.
            KeyboardInterrupt: Ctrl-C, after CLOSE 1000 was sent and `on_disconnect` called. If nobody catches it, the
                program ends with status 0 and without a traceback.
            ClientError: the client is running already.
            ValueError: an argument is wrong, or `client_data` is not JSON.
            RuntimeError: an event loop runs in this thread; await `run_async` there.
        """
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("run() cannot be called from a running event loop; await run_async() there")
        self._shell.check_idle()
        with ctrl_c(self.logger), asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(
                self.run_async(
                    domain,
                    ssl_context,
                    use_tls,
                    timeout=timeout,
                    sslopt=sslopt,
                    reconnect=reconnect,
                    reconnect_delay=reconnect_delay,
                )
            )

    async def run_async(
        self,
        domain: str,
        ssl_context: ssl.SSLContext | None = None,
        use_tls: bool | None = None,
        *,
        timeout: float | None = None,
        sslopt: Mapping[str, Any] | None = None,
        reconnect: bool = True,
        reconnect_delay: float | None = None,
    ) -> None:
        """`run`, for a program that has an event loop already. Ends by `stop` or when it is cancelled."""
        await self._run(self._work(domain, ssl_context, use_tls, timeout, sslopt, reconnect, reconnect_delay))

    def start(
        self,
        domain: str,
        ssl_context: ssl.SSLContext | None = None,
        use_tls: bool | None = None,
        *,
        timeout: float | None = None,
        sslopt: Mapping[str, Any] | None = None,
        reconnect: bool = True,
        reconnect_delay: float | None = None,
    ) -> Self:
        """`run_async` in a task of its own, which ends with `stop` or with the event loop. Returns at once.

        What ends it otherwise is logged as an error, and `wait_connected` raises it.

        Args: as for `run`.

        Returns:
            The client: `async with client.start(domain):` stops it at the end.

        Raises:
            ClientError: the client is running already.
            ValueError: an argument is wrong.
            RuntimeError: no event loop runs in this thread.
        """
        work = self._work(domain, ssl_context, use_tls, timeout, sslopt, reconnect, reconnect_delay)
        if asyncio._get_running_loop() is None:
            raise RuntimeError("start() needs a running event loop: call it in a coroutine, or use run()")
        self._shell.check_not_started()
        self._driver.begin()
        self._shell.start(self._run(work))
        return self

    def _work(
        self,
        domain: str,
        ssl_context: ssl.SSLContext | None,
        use_tls: bool | None,
        timeout: float | None,
        sslopt: Mapping[str, Any] | None,
        reconnect: bool,
        reconnect_delay: float | None,
    ) -> Work[None]:
        """Check what `run_async` and `start` got. Returns what the client then does."""
        target = Target.parse(domain, sslopt=sslopt, ssl_context=ssl_context, use_tls=use_tls)
        limit, backoff = time_limit(timeout), self._capped(reconnect_delay)
        return self._driver.run(target, limit, backoff if reconnect else None)

    async def _run(self, work: Work[None]) -> None:
        failure: ClientError | None = None
        await self._shell.leave_dead()
        self._driver.check_free()
        try:
            await self._shell.run(work)
        except ClientError as error:
            failure = error
            raise
        finally:
            self._shell.end(failure)

    async def emit(
        self, event: str, data: Any = None, *, durable: bool = False, time: datetime | float | None = None
    ) -> int | None:
        """Send an event to the server.

        Args:
            event: its name.
            data: bytes, bytearray, bool, int, float, str, list, dict or None; protocol 1 has no float and no None,
                protocol 0 bool, int, float, str and dict only.
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
        return await perform_async(self._driver.send(event, data, durable, time), self._shell)

    async def send(
        self, event: str, message: Any, *, durable: bool = False, time: datetime | float | None = None
    ) -> int | None:
        """`emit`, under its name in iot.io-client. Raises as `emit` does."""
        return await perform_async(self._driver.send(event, message, durable, time), self._shell)

    async def report(
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
        return await perform_async(self._driver.report(values, durable, time), self._shell)

    async def flush(self, timeout: float = DEFAULT_FLUSH_TIMEOUT) -> None:
        """Wait until the server has all durable messages that have been sent so far.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: not in time; nothing is lost by that.
            ValueError: `timeout` is not above 0.
        """
        await perform_async(self._driver.flush(timeout), self._shell)

    async def call(self, event: str, data: Any = None, *, timeout: float = DEFAULT_CALL_TIMEOUT) -> Any:
        """Call a handler of the server and wait for what it returns, also in a handler.

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
            EncodeError: the event or the value cannot be sent (a ValueError).
            ValueError: `timeout` is not above 0.
        """
        limit = check_timeout(timeout)
        try:
            async with asyncio.timeout(limit):  # for the write, too
                return await perform_async(self._driver.call(event, data, limit), self._shell)
        except TimeoutError:
            raise timed_out(event, limit) from None

    def _check_handler(self, name: str, handler: Any) -> None:
        if not inspect.iscoroutinefunction(handler):
            raise ValueError("Functions wrapped with the client.on decorator must be asynchronous.")
        super()._check_handler(name, handler)
