"""What the sync and the async client have in common: who they are, their handlers, and what needs no waiting."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from logging import Logger
from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from iotio_protocol import v2
from iotio_protocol.calls import check_timeout
from iotio_protocol.logs import get_logger
from iotio_protocol.options import DEFAULT_OPTIONS, MAX_SECONDS, Options

from .backoff import Backoff
from .buffer import Buffer
from .driver import DEFAULT_TIMEOUT, Driver
from .errors import ClientError, InvalidEndpoint
from .handlers import Handlers, check_fallback, check_handler, check_periodic
from .identity import Identity
from .inbox import MAX_QUEUE
from .message import Message, current_message
from .packets import DefaultPacketEncoder, PacketEncoder
from .periodic import Periodic, check_seconds
from .session import Session, State

if TYPE_CHECKING:
    from .endpoint_info import EndpointInfo

__all__ = ["HANDLE_PATIENCE", "NO_CONNECT", "BaseClient", "Interrupted", "ctrl_c", "time_limit"]

HANDLE_PATIENCE = 20.0
"""Seconds that `handle` waits for somebody to begin to connect: the original waited for ever."""

NO_CONNECT = "handle() has nothing to receive from: call {0}(domain) before it, or beside it, or use run(domain)"

_MAX_SLEEP = 0xFFFFFFFF  # SLEEP has four bytes for the seconds
_MOST = 2_000_000.0  # seconds; a socket counts milliseconds in 32 bits
_SHORTEST_CAP = 0.1  # seconds; a reconnect_delay of 0 shall not become a busy loop

_Function = TypeVar("_Function", bound=Callable[..., Any])


class BaseClient:
    """Everything of a client that is neither thread nor event loop.

    A client has a driver, which decides, and a shell of its own kind, which carries that out.
    """

    _allow_async = False
    _shell_type: ClassVar[Any]

    def __init__(
        self,
        client_id: str,
        client_type: str,
        client_data: dict[str, Any] | None = None,
        logging_level: int | None = None,
        encoder: PacketEncoder = DefaultPacketEncoder,
        *,
        protocol_version: int | None = None,
        options: Options = DEFAULT_OPTIONS,
        backoff: Backoff | None = None,
        buffer: Buffer | None = None,
    ) -> None:
        """Describe the device; nothing is sent before it connects.

        Args:
            client_id: the device id.
            client_type: the name of a DeviceType of the server.
            client_data: what the server's program gets to know of the device; a dict that is JSON.
            logging_level: level of this client's logger, ``iotio.client.<id>``; None leaves logging alone.
            encoder: packets of your own, in the place of protocol 1's; server and device must agree.
            protocol_version: None: 2, or 1 with a server that does not know 2, and with an encoder of your own;
                2, to insist on it; 1; or 0 for servers up to iot.io 0.3.1.
            options: limits, pings and the time a CLOSE may take.
            backoff: the waits between connections.
            buffer: keeps durable messages in both directions, for this client only; None: in memory, for the life of
                this object.

        Raises:
            ValueError: id, type or data that cannot be sent; an encoder together with protocol_version=2.
            TypeError: a method `on_<event>` is a coroutine function (IoTClient only).
        """
        identity = Identity(client_id, client_type, {} if client_data is None else client_data)
        self.logger = get_logger(f"iotio.client.{client_id.replace('.', '_')}")
        if logging_level is not None:
            self.logger.setLevel(logging_level)
        self._backoff = backoff or Backoff()
        self._session = Session(
            identity,
            protocol_version=protocol_version,
            encoder=encoder,
            options=options,
            backoff=self._backoff,
            buffer=buffer,
            takes=v2.Takes(min(options.max_payload, v2.MAX_VALUE), MAX_QUEUE),
        )
        self._handlers = Handlers(self, BaseClient, allow_async=self._allow_async, logger=self.logger)
        self._changed = self._shell_type.changed()
        self._driver = Driver[Any, Any](
            self,
            self._session,
            self._handlers,
            options,
            self.logger,
            changed=self._changed,
            waiter=self._shell_type.waiter,
        )
        self._shell = self._shell_type(self._driver)

    # No properties: a program of iot.io-client may set attributes of these names.

    @cached_property
    def id(self) -> str:
        """The device id."""
        return self._session.identity.id

    @cached_property
    def type(self) -> str:
        """The name of its device type."""
        return self._session.identity.type

    if TYPE_CHECKING:  # as attributes, so that a typed program may assign them, too
        on_connect: Callable[[], Any]
        on_disconnect: Callable[[], Any]
        on_error: Callable[[str], Any]
    else:

        def on_connect(self) -> Any:
            """Run when the device is connected. Override it, or assign a function."""

        def on_disconnect(self) -> Any:
            """Run when the connection has ended, once for each `on_connect`. Override it, or assign a function."""

        def on_error(self, error: str) -> Any:
            """Run when the server reports an error. Override it, or assign a function.

            Args:
                error: the error code, such as "client_invalid_packet".
            """

    def on(self, event: str, endpoint_info: EndpointInfo | None = None) -> Callable[[_Function], _Function]:
        """Make a function the handler of an event; a decorator.

        Args:
            event: the event, as the server names it.
            endpoint_info: declares the event as an endpoint, from the next connection on.

        Raises:
            InvalidEndpoint: type and constraints of `endpoint_info` do not fit.
            TypeError: not a function (or, with IoTClient, a coroutine function); `on` without parentheses.
            ValueError: it cannot take a message (or, with AsyncIoTClient, is no coroutine function); an empty event.
        """
        _check_event(event)
        if endpoint_info is not None:
            from .endpoint_info import EndpointInfo  # here: who has one has loaded it

            if not isinstance(endpoint_info, EndpointInfo):
                raise TypeError(f"on() takes an EndpointInfo beside the event, not {endpoint_info!r}")
        declaration = None if endpoint_info is None else endpoint_info.get_info(event)

        def decorator(handler: _Function) -> _Function:
            self._check_handler(f"on_{event}", handler)
            self._handlers.add(event, handler)
            if declaration is not None:
                self._session.identity.endpoints[event] = declaration
            self.logger.debug("added the handler on_%s", event)
            return handler

        return decorator

    def sensor(self, endpoint_id: str, info: EndpointInfo) -> None:
        """Declare an endpoint that is only reported and has no handler, from the next connection on; see `report`.

        Args:
            endpoint_id: its id, which is also the event of its reports.
            info: what it is. Its access becomes "read".

        Raises:
            InvalidEndpoint: the fields of `info` do not fit, or its access is "write".
            TypeError: endpoint_id is not a str, or info no EndpointInfo.
            ValueError: endpoint_id is empty.
        """
        from .endpoint_info import EndpointInfo  # here: who has one has loaded it

        if not isinstance(endpoint_id, str):
            raise TypeError(f"the id of an endpoint is a str, not {endpoint_id!r}")
        if not endpoint_id:
            raise ValueError("the id of an endpoint must not be empty")
        if not isinstance(info, EndpointInfo):
            raise TypeError(f"sensor() takes an EndpointInfo beside the id, not {info!r}")
        if info.access == "write":
            raise InvalidEndpoint("a sensor reports, so its access cannot be 'write': declare it with on()")
        self._session.identity.endpoints[endpoint_id] = {**info.get_info(endpoint_id), "access": "read"}

    def on_event(self, handler: _Function | None = None) -> _Function:
        """Have a function take the events that have no handler of their own; a decorator without parentheses.

        Args:
            handler: gets the event and its data; what it returns goes back, as of other handlers. It may be a coroutine
                function with AsyncIoTClient. A method `on_event(self, event, data)` of a subclass does the same.

        Raises:
            TypeError: not a function (or, with IoTClient, a coroutine function); parentheses.
            ValueError: it cannot take two arguments.
        """
        if handler is None or isinstance(handler, str):
            raise TypeError('write @client.on_event, without parentheses; or @client.on("event") for one event')
        check_fallback(handler, allow_async=self._allow_async)
        self._handlers.fallback = handler
        return handler

    def every(self, seconds: float) -> Callable[[_Function], _Function]:
        """Have a function called every so many seconds while the client runs; a decorator.

        It is never called twice at once, and its times do not drift. While there is no connection, each turn waits for
        it, until the next turn is due: the first one comes right after `on_connect`, and one that was due meanwhile
        right after the client is back. A turn that ends in NotConnected is over; other exceptions are logged.

        Args:
            seconds: from the beginning of one turn to that of the next.

        Raises:
            TypeError: not a function (or, with IoTClient, a coroutine function); `every` without parentheses.
            ValueError: the function takes an argument, or `seconds` is not above 0.
        """
        wait = check_seconds(seconds)

        def decorator(function: _Function) -> _Function:
            check_periodic(getattr(function, "__name__", "it"), function, allow_async=self._allow_async)
            self._shell.add(Periodic(function, wait))
            return function

        return decorator

    def stop(self) -> None:
        """End `run` or `handle`, and `run_async`: CLOSE 1000, `on_disconnect`, and they return.

        May be called from any thread, from handlers and from signal handlers, and returns at once. Called
        before the first `run`, it makes that return at once; after the end of a `run`, it does nothing.
        """
        if self._session.state is not State.ENDED:
            self._driver.stopping = True
            self._shell.interrupt()

    def sleep(self, seconds: float) -> None:
        """`stop`, and tell the server that the device means to be back in so many seconds.

        The server then takes it for asleep, and not for lost. A server of protocol 1 is told nothing. To wait
        and to run again is the program's own affair.

        Args:
            seconds: from now on, 0 to 2**32 - 1; rounded up.

        Raises:
            ValueError: not such a number.
        """
        if not 0 <= seconds <= _MAX_SLEEP:
            raise ValueError(f"seconds must be 0 to {_MAX_SLEEP}, not {seconds!r}")
        self._session.sleep(ceil(seconds))
        self.stop()

    @property
    def connected(self) -> bool:
        """Whether there is a connection to send on."""
        return self._driver.connected

    @property
    def waiting(self) -> int:
        """How many durable messages the server has not acknowledged."""
        return len(self._session.buffer)

    @property
    def message(self) -> Message | None:
        """In a handler: more about a message that is durable, or of another time. None for any other."""
        message = current_message.get()
        return message if message is not None and message.owner is self else None

    def server_time(self) -> datetime:
        """Return the server's time, in UTC.

        By what the server said when this connection began, and a clock that nobody sets meanwhile: right also on
        a device whose own time is wrong.

        Raises:
            ClientError: the server has not said it: no connection yet, or protocol 1.
        """
        seconds = self._session.server_time(time.monotonic())
        if seconds is None:
            raise ClientError("the server's time is not known: it comes with a connection of protocol 2")
        return datetime.fromtimestamp(min(seconds, v2.MAX_TIME / 1000), UTC)

    def _check_handler(self, name: str, handler: Any) -> None:
        check_handler(name, handler, allow_async=self._allow_async)

    def _capped(self, reconnect_delay: float | None) -> Backoff:
        """Return the waits of one `run`: `reconnect_delay` is their upper limit."""
        if reconnect_delay is None:
            return self._backoff
        if not 0 <= reconnect_delay <= MAX_SECONDS:
            most = f"{MAX_SECONDS:.0f}"
            raise ValueError(f"reconnect_delay must be seconds, 0 or more and at most {most}, not {reconnect_delay!r}")
        return replace(self._backoff, cap=max(reconnect_delay, _SHORTEST_CAP))


def _check_event(event: object) -> None:
    if callable(event):
        name = getattr(event, "__name__", repr(event))
        raise TypeError(f'write @client.on("event"), with the name of the event: on() got the function {name}')
    if not isinstance(event, str):
        raise TypeError(f'the name of an event is a str, not {event!r}: write @client.on("event")')
    if not event:
        raise ValueError('the name of an event must not be empty: write @client.on("event")')


class Interrupted(KeyboardInterrupt, SystemExit):
    """Ctrl-C has ended `run` in order: a KeyboardInterrupt, of which Python writes no traceback. The status is 0."""


@contextmanager
def ctrl_c(logger: Logger) -> Iterator[None]:
    """Have Ctrl-C end the program without a traceback, as it is no error.

    Raises:
        Interrupted: in the place of another KeyboardInterrupt, but not at Python's prompt, which it would end.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        logger.info("stopped by Ctrl-C")
        if hasattr(sys, "ps1"):
            raise
        raise Interrupted from error


def time_limit(timeout: float | None) -> float:
    """Return the seconds that an operation gets.

    Raises:
        ValueError: not a positive number, or too large a one.
    """
    if timeout is None:
        return DEFAULT_TIMEOUT
    return min(check_timeout(timeout), _MOST)
