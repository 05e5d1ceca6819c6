"""The sync client: plain threads, the interface of iot.io-client 0.4.12."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from time import time as wall_clock
from typing import Any, cast

from websockets.exceptions import ConnectionClosed
from websockets.protocol import State as WireState
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as ws_connect

from iotio_protocol.calls import check_timeout
from iotio_protocol.errors import CallDisconnected, CallError, EncodeError, InvalidData

from .base import HANDLE_PATIENCE, NO_CONNECT, BaseClient, raise_unless_clean, time_limit
from .calls import DEFAULT_CALL_TIMEOUT, DEFAULT_FLUSH_TIMEOUT, ThreadCall, timed_out
from .durable import Flushes
from .errors import BufferFailed, ClientError, ConnectFailed, ConnectionBroken, ConnectionLost, NotConnected
from .failures import CONNECT_ERRORS, connect_failure, connection_lost, not_let_in
from .handlers import Handler
from .inbox import MAX_QUEUE, ThreadInbox
from .message import Message, current_message, milliseconds
from .received import Acknowledged, Answer, Dispatch, Received, ServerError
from .session import State
from .target import Target
from .tls import TurnTakingSocket

__all__ = ["IoTClient"]

_MAX_ASIDE = 1000  # messages that may come while a handler waits for the answer of a call
_INTERVAL = 1.0  # seconds between two looks at what wakes no event: Ctrl-C on Windows, a connection that ends


class IoTClient(BaseClient):
    """A device, for programs without asyncio.

    Handlers run one after the other in the thread that called `run` or `handle`; pings are answered beside
    them. `send`, `call`, `sleep` and `stop` may be called from handlers and from any thread.
    """

    def _init_connection_fields(self) -> None:
        self._changed = threading.Condition()  # guards the session's state; never held while user code runs
        self._connection: ClientConnection | None = None
        self._pending: ClientConnection | None = None  # before the upgrade is answered
        self._said_farewell: ClientConnection | None = None  # GOODBYE is sent once
        self._looping = False  # somebody is in run or handle, and cleans up
        self._calling: int | None = None  # the thread that is in a handler
        self._inbox = ThreadInbox()
        self._reader: threading.Thread | None = None  # fills it
        self._asking: dict[ThreadCall, bool] = {}  # calls that wait, and whether the running handler made them
        self._turn = threading.Lock()  # held by who sends durable messages, so that they go in order
        self._more = False  # there may be some
        self._flushes = Flushes(self._session.buffer, partial(ThreadCall, "flush"))
        # stop() may run in a signal handler: neither flags nor a SimpleQueue need a lock that may be held.
        self._wake: SimpleQueue[None] = SimpleQueue()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to send on."""
        connection = self._connection
        return connection is not None and self._session.state is State.OPEN and connection.state is WireState.OPEN

    def ensure_open(self, timeout: float | None = None) -> None:
        """Wait until the client is connected.

        Args:
            timeout: seconds; None, the default, for no limit, as in 0.4.12.

        Raises:
            TimeoutError: not connected in time.
            NotConnected: the client has given up, or was stopped.
        """
        settled = (State.OPEN, State.ENDED)
        with self._changed:
            if not self._changed.wait_for(lambda: self._session.state in settled, timeout):
                raise TimeoutError(f"not connected within {timeout} s")
            if self._session.state is State.ENDED:
                raise NotConnected("the client is not connected, and does not try to")

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
        self._leave_dead()
        self._check_free()
        try:
            self._open(target, limit)
        except BaseException:
            self._end()
            raise

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
        self._enter_loop()
        try:
            end = self._receive()
        finally:
            self._end()
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
            KeyboardInterrupt: Ctrl-C, after CLOSE 1000 was sent and `on_disconnect` called.
            ClientError: the client is running already.
            ValueError: an argument is wrong, or `client_data` is not JSON.
        """
        target = Target.parse(domain, sslopt=sslopt, ssl_context=ssl_context, use_tls=use_tls)
        limit, backoff = time_limit(timeout), self._capped(reconnect_delay)
        self._leave_dead()
        self._check_free()
        self._enter_loop()
        try:
            while not self._asked_to_stop():
                end = self._attempt(target, limit)
                if self._asked_to_stop():
                    return
                if end is None or not (reconnect and end.retry):
                    return raise_unless_clean(end)
                with self._changed:
                    wait = self._session.wait(time.monotonic(), backoff)
                self._log_end(end, wait)
                self._sleep(wait)
        finally:
            if self._connection is not None:  # Ctrl-C at a bad moment
                self._finish(self._connection)
            self._end()

    def send(
        self, event: str, message: Any, *, durable: bool = False, time: datetime | float | None = None
    ) -> int | None:
        """Send a message to the server. May be called from any thread.

        Args:
            event: its event.
            message: bytes, bytearray, bool, int, float, str, list, dict or None; protocol 1 has no float and no None.
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
            number = self._session.durable.keep(event, message, milliseconds(wall_clock()) if when is None else when)
            self._send_durable()
            return number
        connection = self._connection  # before it is encoded: the next one may speak another version
        self._write(self._session.codec.encode(event, message, when), connection)
        return None

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
        limit = check_timeout(timeout)
        waiting = self._flushes.add()
        try:
            self._flushes.settle()
            self._await(waiting, time.monotonic() + limit)
        finally:
            self._flushes.remove(waiting)
        try:
            if waiting.done.is_set():
                waiting.result()
                return
        except CallDisconnected:  # in a handler
            pass
        raise TimeoutError(f"{self.waiting} durable messages are not acknowledged within {limit:g} s")

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
        limit = check_timeout(timeout)
        deadline = time.monotonic() + limit
        pending = ThreadCall(event)
        with self._changed:
            connection = self._connection
            number = self._session.calls.begin(pending)
        try:
            try:
                self._write(self._session.calls.encode(number, event, data), connection)
            except NotConnected as error:
                raise CallDisconnected(f"the call of {event!r} cannot be sent: {error}") from error
            self._await(pending, deadline)
        finally:
            with self._changed:
                self._session.calls.end(number)
        if not pending.done.is_set():
            raise timed_out(event, limit)
        return pending.result()

    def stop(self) -> None:
        """End `run` or `handle`: CLOSE 1000, `on_disconnect`, and they return.

        May be called from any thread, from handlers and from signal handlers, and returns at once. Called
        before the first `run`, it makes that return at once; after the end of a `run`, it does nothing.
        """
        if self._session.state is State.ENDED:
            return
        self._stopping = True
        self._wake.put(None)
        pending, connection = self._pending, self._connection  # in this order: the one becomes the other
        if self._calling == threading.get_ident():
            return  # the loop looks at the flag when the handler returns, after the answer
        if connection is None and pending is not None:
            _shut(pending)
        elif connection is not None and self._looping:
            threading.Thread(target=self._close, args=(connection,), name="iotio-client-stop", daemon=True).start()
        elif connection is not None:  # after connect(), with nobody in handle()
            self._finish(connection)
            self._end()

    # The connection.

    def _enter_loop(self) -> None:
        with self._changed:
            if self._looping:
                raise ClientError("this client is in run() or handle() already")
            self._looping = True

    def _leave_dead(self) -> None:
        """Clean up after a connection that ended while nobody was in `handle`."""
        connection = self._connection
        if connection is not None and not self._looping and not self.connected:
            self._finish(connection)
            self._end()

    def _attempt(self, target: Target, limit: float) -> ClientError | None:
        """One connection from begin to end; returns why it ended, None after `stop`."""
        try:
            self._open(target, limit)
        except ConnectFailed as error:
            return error
        return self._receive()

    def _open(self, target: Target, limit: float) -> None:
        deadline = time.monotonic() + limit
        with self._changed:
            headers = self._session.connecting()
        self.logger.info("Connecting to the domain: %s", target.where)
        arguments = self._connect_arguments(target, headers, limit)
        try:
            # Entered by hand: it lives longer than this function. `_finish` closes it.
            connection = ws_connect(
                target.uri,
                ssl=target.context,
                server_hostname=target.server_hostname,
                create_connection=cast("type[ClientConnection]", self._adopt),
                **arguments,
            ).__enter__()
            _limit_writes(connection.socket, limit)
            self._introduce(connection, target, deadline)
            self._opened(connection)
        except ClientError:
            raise
        except CONNECT_ERRORS as error:
            raise connect_failure(error, target, limit) from error
        finally:
            pending, self._pending = self._pending, None
            if pending is not None and self._connection is not pending:
                _shut(pending)  # Ctrl-C or the like in between
        try:
            self._call("on_connect")
        except BaseException:  # sys.exit() or Ctrl-C in there: nobody will call handle()
            self._finish(connection)
            raise
        self.logger.info("Connected successfully.")

    def _adopt(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ClientConnection:
        """Make the library's connection; known before the upgrade, so that `stop` can end that too."""
        if isinstance(sock, ssl.SSLSocket):
            sock = cast(socket.socket, TurnTakingSocket(sock))
        self._pending = ClientConnection(sock, *args, **kwargs)
        if self._stopping:
            _shut(self._pending)
        return self._pending

    def _introduce(self, connection: ClientConnection, target: Target, deadline: float) -> None:
        """Say who this is, and wait until the server agrees where it says so."""
        try:
            greeting = self._agreed(connection.subprotocol)
            if greeting is not None:
                connection.send(greeting)
            if self._session.unwelcomed:
                message = connection.recv(timeout=max(deadline - time.monotonic(), 0))
                received = self._session.welcome(message, time.monotonic(), wall_clock())
                if received is not None:
                    self._take(received, connection)
            with self._turn:  # who still sends over the last connection sees that it is over
                self._session.durable.resume()
        except ConnectionClosed as error:
            raise not_let_in(error, target) from error
        except ClientError:
            connection.close()
            raise

    def _opened(self, connection: ClientConnection) -> None:
        inbox = ThreadInbox()
        reader = threading.Thread(target=self._read, args=(connection, inbox), name="iotio-client-reader", daemon=True)
        reader.start()  # before the connection counts: where no thread can be made, there is none
        with self._changed:
            self._session.opened(time.monotonic())
            self._inbox, self._reader = inbox, reader
            if self._asking:
                inbox.allow(_MAX_ASIDE)
            self._connection = connection
            self._changed.notify_all()
        self._flushes.settle()
        self._send_durable()

    def _receive(self) -> ConnectionLost | None:
        """Handle what comes until the connection ends; None: by `stop`."""
        connection, inbox = self._connection, self._inbox
        if connection is None:  # stopped by another thread between connect() and handle()
            return None
        try:
            while not self._asked_to_stop():
                try:
                    received = inbox.get(_INTERVAL)
                except ConnectionLost as error:
                    return None if self._asked_to_stop() else error
                if received is not None:
                    try:
                        self._take(received, connection)
                    except ConnectionBroken as error:
                        return error
            return None
        finally:
            self._finish(connection)

    def _read(self, connection: ClientConnection, inbox: ThreadInbox) -> None:
        """Receive until the connection ends: answers go to their callers, all else into `inbox`."""
        end: Exception
        try:
            while not inbox.closed:
                received = self._next(connection)
                if received is None:
                    continue
                while inbox.must_wait and connection.state is not WireState.CLOSED:
                    self._fail_asking(_too_many, inside=False)
                    inbox.wait_for_room(lambda: connection.state is WireState.CLOSED, _INTERVAL)
                inbox.put(received)
            end = ConnectionLost(1006)  # `stop` or `_finish` was first
        except ConnectionClosed as error:
            end = self._lost(error)
        except Exception as error:  # no error of a server's making: `_receive` raises it
            end = error
        why = "it is closed" if inbox.closed or self._asked_to_stop() else str(end)
        self._end_calls(why)
        inbox.end(end)
        self._fail_asking(partial(_disconnected, why=why), inside=True)

    def _next(self, connection: ClientConnection) -> Received | None:
        """Receive one message. Answers of calls go to their callers; None then, or when there is none.

        Raises:
            ConnectionClosed: the connection is over, and all that came before has been received.
        """
        try:
            message = connection.recv(timeout=self._options.close_timeout)
        except TimeoutError:
            # The library gives a closing handshake that the server began no deadline: close() does.
            if connection.state is not WireState.OPEN:
                connection.close()
            return None
        received = self._session.codec.receive(message)
        if isinstance(received, Acknowledged):
            return self._acknowledged(received.upto)
        if not isinstance(received, Answer):
            return received
        with self._changed:
            late = not self._session.calls.answer(received)
        if late:
            self.logger.debug("Dropped an answer that nobody waits for any more")
        return None

    def _take(self, received: Received, connection: ClientConnection) -> None:
        if isinstance(received, Dispatch):
            self._dispatch(received, connection)
        elif isinstance(received, ServerError):
            self._log_server_error(received)
            self._call("on_error", received.error)
            if received.rejection is not None:
                raise received.rejection
        elif not isinstance(received, (Acknowledged, Answer)):
            self._log_ignored(received)
            if received.reply is not None:
                with suppress(ConnectionClosed):  # the next `recv` says so
                    connection.send(received.reply)

    def _dispatch(self, received: Dispatch, connection: ClientConnection) -> None:
        known = self._session.durable.known(received)
        if known is not None:
            self._take(known, connection)
            if known.invalid:
                raise self._session.give_up(known.why)
            return
        message = self._about(received)
        token = current_message.set(message)
        try:
            name, reply = self._run_handler(received)
        finally:
            current_message.reset(token)
        for packet in (reply, self._handled(name, received, message)):
            if packet is None:
                continue
            try:
                self._write(packet, connection)
            except NotConnected as error:
                self.logger.warning("The answer of %s is lost: %s", name, error)

    def _handled(self, name: str, received: Dispatch, message: Message | None) -> bytes | None:
        """Note that a message is through. Returns its ACK if it is durable."""
        try:
            try:
                return self._session.durable.handled(received, message.effects if message is not None else ())
            except BufferFailed:
                raise
            except Exception:
                self._log_handler_error(name)
                return self._session.durable.handled(received)
        except BufferFailed as error:
            self.logger.error("A durable message cannot be noted as handled, and has to come again: %s", error)
            raise self._session.give_up(str(error)) from error

    def _run_handler(self, received: Dispatch) -> tuple[str, bytes | str | None]:
        """Run the handler of a message. Returns its name, and what to send."""
        name = f"on_{received.event}"
        handler = self._handlers.find(received.event)
        reply: bytes | str | None
        if handler is None:
            self.logger.debug("No handler %s", name)
            reply = self._session.codec.unhandled(received)
        else:
            self.logger.debug("Calling Event Handler: %s", name)
            reply = self._handle(name, handler, received)
        return name, reply

    def _handle(self, name: str, handler: Handler, received: Dispatch) -> bytes | str | None:
        """Run a handler. Returns what to send."""
        try:
            value = self._session.codec.check(received)
        except InvalidData as error:
            self.logger.warning("Refused a call: %s", error)
            return self._session.codec.failed(received, error)
        self._calling = threading.get_ident()
        try:
            return self._session.codec.answer(received, handler(value))
        except Exception as error:
            self._log_handler_error(name)
            self._forget_effects()
            return self._session.codec.failed(received, error)
        finally:
            self._calling = None

    # Calls.

    def _await(self, pending: ThreadCall, deadline: float) -> None:
        """Wait until a call is done, or its time is over.

        Its answer is read by the thread of the connection, also while more messages than usual wait for the handlers:
        the handler that waits here keeps them waiting.
        """
        inside = threading.get_ident() == self._calling
        with self._changed:
            self._asking[pending] = inside
            inbox = self._inbox
            inbox.allow(_MAX_ASIDE)
        try:
            if inside and inbox.ended:  # there is no other connection before the handler has returned
                pending.fail(_disconnected(pending, "it has ended"))
            pending.done.wait(max(deadline - time.monotonic(), 0))
        finally:
            with self._changed:
                del self._asking[pending]
                if not self._asking:
                    self._inbox.allow(MAX_QUEUE)

    def _fail_asking(self, error: Callable[[ThreadCall], CallError], *, inside: bool) -> None:
        """Fail the calls that wait for an answer and keep the messages before it waiting.

        Args:
            error: makes the error of a call.
            inside: only the one of the running handler; False: those where nobody is in `handle`, too.
        """
        with self._changed:
            asking = [pending for pending, own in self._asking.items() if own or not (inside or self._looping)]
        for pending in asking:
            pending.fail(error(pending))

    def _end_calls(self, why: str) -> None:
        with self._changed:
            self._session.calls.end_all(why)

    def _call(self, name: str, *args: Any) -> None:
        """Call on_connect, on_disconnect or on_error."""
        self._calling = threading.get_ident()
        try:
            getattr(self, name)(*args)
        except Exception:
            self._log_handler_error(name)
        finally:
            self._calling = None

    # Durable messages of this device.

    def _send_durable(self) -> None:
        """Send what may be sent; in this thread, or in the one that is at it."""
        self._more = True
        while self._more and self._turn.acquire(blocking=False):
            try:
                self._more = False
                connection = self._connection
                if connection is not None:
                    self._send_next(connection)
            except NotConnected:  # they go over the next one
                return
            finally:
                self._turn.release()

    def _send_next(self, connection: ClientConnection) -> None:
        """Send what may be sent over this connection. It is this thread's turn."""
        while connection is self._connection:
            try:
                packet = self._session.durable.next()
            except (EncodeError, BufferFailed) as error:
                self._log_dropped(error)
                self._flushes.settle()
                continue
            if packet is None:
                break
            self._write(packet, connection)
        upto = self._session.durable.probe()
        if upto:
            try:
                answered = connection.ping()
            except ConnectionClosed:
                return
            arguments = (connection, answered, upto)
            threading.Thread(target=self._await_pong, args=arguments, name="iotio-client-pong", daemon=True).start()

    def _await_pong(self, connection: ClientConnection, answered: threading.Event, upto: int) -> None:
        """Take the answer of a ping for the ACK of all durable messages before it, with a server that sends none."""
        while not answered.wait(self._options.close_timeout):
            if connection is not self._connection or connection.state is not WireState.OPEN:
                return
        if connection is self._connection:
            self._acknowledged(upto)

    def _acknowledged(self, upto: int) -> Received | None:
        try:
            wrong = self._session.durable.acknowledged(upto)
        except BufferFailed as error:
            self._log_unnoted(error)
            wrong = None
        self._flushes.settle()
        self._send_durable()
        return wrong

    def _write(self, data: bytes | str, connection: ClientConnection | None) -> None:
        if connection is None or connection is not self._connection or self._session.state is not State.OPEN:
            raise NotConnected(self._why_not_connected())
        try:
            connection.send(data)
        except ConnectionClosed as error:
            raise NotConnected(f"nothing can be sent: {connection_lost(error)}") from error

    def _close(self, connection: ClientConnection) -> None:
        """Say GOODBYE where that is known, and close."""
        with self._changed:
            mine = connection is self._connection and connection is not self._said_farewell
            farewell = self._session.farewell() if mine else None
            self._said_farewell = connection
        if farewell is not None and connection.state is WireState.OPEN:
            with suppress(ConnectionClosed):
                connection.send(farewell)
        connection.close()

    def _finish(self, connection: ClientConnection) -> None:
        """Close a connection and call `on_disconnect`, once."""
        self._end_calls("it is closed")
        reader = self._reader
        try:
            self._inbox.close()
            self._close(connection)
            if reader is not None:
                reader.join()
        finally:
            self._reader = None
            with self._changed:
                mine, self._connection = self._connection is connection, None
            self._session.durable.suspend()
            self._end_calls("it is closed")
            if mine:
                self._call("on_disconnect")
                self.logger.info("Disconnected.")

    def _end(self) -> None:
        with self._changed:
            self._session.ended()
            self._looping = self._stopping = False
            self._changed.notify_all()

    def _sleep(self, seconds: float) -> None:
        """Wait, or until `stop`."""
        deadline = time.monotonic() + seconds
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            try:
                self._wake.get(timeout=left)  # tokens of earlier stops are used up by the loop
            except Empty:
                return


def _too_many(pending: ThreadCall) -> CallError:
    return CallError(f"{_MAX_ASIDE} messages came before the answer of the call of {pending.event!r}")


def _disconnected(pending: ThreadCall, why: str) -> CallError:
    return CallDisconnected(f"the connection ended before {pending.event!r} was through: {why}")


def _shut(connection: ClientConnection) -> None:
    """End a connection that has no WebSocket to close yet."""
    try:
        connection.socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        logging.getLogger("iotio.client").debug("the socket is closed already", exc_info=True)


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
