"""What the sync and the async client have in common: who they are, their handlers, what they log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from typing import Any, NotRequired, TypedDict, TypeVar, cast

from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol
from websockets.version import version as websockets_version

from iotio_protocol import v2
from iotio_protocol.calls import check_timeout
from iotio_protocol.options import DEFAULT_OPTIONS, Options
from iotio_protocol.version import __version__

from .backoff import Backoff
from .buffer import Buffer
from .endpoint_info import EndpointInfo
from .errors import ClientError, ConnectionLost
from .failures import connection_lost, wire_headers
from .handlers import Handler, Handlers, check_handler
from .identity import Identity
from .inbox import MAX_QUEUE
from .message import Message, current_message
from .packets import DefaultPacketEncoder, PacketEncoder
from .received import Dispatch, Ignored, ServerError
from .session import Session, State
from .target import Target

__all__ = [
    "DEFAULT_TIMEOUT",
    "HANDLE_PATIENCE",
    "NO_CONNECT",
    "BaseClient",
    "raise_unless_clean",
    "time_limit",
]

DEFAULT_TIMEOUT = 20.0
"""Seconds for connecting, and for each write: long enough for TLS on a small board behind a phone."""

HANDLE_PATIENCE = 20.0
"""Seconds that `handle` waits for somebody to begin to connect: the original waited for ever."""

NO_CONNECT = "handle() has nothing to receive from: call {0}(domain) before it, or beside it, or use run(domain)"

_MAX_SLEEP = 0xFFFFFFFF  # SLEEP has four bytes for the seconds
_SHORTEST_CAP = 0.1  # seconds; a reconnect_delay of 0 shall not become a busy loop

_Function = TypeVar("_Function", bound=Handler)


class ConnectArguments(TypedDict):
    """What both flavours of the library's `connect` take."""

    subprotocols: NotRequired[list[Subprotocol]]
    additional_headers: list[tuple[str, str]]
    user_agent_header: str
    compression: None
    proxy: Any
    open_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float | None
    max_size: int
    max_queue: int


class BaseClient:
    """Everything of a client that is neither thread nor event loop."""

    _allow_async = False

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
        self.logger = logging.getLogger(f"iotio.client.{client_id.replace('.', '_')}")
        if logging_level is not None:
            self.logger.setLevel(logging_level)
        self._backoff = backoff or Backoff()
        self._options = options
        self._session = Session(
            identity,
            protocol_version=protocol_version,
            encoder=encoder,
            options=options,
            backoff=self._backoff,
            buffer=buffer,
        )
        self._stopping = False
        self._told_fallback = False
        self._handlers = Handlers(self, allow_async=self._allow_async, logger=self.logger)
        self._init_connection_fields()

    def _init_connection_fields(self) -> None:
        """Set the fields of a subclass; the last step of construction, with all of this class's fields set."""
        raise NotImplementedError

    def on_connect(self) -> Any:
        """Called when a connection stands. Override it, or assign a function."""

    def on_disconnect(self) -> Any:
        """Called when a connection has ended, once for each `on_connect`. Override it, or assign one."""

    def on_error(self, error: str) -> Any:
        """Called when the server reports an error. Override it, or assign a function.

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
            TypeError: not a function (or, with IoTClient, a coroutine function).
            ValueError: it cannot take a message (or, with AsyncIoTClient, is no coroutine function).
        """
        declaration = None if endpoint_info is None else endpoint_info.get_info(event)

        def decorator(handler: _Function) -> _Function:
            self._check_handler(f"on_{event}", handler)
            setattr(self, f"on_{event}", handler)
            if declaration is not None:
                self._session.identity.endpoints[event] = declaration
            self.logger.debug("Added Handler: on_%s", event)
            return handler

        return decorator

    def stop(self) -> None:
        """End the connection; see the subclasses."""
        raise NotImplementedError

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
        return datetime.fromtimestamp(seconds, UTC)

    def _check_handler(self, name: str, handler: Any) -> None:
        check_handler(name, handler, allow_async=self._allow_async)

    def _check_free(self) -> None:
        if self._session.state not in (State.IDLE, State.ENDED):
            raise ClientError("this client is connected, or connecting, already")

    def _asked_to_stop(self) -> bool:
        return self._stopping

    # Arguments.

    def _connect_arguments(self, target: Target, headers: list[tuple[str, str]], timeout: float) -> ConnectArguments:
        options = self._options
        arguments: ConnectArguments = {
            "additional_headers": wire_headers(headers),
            "user_agent_header": _USER_AGENT,
            "compression": None,
            "proxy": target.proxy,
            "open_timeout": timeout,
            "ping_interval": options.ping_interval or None,
            "ping_timeout": options.ping_timeout,
            "close_timeout": options.close_timeout,
            "max_size": options.max_message,
            "max_queue": MAX_QUEUE,
        }
        if self._session.subprotocols:
            arguments["subprotocols"] = cast("list[Subprotocol]", self._session.subprotocols)
            arguments["max_size"] = v2.max_message(options)
        return arguments

    def _capped(self, reconnect_delay: float | None) -> Backoff:
        """Return the waits of one `run`: `reconnect_delay` is their upper limit."""
        if reconnect_delay is None:
            return self._backoff
        if not 0 <= reconnect_delay < float("inf"):
            raise ValueError(f"reconnect_delay must be seconds, 0 or more, not {reconnect_delay!r}")
        return replace(self._backoff, cap=max(reconnect_delay, _SHORTEST_CAP))

    # The opening and the end.

    def _agreed(self, subprotocol: str | None) -> bytes | str | None:
        """See `Session.agreed`; says once that the server is an older one."""
        greeting = self._session.agreed(subprotocol)
        if self._session.fell_back and not self._told_fallback:
            self._told_fallback = True
            self.logger.info(
                "The server speaks protocol 1: events work, calls and durable messages need iotio 0.5 or newer there"
            )
        return greeting

    def _lost(self, error: ConnectionClosed) -> ConnectionLost:
        """How an open connection ended."""
        return connection_lost(error, self._session.codec.goodbye)

    def _about(self, received: Dispatch) -> Message | None:
        """Return what `message` is while the handler runs."""
        if not received.number and received.time is None:
            return None
        return Message(self, self._session.durable.message_id(received), received.time)

    def _forget_effects(self) -> None:
        """Drop the effects of a handler that raised."""
        if (message := self.message) is not None:
            message.effects.clear()

    # The log.

    def _log_dropped(self, error: Exception) -> None:
        self.logger.error("A durable message was dropped, which the server cannot take: %s", error)

    def _log_unnoted(self, error: Exception) -> None:
        self.logger.warning("What the server has acknowledged is not noted in the file: %s", error)

    def _log_ignored(self, received: Ignored) -> None:
        level = logging.WARNING if received.invalid else logging.DEBUG
        self.logger.log(level, "Ignored %s", received.why)

    def _log_server_error(self, received: ServerError) -> None:
        if received.rejection is not None:
            self.logger.error("Connection rejected: %s", received.rejection)
        else:
            self.logger.error("The server reports the error %s (info: %s)", received.error, received.info)

    def _log_handler_error(self, name: str) -> None:
        """Log the exception that is being handled."""
        identity = self._session.identity
        self.logger.exception("Exception in the handler %s of device %r of type %r", name, identity.id, identity.type)

    def _log_end(self, end: ClientError, wait: float) -> None:
        self.logger.warning("%s. Waiting %.1f seconds before attempting to re-connect.", end, wait)

    def _why_not_connected(self) -> str:
        if self._session.state is State.IDLE:
            return "nothing can be sent before the client has connected: call run() or connect() first"
        if self._session.state in (State.CONNECTING, State.WAITING):
            return "nothing can be sent now: the client is not connected, and tries to"
        return "nothing can be sent: the connection has ended"


_USER_AGENT = (
    f"iotio-client/{__version__} Python/{sys.version_info[0]}.{sys.version_info[1]} websockets/{websockets_version}"
)


def time_limit(timeout: float | None) -> float:
    """Return the seconds that an operation gets.

    Raises:
        ValueError: not a positive number.
    """
    if timeout is None:
        return DEFAULT_TIMEOUT
    return check_timeout(timeout)


def raise_unless_clean(end: ClientError | None) -> None:
    """Raise how a connection ended, unless that was in order."""
    if end is not None and not (isinstance(end, ConnectionLost) and end.clean):
        raise end
