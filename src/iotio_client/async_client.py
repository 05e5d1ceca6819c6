"""The client for asyncio programs: the interface of iot.io-client 0.1.0."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import time as wall_clock
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as ws_connect
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State as WireState

from iotio_protocol.calls import check_timeout
from iotio_protocol.errors import CallDisconnected, EncodeError, InvalidData

from .backoff import Backoff
from .base import DEFAULT_TIMEOUT, HANDLE_PATIENCE, NO_CONNECT, BaseClient, raise_unless_clean, time_limit
from .calls import DEFAULT_CALL_TIMEOUT, DEFAULT_FLUSH_TIMEOUT, TaskCall, timed_out
from .durable import Flushes
from .errors import BufferFailed, ClientError, ConnectFailed, ConnectionBroken, ConnectionLost, NotConnected
from .failures import CONNECT_ERRORS, connect_failure, connection_lost, not_let_in
from .handlers import Handler
from .inbox import TaskInbox
from .message import Message, current_message, milliseconds
from .received import Acknowledged, Answer, Dispatch, Received, ServerError
from .session import State
from .target import Target

__all__ = ["AsyncIoTClient"]

_T = TypeVar("_T")


class AsyncIoTClient(BaseClient):
    """A device, for asyncio programs.

    Handlers are awaited one after the other; pings are answered, and answers of calls taken, beside them. Methods
    `on_<event>` may be `async def` or `def`; what `on` gets must be `async def`. All methods but `stop` and `sleep`
    belong to the event loop.

    Attributes:
        handshake_sent: whether the server has been told who this is, on the current connection.
    """

    _allow_async = True

    def _init_connection_fields(self) -> None:
        self.handshake_sent = False
        self._connection: ClientConnection | None = None
        self._inbox = TaskInbox()
        self._reader: asyncio.Task[None] | None = None  # fills it
        self._limit = DEFAULT_TIMEOUT
        self._own_loop: asyncio.AbstractEventLoop | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # the one that the connection lives on
        self._task: asyncio.Task[Any] | None = None  # what stop() cancels
        self._leaving: asyncio.Task[None] | None = None  # closes a connection that nobody is in handle() for
        self._calling = False  # that task is in a handler
        self._ready = False  # connected, and on_connect is through
        self._finishing = False  # that task is in clean-up
        self._waiters: set[asyncio.Future[None]] = set()
        self._sender: asyncio.Task[None] | None = None  # sends durable messages
        self._more = asyncio.Event()  # there may be some
        self._flushes = Flushes(self._session.buffer, partial(TaskCall, "flush"))
        self._buffer_turns: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None

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
        return self._connection

    @property
    def connected(self) -> bool:
        """Whether there is a connection to send on."""
        connection = self._connection
        return connection is not None and connection.state is WireState.OPEN

    async def wait_until_ready(self, timeout: float | None = None) -> None:
        """Wait until the client is connected and has said who it is.

        Args:
            timeout: seconds; None, the default, for no limit, as in 0.1.0.

        Raises:
            TimeoutError: not connected in time.
            ClientError: `begin` or `run` failed for good, or the client was stopped.
        """
        if not self.connected and not await self._wait_ready(timeout):
            raise TimeoutError(f"not connected within {timeout} s")

    async def _wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until `_announce`. Returns False at the time-out."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            done, _ = await asyncio.wait([waiter], timeout=timeout)
            if done:
                waiter.result()
            return bool(done)
        finally:
            self._waiters.discard(waiter)

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
        await self._leave_dead()
        self._check_free()
        try:
            await self._guarded(self._open(target, limit))
        except BaseException as error:
            self._end(error if isinstance(error, ClientError) else None)
            raise
        if self._connection is None:
            self._end(None)
            raise NotConnected("the client was stopped before it was connected")
        self._announce()

    async def handle(self) -> None:
        """Receive until the connection ends, then call `on_disconnect`.

        Waits for `begin` in another task first: 20 s at most until that begins, then for as long as it takes.

        Raises:
            NotConnected: nobody has called `begin`, or there will be no connection.
            ConnectionLost: the connection did not end in order.
            DeviceRejected: the server refuses this device.
            ConnectFailed: `begin` failed.
        """
        if not self._ready and not await self._wait_ready(HANDLE_PATIENCE) and not self._ready:
            if self._session.state in (State.IDLE, State.ENDED):
                raise NotConnected(NO_CONNECT.format("begin"))
            await self._wait_ready()
        if self._leaving is not None:  # stopped before
            await asyncio.shield(self._leaving)
            return
        self._check_idle()
        connection = self._connection
        try:
            end = await self._guarded(self._receive())
        finally:
            if connection is not None and self._connection is connection:  # stopped before the task's first step
                await self._finish(connection)
            self._end(None)
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
            KeyboardInterrupt: Ctrl-C, after CLOSE 1000 was sent and `on_disconnect` called.
            ClientError: the client is running already.
            ValueError: an argument is wrong, or `client_data` is not JSON.
            RuntimeError: an event loop runs in this thread; await `run_async` there.
        """
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("run() cannot be called from a running event loop; await run_async() there")
        self._check_idle()
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
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
        target = Target.parse(domain, sslopt=sslopt, ssl_context=ssl_context, use_tls=use_tls)
        limit, backoff = time_limit(timeout), self._capped(reconnect_delay)
        await self._leave_dead()
        self._check_free()
        failure: ClientError | None = None
        try:
            await self._guarded(self._keep_connected(target, limit, backoff if reconnect else None))
        except ClientError as error:
            failure = error
            raise
        finally:
            self._end(failure)

    async def send(
        self, event: str, message: Any, *, durable: bool = False, time: datetime | float | None = None
    ) -> int | None:
        """Send a message to the server.

        Args:
            event: its event.
            message: bytes, bytearray, bool, int, float, str, list, dict or None; protocol 1 has no float and no
                None, protocol 0 bool, int, float, str and dict only.
            durable: keep it until the server has it, over any number of connections; it need not be connected.
            time: when it was, by this device's clock: a datetime with a time zone, or seconds since 1970. None: now.

        Returns:
            The number of a durable message, which on return is in the buffer; None for another one.

        Raises:
            NotConnected: there is no connection, or it ended; the message is not sent later. Not if it is durable.
            EncodeError: the message or the event cannot be sent, or a time without `durable` with protocol 1 (a
                ValueError).
            BufferFull: too many durable messages wait.
            BufferFailed: the buffer's file cannot be written; the message is not kept.
            ValueError: `time` has no time zone, or is not within the years 1 to 9999.
        """
        when = None if time is None else milliseconds(time)
        if durable:
            made = milliseconds(wall_clock()) if when is None else when
            number = await self._in_buffer(lambda: self._session.durable.keep(event, message, made))
            self._more.set()
            return number
        connection = self._connection
        await self._write(self._session.codec.encode(event, message, when), connection)
        return None

    async def flush(self, timeout: float = DEFAULT_FLUSH_TIMEOUT) -> None:
        """Wait until the server has all durable messages that have been sent so far.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: not in time; nothing is lost by that.
            ValueError: `timeout` is not above 0.
        """
        limit = check_timeout(timeout)
        waiting = self._flushes.add()
        try:
            self._flushes.settle()
            async with asyncio.timeout(limit):
                await waiting.future
        except TimeoutError:
            raise TimeoutError(f"{self.waiting} durable messages are not acknowledged within {limit:g} s") from None
        finally:
            self._flushes.remove(waiting)

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
        pending = TaskCall(event)
        connection = self._connection
        number = self._session.calls.begin(pending)
        try:
            async with asyncio.timeout(limit):
                await self._write(self._session.calls.encode(number, event, data), connection)
                return await pending.future
        except NotConnected as error:
            raise CallDisconnected(f"the call of {event!r} cannot be sent: {error}") from error
        except TimeoutError:
            raise timed_out(event, limit) from None
        finally:
            self._session.calls.end(number)

    def stop(self) -> None:
        """End `run`, `run_async` or `handle`: CLOSE 1000, `on_disconnect`, and they return.

        May be called from any thread, from handlers and from signal handlers, and returns at once. Called
        before the first `run`, it makes that return at once; after the end of a `run`, it does nothing.
        """
        if self._session.state is State.ENDED:
            return
        self._stopping = True
        if self._loop is None or (self._calling and self._in_own_task()):
            return  # the task looks at the flag when the handler returns, after the answer
        with suppress(RuntimeError):  # that loop is closed: nothing runs any more
            self._loop.call_soon_threadsafe(self._interrupt)

    def _check_handler(self, name: str, handler: Any) -> None:
        if not inspect.iscoroutinefunction(handler):
            raise ValueError("Functions wrapped with the client.on decorator must be asynchronous.")
        super()._check_handler(name, handler)

    # The end.

    def _check_idle(self) -> None:
        if self._task is not None:
            raise ClientError("this client is in run() or handle() already")

    async def _leave_dead(self) -> None:
        """Clean up after a connection that ended while nobody was in `handle`."""
        connection = self._connection
        if connection is not None and self._task is None and not self.connected:
            await self._finish(connection)
            self._end(None)

    def _in_own_task(self) -> bool:
        try:
            return asyncio.current_task() is self._task
        except RuntimeError:  # another thread
            return False

    def _interrupt(self) -> None:
        if not self._stopping:  # it has ended by itself; another run may have begun
            return
        if self._task is not None:
            if not self._finishing:
                self._task.cancel()
        elif self._connection is not None:  # after begin(), with nobody in handle()
            self._task = self._leaving = asyncio.create_task(self._leave(self._connection))

    async def _leave(self, connection: ClientConnection) -> None:
        try:
            await self._finish(connection)
        finally:
            self._task = self._leaving = None
            self._end(None)

    async def _guarded(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        """Run `work` in a task of its own, which `stop` may cancel; None: it did."""
        self._loop = asyncio.get_running_loop()
        self._task = task = self._loop.create_task(work)
        try:
            return await task
        except asyncio.CancelledError:
            outer = asyncio.current_task()
            if self._stopping and not (outer and outer.cancelling()):
                return None
            raise
        finally:
            self._task = None

    def _end(self, failure: ClientError | None) -> None:
        self._session.ended()
        self._stopping = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(failure or NotConnected(self._why_not_connected()))

    # The connection.

    async def _keep_connected(self, target: Target, limit: float, backoff: Backoff | None) -> None:
        while not self._asked_to_stop():
            end = await self._attempt(target, limit)
            if self._asked_to_stop():
                return
            if end is None or backoff is None or not end.retry:
                return raise_unless_clean(end)
            wait = self._session.wait(asyncio.get_running_loop().time(), backoff)
            self._log_end(end, wait)
            await asyncio.sleep(wait)

    async def _attempt(self, target: Target, limit: float) -> ClientError | None:
        """One connection from begin to end; returns why it ended, None after `stop`."""
        try:
            await self._open(target, limit)
        except ConnectFailed as error:
            return error
        self._announce()
        return await self._receive()

    async def _open(self, target: Target, limit: float) -> None:
        headers = self._session.connecting()
        self._limit = limit
        self.logger.info("Connecting to the domain: %s", target.where)
        tls: dict[str, Any] = {"ssl": target.context} if target.context else {}
        if target.server_hostname is not None:
            tls["server_hostname"] = target.server_hostname
        try:
            async with asyncio.timeout(limit):
                connection = await ws_connect(target.uri, **self._connect_arguments(target, headers, limit), **tls)
                await self._introduce(connection, target)
            self._opened(connection)
        except ClientError:
            raise
        except CONNECT_ERRORS as error:
            raise connect_failure(error, target, limit) from error
        try:
            await self._call("on_connect")
        except BaseException:  # stopped, cancelled or sys.exit() in there: nobody will call handle()
            await self._finish(connection)
            raise
        self.logger.info("Connected successfully.")

    async def _introduce(self, connection: ClientConnection, target: Target) -> None:
        """Say who this is, and wait until the server agrees where it says so."""
        try:
            greeting = self._agreed(connection.subprotocol)
            if greeting is not None:
                await connection.send(greeting)
            if self._session.unwelcomed:
                received = self._session.welcome(await connection.recv(), time.monotonic(), wall_clock())
                if received is not None:
                    await self._take(received, connection)
            await self._in_buffer(self._session.durable.resume)
        except ConnectionClosed as error:
            raise not_let_in(error, target) from error
        except ClientError:
            await connection.close()
            raise
        except BaseException:
            connection.transport.abort()
            raise

    def _opened(self, connection: ClientConnection) -> None:
        self._session.opened(asyncio.get_running_loop().time())
        self._connection = connection
        self._inbox = TaskInbox()
        self._reader = asyncio.create_task(self._read(connection, self._inbox))
        self._more = asyncio.Event()
        self._sender = asyncio.create_task(self._send_durable(connection, self._more))
        self._flushes.settle()
        self.handshake_sent = True

    def _announce(self) -> None:
        """Let all go on that wait for the connection, as `on_connect` has returned."""
        self._ready = self._connection is not None
        for waiter in self._waiters:
            if self._ready and not waiter.done():
                waiter.set_result(None)

    async def _read(self, connection: ClientConnection, inbox: TaskInbox) -> None:
        """Receive until the connection ends: answers go to who waits for them, all else into `inbox`."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._options.close_timeout):
                        message = await connection.recv()
                except TimeoutError:
                    # The library gives a closing handshake that the server began no deadline: close() does.
                    if connection.state is not WireState.OPEN:
                        await connection.close()
                    continue
                received = self._session.codec.receive(message)
                if isinstance(received, Answer):
                    self._settle(received)
                    continue
                if isinstance(received, Acknowledged):
                    wrong = await self._acknowledged(received.upto)
                    if wrong is None:
                        continue
                    received = wrong
                if inbox.must_wait:
                    await inbox.wait_for_room(connection.wait_closed())
                inbox.put(received)
        except ConnectionClosed as error:
            lost = self._lost(error)
            self._end_calls(str(lost))
            inbox.end(lost)
        except Exception as error:  # no error of a server's making: `_receive` raises it
            inbox.end(error)

    async def _receive(self) -> ConnectionLost | None:
        """Handle what comes until the connection ends; None: by `stop`."""
        connection = self._connection
        if connection is None:  # stopped between begin() and handle()
            return None
        try:
            while not self._asked_to_stop():
                try:
                    received = await self._inbox.get()
                except ConnectionLost as error:
                    return None if self._asked_to_stop() else error
                try:
                    await self._take(received, connection)
                except ConnectionBroken as error:
                    return error
            return None
        finally:
            await self._finish(connection)

    def _settle(self, answer: Answer) -> None:
        if not self._session.calls.answer(answer):
            self.logger.debug("Dropped an answer that nobody waits for any more")

    def _end_calls(self, why: str) -> None:
        self._session.calls.end_all(why)

    async def _take(self, received: Received, connection: ClientConnection) -> None:
        if isinstance(received, Dispatch):
            await self._dispatch(received, connection)
        elif isinstance(received, ServerError):
            self._log_server_error(received)
            await self._call("on_error", received.error)
            if received.rejection is not None:
                raise received.rejection
        elif not isinstance(received, (Acknowledged, Answer)):
            self._log_ignored(received)
            if received.reply is not None:
                await self._answer("the protocol", received.reply, connection)

    async def _dispatch(self, received: Dispatch, connection: ClientConnection) -> None:
        known = (
            await self._in_buffer(lambda: self._session.durable.known(received), quick=True)
            if received.number
            else None
        )
        if known is not None:
            await self._take(known, connection)
            if known.invalid:
                raise self._session.give_up(known.why)
            return
        message = self._about(received)
        token = current_message.set(message)
        try:
            name, reply = await self._run_handler(received)
        finally:
            current_message.reset(token)
        ack = await self._handled(name, received, message) if received.number else None
        for packet in (reply, ack):
            if packet is not None:
                await self._answer(name, packet, connection)

    async def _handled(self, name: str, received: Dispatch, message: Message | None) -> bytes | None:
        """Note that a durable message is through. Returns its ACK."""
        effects = message.effects if message is not None else []
        try:
            try:
                return await self._in_buffer(lambda: self._session.durable.handled(received, effects))
            except BufferFailed:
                raise
            except Exception:
                self._log_handler_error(name)
                return await self._in_buffer(lambda: self._session.durable.handled(received))
        except BufferFailed as error:
            self.logger.error("A durable message cannot be noted as handled, and has to come again: %s", error)
            raise self._session.give_up(str(error)) from error

    async def _run_handler(self, received: Dispatch) -> tuple[str, bytes | str | None]:
        """Run the handler of a message. Returns its name, and what to send."""
        name = f"on_{received.event}"
        handler = self._handlers.find(received.event)
        reply: bytes | str | None
        if handler is None:
            self.logger.debug("No handler %s", name)
            reply = self._session.codec.unhandled(received)
        else:
            self.logger.debug("Calling Event Handler: %s", name)
            reply = await self._handle(name, handler, received)
        return name, reply

    async def _handle(self, name: str, handler: Handler, received: Dispatch) -> bytes | str | None:
        """Run a handler. Returns what to send."""
        try:
            value = self._session.codec.check(received)
        except InvalidData as error:
            self.logger.warning("Refused a call: %s", error)
            return self._session.codec.failed(received, error)
        try:
            return self._session.codec.answer(received, await self._invoke(handler, value))
        except Exception as error:
            self._log_handler_error(name)
            self._forget_effects()
            return self._session.codec.failed(received, error)

    async def _answer(self, name: str, packet: bytes | str, connection: ClientConnection) -> None:
        try:
            await self._write(packet, connection)
        except NotConnected as error:
            self.logger.warning("The answer of %s is lost: %s", name, error)

    async def _call(self, name: str, *args: Any) -> None:
        """Call on_connect, on_disconnect or on_error."""
        try:
            await self._invoke(getattr(self, name), *args)
        except Exception:
            self._log_handler_error(name)

    async def _invoke(self, handler: Callable[..., Any], *args: Any) -> Any:
        self._calling = True
        try:
            result = handler(*args)
            return await result if inspect.isawaitable(result) else result
        finally:
            self._calling = False

    # Durable messages of this device.

    async def _in_buffer(self, function: Callable[[], _T], *, quick: bool = False) -> _T:
        """Do something with the buffer, in the order of the calls; what writes a file, in a thread."""
        loop = asyncio.get_running_loop()
        if self._buffer_turns is None or self._buffer_turns[0] is not loop:
            self._buffer_turns = loop, asyncio.Lock()
        async with self._buffer_turns[1]:
            if quick or not self._session.buffer.on_disk:
                return function()
            return await asyncio.to_thread(function)

    async def _send_durable(self, connection: ClientConnection, more: asyncio.Event) -> None:
        """Send what may be sent, and again when there may be more, until the connection ends."""
        try:
            while True:
                more.clear()
                await self._send_all(connection)
                upto = self._session.durable.probe()
                if upto:
                    await (await connection.ping())
                    await self._acknowledged(upto)
                await more.wait()
        except (NotConnected, ConnectionClosed):  # they go over the next one
            return
        except Exception:
            self.logger.exception("Durable messages cannot be sent over this connection")
            connection.transport.abort()

    async def _send_all(self, connection: ClientConnection) -> None:
        while True:
            try:
                packet = await self._in_buffer(self._session.durable.next, quick=True)
            except (EncodeError, BufferFailed) as error:
                self._log_dropped(error)
                self._flushes.settle()
                continue
            if packet is None:
                return
            await self._write(packet, connection)
            await asyncio.sleep(0)  # a write need not let others have their turn

    async def _acknowledged(self, upto: int) -> Received | None:
        try:
            wrong = await self._in_buffer(lambda: self._session.durable.acknowledged(upto))
        except BufferFailed as error:
            self._log_unnoted(error)
            wrong = None
        self._flushes.settle()
        self._more.set()
        return wrong

    async def _write(self, data: bytes | str, connection: ClientConnection | None) -> None:
        if connection is None:
            raise NotConnected(self._why_not_connected())
        try:
            async with asyncio.timeout(self._limit):
                await connection.send(data)
        except TimeoutError:
            connection.transport.abort()
            raise NotConnected(f"the server took nothing for {self._limit:g} s; the connection is given up") from None
        except ConnectionClosed as error:
            raise NotConnected(f"nothing can be sent: {connection_lost(error)}") from error

    async def _finish(self, connection: ClientConnection) -> None:
        """Close a connection and call `on_disconnect`, once."""
        self._finishing = True
        try:
            await self._close(connection)
        finally:
            mine, self._connection = self._connection is connection, None
            self._session.durable.suspend()
            self._end_calls("it is closed")
            self.handshake_sent = self._ready = False
            if mine:
                await self._call("on_disconnect")
                self.logger.info("Disconnected.")
            self._finishing = False

    async def _close(self, connection: ClientConnection) -> None:
        """Say GOODBYE where that is known, and close."""
        self._end_calls("it is closed")
        for task in (self._reader, self._sender):
            if task is not None:
                task.cancel()
        self._reader = self._sender = None
        try:
            farewell = self._session.farewell()
            if farewell is not None and connection.state is WireState.OPEN:
                with suppress(ConnectionClosed, TimeoutError):
                    async with asyncio.timeout(self._options.close_timeout):
                        await connection.send(farewell)
        finally:
            await connection.close()
