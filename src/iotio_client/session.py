"""The device's side of the protocol, without I/O: both clients are shells around this.

Received messages go in, what is to be done with them comes out. Time is an argument, and the randomness of
the waits comes with the `Backoff`. Nothing here locks: a shell calls from one thread, but for `encode`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from iotio.protocol.errors import EncodeError, ErrorCode, InvalidPacket
from iotio.protocol.options import DEFAULT_OPTIONS, Options

from .backoff import Backoff
from .errors import ClientError, DeviceRejected
from .identity import Identity
from .packets import DefaultPacketEncoder, PacketEncoder, TextCodec, V1Codec

__all__ = ["RESERVED", "Dispatch", "Ignored", "Received", "ServerError", "Session", "State"]

RESERVED = frozenset({"connect", "disconnect", "error"})
"""Events that stand for the connection itself: never dispatched to `on_<event>`, whoever sends them."""

_PASSING = frozenset({ErrorCode.CLIENT_INVALID_PACKET, ErrorCode.SERVER_BUSY})
"""Errors that say nothing against the device: it lives on, or comes again later."""

_SENDABLE = {0: (bool, int, float, str, dict), 1: (bytes, bytearray, bool, int, str, list, dict)}
_NOT_SENDABLE = "A non-sendable value was passed to a client's send method."


class State(Enum):
    """Where a device stands.

    ::

        IDLE ──> CONNECTING ──> OPEN ──> WAITING ──> CONNECTING ...
                     │            │         │
                     ├─> WAITING  │         │
                     └────────────┴─────────┴──> ENDED ──> CONNECTING (run or connect, once more)
    """

    IDLE = auto()
    CONNECTING = auto()
    OPEN = auto()
    WAITING = auto()
    ENDED = auto()


_MOVES: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.CONNECTING, State.ENDED}),
    State.CONNECTING: frozenset({State.OPEN, State.WAITING, State.ENDED}),
    State.OPEN: frozenset({State.WAITING, State.ENDED}),
    State.WAITING: frozenset({State.CONNECTING, State.ENDED}),
    State.ENDED: frozenset({State.CONNECTING, State.ENDED}),
}


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Call the handler of this event, then send what `Session.reply` makes of its result."""

    event: str
    value: Any


@dataclass(frozen=True, slots=True)
class ServerError:
    """The server reports an error: log it, call `on_error(error)`.

    Attributes:
        error: the code, or what the server wrote in its place.
        info: more about it, or None.
        rejection: not None: end the connection and raise this.
    """

    error: str
    info: object
    rejection: DeviceRejected | None


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to do.

    Attributes:
        why: for the log.
        invalid: whether the message broke the protocol.
    """

    why: str
    invalid: bool


Received = Dispatch | ServerError | Ignored


class Session:
    """What one device does on all its connections, one after the other.

    Args:
        identity: who the device is.
        protocol_version: 1, or 0 for servers up to iot.io 0.3.1.
        encoder: packets of v1, if they are not the usual ones.
        options: `max_event` and `max_payload` apply.
        backoff: the waits between connections.

    Attributes:
        invalid_packets: how many messages broke the protocol.
        failures: attempts and short connections in a row, counted for the waits.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        protocol_version: int = 1,
        encoder: PacketEncoder = DefaultPacketEncoder,
        options: Options = DEFAULT_OPTIONS,
        backoff: Backoff | None = None,
    ) -> None:
        if protocol_version not in (0, 1):
            raise ValueError(f"protocol_version must be 0 or 1, not {protocol_version!r}")
        self.identity = identity
        self.version = protocol_version
        self.state = State.IDLE
        self.invalid_packets = 0
        self.failures = 0
        self._backoff = backoff or Backoff()
        self._opened_at = 0.0
        self._codec: V1Codec | TextCodec = V1Codec(encoder, options) if protocol_version else TextCodec(options)

    # Connections.

    def connecting(self) -> list[tuple[str, str]]:
        """Begin an attempt.

        Returns:
            The headers for the upgrade request.

        Raises:
            ClientError: the device is connected, or about to be.
            EncodeError: the device cannot say who it is; the state stays as it was.
        """
        if State.CONNECTING not in _MOVES[self.state]:
            raise ClientError("this client is connected, or connecting, already")
        headers = self.identity.headers() if self.version else []
        if not self.version:
            self.identity.text_handshake()  # what cannot be said is found out before the server is bothered
        self._move(State.CONNECTING)
        return headers

    def greeting(self) -> str | None:
        """The text message to send right after the upgrade, before `opened`; None: there is none."""
        return None if self.version else self.identity.text_handshake()

    def opened(self, now: float) -> None:
        """The upgrade succeeded, and the server has been told who this is.

        Args:
            now: seconds on a monotonic clock.
        """
        self._move(State.OPEN)
        self._opened_at = now

    def wait(self, now: float, backoff: Backoff | None = None) -> float:
        """The attempt failed or the connection ended, and another shall follow.

        Args:
            now: seconds on a monotonic clock.
            backoff: in the place of the session's own.

        Returns:
            Seconds until `connecting` shall be called.
        """
        backoff = backoff or self._backoff
        if self.state is State.OPEN and now - self._opened_at >= backoff.stable:
            self.failures = 0
        self._move(State.WAITING)
        self.failures += 1
        return backoff.delay(self.failures)

    def ended(self) -> None:
        """No attempt follows by itself. Harmless when called twice."""
        if self.state is not State.IDLE:
            self._move(State.ENDED)
        self.failures = 0

    def _move(self, state: State) -> None:
        if state not in _MOVES[self.state]:
            raise RuntimeError(f"a client that is {self.state.name} cannot become {state.name}")
        self.state = state

    # Packets.

    def receive(self, message: bytes | str) -> Received:
        """Read one WebSocket message; never raises for what a server sends."""
        try:
            packet = self._codec.decode(message)
        except InvalidPacket as error:
            self.invalid_packets += 1
            return Ignored(f"an invalid packet: {error}", invalid=True)
        if packet is None:
            return Ignored("a text message, which protocol v1 does not use", invalid=False)
        event, value = packet
        if event == "error":
            return self._server_error(value)
        if event in RESERVED:
            return Ignored(f"a packet of the reserved event {event!r}", invalid=False)
        return Dispatch(event, value)

    def encode(self, event: str, value: Any) -> bytes | str:
        """One message to send: bytes as a binary, str as a text message.

        Raises:
            EncodeError: the event or the value cannot travel.
        """
        if not isinstance(value, _SENDABLE[self.version]):
            names = ", ".join(kind.__name__ for kind in _SENDABLE[self.version])
            raise EncodeError(
                f"{_NOT_SENDABLE} It is a {type(value).__name__}; protocol v{self.version} sends {names}."
            )
        return self._codec.encode(event, value)

    def reply(self, event: str, result: Any) -> bytes | str | None:
        """What a handler's result sends, by the rules of the server's handlers.

        Args:
            event: the event that was handled; the answer goes under the same.
            result: None for no answer, the answer, or a tuple of another event and the answer.

        Raises:
            EncodeError: the result is none of these, or cannot travel.
        """
        if isinstance(result, tuple):
            if len(result) != 2 or not isinstance(result[0], str):
                raise EncodeError(f"a handler returns None, a value, or a tuple (event, value), not {result!r}")
            event, result = result
        return None if result is None else self.encode(event, result)

    def _server_error(self, value: object) -> ServerError:
        """The original writes {"error": code, "info": ...}; some servers write the code alone."""
        info: object = None
        if isinstance(value, dict) and "error" in value:
            info = value.get("info")
            value = value["error"]
        text = value if isinstance(value, str) else repr(value)
        try:
            code = ErrorCode(text)
        except ValueError:
            return ServerError(text, info, None)
        if code in _PASSING:
            return ServerError(code.value, info, None)
        return ServerError(code.value, info, DeviceRejected(code, info, self.identity.type))
