"""The device's side of the protocol, without I/O: both clients are shells around this.

Received messages go in, what is to be done with them comes out. Time is an argument, and the randomness of
the waits comes with the `Backoff`. Nothing here locks but the buffer: a shell calls from one thread, but for `encode`
and `keep`; it locks around the methods about calls if several threads call, and takes turns with `next_durable`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from iotio_protocol import v2
from iotio_protocol.calls import Calls, failure, fault_of
from iotio_protocol.endpoints import DeclarationError, ValidationResponse, parse_endpoint
from iotio_protocol.errors import (
    CallDisconnected,
    CallFault,
    CallsUnsupported,
    EncodeError,
    ErrorCode,
    InvalidData,
    InvalidPacket,
    StreamGap,
)
from iotio_protocol.options import DEFAULT_OPTIONS, Options

from .backoff import Backoff
from .buffer import Buffer, Kept
from .calls import PendingCall
from .errors import (
    BufferFailed,
    ClientError,
    ConnectFailed,
    ConnectionBroken,
    DeviceRejected,
    VersionNotSpoken,
)
from .identity import Identity
from .message import Effect
from .opening import NO_WELCOME, Welcome, hello, read_welcome
from .packets import DefaultPacketEncoder, PacketEncoder, TextCodec, V1Codec, V2Codec
from .received import Acknowledged, Answer, Dispatch, Ignored, Received, ServerError

__all__ = ["RESERVED", "Acknowledged", "Answer", "Dispatch", "Ignored", "Received", "ServerError", "Session", "State"]

RESERVED = frozenset({"connect", "disconnect", "error"})
"""Events that stand for the connection itself: never dispatched to `on_<event>`, whoever sends them."""

_PASSING = frozenset(
    {ErrorCode.CLIENT_INVALID_PACKET, ErrorCode.UNSUPPORTED_PACKET, ErrorCode.SERVER_BUSY, ErrorCode.STREAM_GAP}
)
"""Errors that say nothing against the device: it lives on, or comes again later."""

_SENDABLE = {
    0: (bool, int, float, str, dict),
    1: (bytes, bytearray, bool, int, str, list, dict),
    2: (bytes, bytearray, bool, int, float, str, list, dict, type(None)),
}
_PROBLEM = bytes((v2.PROBLEM,))
_MAX_FLYING = 1 << 16  # bytes of durable messages on their way: what else is sent waits behind no more than that
_V1_WINDOW = 100  # durable messages that a server without ACK is sent before a ping
_CLOCK_TOLERANCE = 1000  # milliseconds that the network may account for
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


class Session:
    """What one device does on all its connections, one after the other.

    A connection begins like this: `connecting`, the upgrade, `agreed`; then `welcome` for the first
    message if `unwelcomed`; then `opened`. It ends with `farewell` if this side closes, and with `wait` or `ended`.

    Durable messages of the server: each is dispatched; `known` says whether it is one that came before, and
    `handled` keeps that it is through and returns its ACK. Those of this side: `keep`, then `next_durable` until that
    has none, and again after each ACK. `resume` comes before `opened`, and `suspend` at the end of a connection.

    Args:
        identity: who the device is.
        protocol_version: None: 2, or 1 if the server does not know 2; 2, 1, or 0 for servers up to iot.io 0.3.1.
        encoder: packets of v1, if they are not the usual ones; None as protocol_version then means 1.
        options: `max_event` and `max_payload` apply.
        backoff: the waits between connections.
        buffer: keeps durable messages; None: one in memory.

    Attributes:
        version: the version that the connection speaks.
        server: what it said in WELCOME.
        buffer: as above.
        clock_offset: the server's clock less this device's, in milliseconds; 0 where they agree but for the network.
        goodbye: why the server closes, if it said so.
        invalid_packets: how many messages broke the protocol.
        failures: attempts and short connections in a row, counted for the waits.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        protocol_version: int | None = None,
        encoder: PacketEncoder = DefaultPacketEncoder,
        options: Options = DEFAULT_OPTIONS,
        backoff: Backoff | None = None,
        buffer: Buffer | None = None,
    ) -> None:
        if protocol_version not in (None, 0, 1, 2):
            raise ValueError(f"protocol_version must be None, 0, 1 or 2, not {protocol_version!r}")
        if encoder is not DefaultPacketEncoder:
            if protocol_version == 2:
                raise ValueError("an encoder makes packets of protocol 1: leave out encoder or protocol_version=2")
            protocol_version = 1 if protocol_version is None else protocol_version
        self.identity = identity
        self.version = 2 if protocol_version is None else protocol_version
        self.state = State.IDLE
        self.server = NO_WELCOME
        self.buffer = Buffer() if buffer is None else buffer
        self.clock_offset = 0
        self.goodbye: str | None = None
        self.invalid_packets = 0
        self.failures = 0
        self._wanted = protocol_version
        self._backoff = backoff or Backoff()
        self._opened_at = 0.0
        self._v1 = V1Codec(encoder, options)
        self._v2 = V2Codec(options)
        self._text = TextCodec(options)
        self._calls: Calls[PendingCall] = Calls()
        self._gives_up = False  # this side ends the connection, and means to come back at once
        self._written = 0  # the last durable message that went to a server without ACK
        self._probing = 0  # and the one that a ping was sent behind
        self._sleep: int | None = None  # seconds, to be said at the end of this connection
        self._welcomed_at: float | None = None  # when `server.time` was right

    # Connections.

    @property
    def subprotocols(self) -> list[str]:
        """What to ask for in the upgrade request."""
        return [v2.SUBPROTOCOL] if self._wanted in (None, 2) else []

    @property
    def fell_back(self) -> bool:
        """Whether the connection speaks v1 although v2 was asked for."""
        return self._wanted is None and self.version == 1

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
        # What cannot be said is found out before the server is bothered.
        if self._wanted == 0:
            self.identity.text_handshake()
        elif self._wanted == 2:
            self._hello()
        headers = self.identity.headers() if self._wanted in (None, 1) else []
        self._move(State.CONNECTING)
        self.goodbye = self._sleep = self._welcomed_at = None
        self._gives_up = False
        self.server = NO_WELCOME
        return headers

    def agreed(self, subprotocol: str | None) -> bytes | str | None:
        """The upgrade succeeded.

        Args:
            subprotocol: the one in the server's answer.

        Returns:
            The message to send right now; None: there is none.

        Raises:
            VersionNotSpoken: the server does not speak what `protocol_version` insists on.
        """
        if self._wanted == 2 and subprotocol != v2.SUBPROTOCOL:
            raise VersionNotSpoken(
                "the server does not speak protocol 2, which protocol_version=2 insists on: install iotio 0.5 or newer"
                " on the server, or leave protocol_version out here; a proxy on the way must pass on the header"
                " Sec-WebSocket-Protocol"
            )
        if self._wanted in (None, 2):
            self.version = 2 if subprotocol == v2.SUBPROTOCOL else 1
        if self.version == 2:
            return self._hello()
        return None if self.version else self.identity.text_handshake()

    @property
    def unwelcomed(self) -> bool:
        """Whether the server has still to say that it takes the device (v2; the others do not say so)."""
        return self.version == 2 and self._welcomed_at is None

    def welcome(self, message: bytes | str, now: float, wall: float | None = None) -> ServerError | None:
        """Read the first message of a server that speaks v2.

        Args:
            message: the WebSocket message.
            now: seconds on a monotonic clock.
            wall: what the device takes for the time, in seconds since 1970; None: what the server says.

        Returns:
            None for WELCOME: the device is in. PROBLEM: why it is not.

        Raises:
            ConnectFailed: it is neither; nothing is answered, for who writes that may not understand it.
        """
        try:
            packet = self._v2.decode(message)
            if isinstance(packet, v2.Problem):
                return self._refusal(packet)
            if not isinstance(packet, v2.Greeting) or not packet.welcome:
                raise InvalidPacket("it is another packet")
            self._welcomed(read_welcome(packet.fields), now, wall)
        except InvalidPacket as error:
            self.invalid_packets += 1
            raise ConnectFailed(
                f"the server agreed on protocol 2, and its first message is neither WELCOME nor PROBLEM: {error}"
            ) from None
        return None

    def resume(self) -> None:
        """Durable messages begin where the server says that it is.

        Raises:
            ConnectFailed: the buffer's file cannot be written.
        """
        self._written = self._probing = 0
        try:
            self.buffer.resume(*self.server.heard, self.server.sends)
        except BufferFailed as error:
            raise ConnectFailed(f"durable messages cannot be noted: {error}") from error

    def suspend(self) -> None:
        """The connection is over."""
        self.buffer.suspend()

    def opened(self, now: float) -> None:
        """The server knows who this is.

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

    def sleep(self, seconds: int) -> None:
        """The farewell of this connection shall say that the device means to be back in so many seconds."""
        self._sleep = seconds

    def farewell(self) -> bytes | None:
        """What to send before the CLOSE frame: SLEEP or GOODBYE of a v2 device."""
        if self.version != 2 or self.state is not State.OPEN or self._gives_up:
            return None
        if self._sleep is not None:
            return v2.encode_sleep(self._sleep)
        return v2.encode_json(v2.GOODBYE, {"reason": "stopped"})

    def ended(self) -> None:
        """No attempt follows by itself. Harmless when called twice."""
        if self.state is not State.IDLE:
            self._move(State.ENDED)
        self.failures = 0

    def server_time(self, now: float) -> float | None:
        """The server's clock in seconds since 1970 (UTC); None if it has not told.

        Args:
            now: seconds on the monotonic clock of `welcome`.
        """
        if self._welcomed_at is None or self.server.time is None:
            return None
        return self.server.time / 1000 + (now - self._welcomed_at)

    def _move(self, state: State) -> None:
        if state not in _MOVES[self.state]:
            raise RuntimeError(f"a client that is {self.state.name} cannot become {state.name}")
        self.state = state

    def _hello(self) -> bytes:
        return hello(self.identity, sends=self.buffer.outgoing.name, heard=self.buffer.incoming)

    def _welcomed(self, welcome: Welcome, now: float, wall: float | None) -> None:
        self.server = welcome
        self._welcomed_at = now
        self._v2.max_event, self._v2.max_payload = welcome.max_event, welcome.max_payload
        offset = 0 if wall is None or welcome.time is None else welcome.time - round(wall * 1000)
        self.clock_offset = offset if abs(offset) >= _CLOCK_TOLERANCE else 0

    def _refusal(self, problem: v2.Problem) -> ServerError:
        """PROBLEM in the place of WELCOME: no connection comes about, whatever it says."""
        found = self._server_error(problem.error, problem.info)
        if found.rejection is not None:
            return found
        if problem.error == ErrorCode.CLIENT_INVALID_PACKET:
            rejected = DeviceRejected(ErrorCode.CLIENT_INVALID_PACKET, problem.info, self.identity.type)
            return ServerError(found.error, found.info, rejected)
        more = "" if problem.info is None else f" (the server says: {problem.info})"
        return ServerError(
            found.error, found.info, ConnectFailed(f"the server lets nobody in now: {found.error}{more}")
        )

    # Packets.

    def receive(self, message: bytes | str) -> Received:
        """Read one WebSocket message of an open connection; never raises for what a server sends."""
        try:
            if self.version == 2:
                return self._read(self._v2.decode(message))
            packet = self._codec.decode(message)
        except InvalidPacket as error:
            return self._invalid(error, message)
        if packet is None:
            return Ignored("a text message, which protocol v1 does not use", invalid=False)
        event, value = packet
        if event == "error":
            return self._reported(value)
        if event in RESERVED:
            return Ignored(f"a packet of the reserved event {event!r}", invalid=False)
        return Dispatch(event, value)

    def encode(self, event: str, value: Any, time: int | None = None) -> bytes | str:
        """One message to send: bytes as a binary, str as a text message.

        Args:
            event: its event.
            value: what it carries.
            time: when it was by the device's clock, in milliseconds since 1970; None: now.

        Raises:
            EncodeError: the event or the value cannot travel.
        """
        if time is not None:
            if self.version != 2:
                raise EncodeError(f"protocol {self.version} carries no time: leave out time, or update the server")
            return self._v2.encode(event, value, v2.TIME, time=time + self.clock_offset)
        if not isinstance(value, _SENDABLE[self.version]):
            names = ", ".join("None" if kind is type(None) else kind.__name__ for kind in _SENDABLE[self.version])
            raise EncodeError(
                f"{_NOT_SENDABLE} It is a {type(value).__name__}; protocol v{self.version} sends {names}."
            )
        return (self._v2 if self.version == 2 else self._codec).encode(event, value)

    def reply(self, event: str, result: Any) -> bytes | str | None:
        """What a handler's result sends, by the rules of the server's handlers.

        Args:
            event: the event that was handled; the answer goes under the same.
            result: None for no answer, the answer, or a tuple of another event and the answer.

        Raises:
            EncodeError: the result is none of these, or cannot travel.
        """
        event, result = _split(event, result)
        return None if result is None else self.encode(event, result)

    @property
    def _codec(self) -> V1Codec | TextCodec:
        return self._v1 if self.version else self._text

    def _read(self, packet: v2.Decoded) -> Received:
        """What a packet of v2 means. Raises InvalidPacket."""
        if isinstance(packet, v2.Packet):
            return self._read_event(packet)
        if isinstance(packet, v2.Ack):
            return Acknowledged(packet.upto)
        if isinstance(packet, v2.Problem):
            return self._server_error(packet.error, packet.info)
        if isinstance(packet, v2.Goodbye):
            self.goodbye = packet.reason
            return Ignored(f"GOODBYE: {packet.reason}", invalid=False)
        raise InvalidPacket("WELCOME comes once, HELLO and SLEEP from devices only")

    def _read_event(self, packet: v2.Packet) -> Received:
        flags = packet.flags
        time = packet.time if flags & v2.TIME else None
        if flags & (v2.RESULT | v2.FAILURE):
            return Answer(packet.call, bool(flags & v2.FAILURE), packet.value)
        if flags & v2.CALL:
            return Dispatch(packet.event, packet.value, packet.call, time=time)
        if flags & v2.DURABLE:
            if self.server.sends is None:
                raise InvalidPacket("a durable message, but WELCOME named no stream")
            return Dispatch(packet.event, packet.value, None, packet.number, packet.previous, time)
        if packet.event in RESERVED:
            return Ignored(f"a packet of the reserved event {packet.event!r}", invalid=False)
        return Dispatch(packet.event, packet.value, time=time)

    def _invalid(self, error: InvalidPacket, message: bytes | str) -> Ignored:
        self.invalid_packets += 1
        # What would be a PROBLEM is not answered by one: two sides would go on and on.
        tells = self.version == 2 and (isinstance(message, str) or message[:1] != _PROBLEM)
        return Ignored(f"an invalid packet: {error}", invalid=True, reply=_problem(error) if tells else None)

    def _reported(self, value: object) -> ServerError:
        """The original writes {"error": code, "info": ...}; some servers write the code alone."""
        info: object = None
        if isinstance(value, dict) and "error" in value:
            info = value.get("info")
            value = value["error"]
        return self._server_error(value if isinstance(value, str) else repr(value), info)

    def _server_error(self, text: str, info: object) -> ServerError:
        try:
            code = ErrorCode(text)
        except ValueError:
            return ServerError(text, info, None)
        if code in _PASSING:
            return ServerError(code.value, info, None)
        return ServerError(code.value, info, DeviceRejected(code, info, self.identity.type))

    # Handlers: their results, calls of the server, its durable messages.

    def check(self, received: Dispatch) -> Any:
        """The value for the handler. That of a call to an endpoint is checked, and converted to its type.

        Raises:
            InvalidData: the endpoint does not take it; `failed` makes the answer.
        """
        declaration = self.identity.endpoints.get(received.event)
        if received.call is None or declaration is None:
            return received.value
        try:
            verdict, value = parse_endpoint(declaration).check(received.value)
        except DeclarationError:  # the server would have refused it: the program has changed it since
            return received.value
        if verdict is not ValidationResponse.VALID:
            raise InvalidData(f"the endpoint {received.event!r} does not take this value: {verdict.value}")
        return value

    def answer(self, received: Dispatch, result: Any) -> bytes | str | None:
        """What to send when the handler has returned; None for nothing.

        Raises:
            EncodeError: the result cannot travel; `failed` makes the answer.
        """
        if received.call is None:
            return self.reply(received.event, result)
        return self._v2.encode("", _split("", result)[1], v2.RESULT, call=received.call)

    def failed(self, received: Dispatch, error: Exception) -> bytes | None:
        """What to send when the handler, or `check` or `answer`, has raised."""
        if received.call is None:
            return None
        return v2.encode("", failure(fault_of(error), error), v2.FAILURE, call=received.call)

    def unhandled(self, received: Dispatch) -> bytes | None:
        """What to send where there is no handler."""
        if received.call is None:
            return None
        return v2.encode("", failure(CallFault.NO_HANDLER), v2.FAILURE, call=received.call)

    # Durable messages of the server.

    def known(self, received: Dispatch) -> Ignored | None:
        """Whether a message is not to be handled, because it is durable and came before; its turn has come.

        Returns:
            None: it is to be handled. Ignored with `invalid`: one before it is missing; send the reply, and then
            raise `give_up`.
        """
        if not received.number:
            return None
        try:
            if self.buffer.is_new(received.number, received.previous):
                return None
        except StreamGap as error:
            self.invalid_packets += 1
            return Ignored(f"a durable message: {error}", invalid=True, reply=_problem(error))
        ack = v2.encode_ack(received.number)
        return Ignored(f"durable message {received.number}, which came before", invalid=False, reply=ack)

    def message_id(self, received: Dispatch) -> str:
        """What names a durable message; "" for another one."""
        return f"{self.buffer.incoming.stream}/{received.number}" if received.number else ""

    def handled(self, received: Dispatch, effects: Iterable[Effect] = ()) -> bytes | None:
        """The message is through, by a result, an exception or no handler.

        Returns:
            Its ACK if it is durable.

        Raises:
            BufferFailed: the file cannot be written: raise `give_up`.
            Exception: of an effect; call this again without effects.
        """
        if not received.number:
            return None
        self.buffer.took(received.number, effects)
        return v2.encode_ack(received.number)

    def give_up(self, why: str) -> ConnectionBroken:
        """End the connection without a farewell, so that the next one brings a message again."""
        self._gives_up = True
        return ConnectionBroken(why)

    # Durable messages of this device.

    def keep(self, event: str, value: Any, time: int) -> int:
        """Keep a message until the server has it.

        Args:
            event: its event.
            value: what it carries.
            time: when it was by the device's clock, in milliseconds since 1970.

        Returns:
            Its number.

        Raises:
            EncodeError: the event or the value cannot travel.
            BufferFull: there is no room.
            BufferFailed: the file cannot be written.
        """
        kind, body = v2.encode_value(value)
        v2.encode_head(kind, event)
        if self.state is State.OPEN or self._wanted in (0, 1):
            self.encode(event, value)  # what this server does not take is said at once
        return self.buffer.put(event, kind, body, time)

    def next_durable(self) -> bytes | str | None:
        """The packet of the next durable message, if one may be sent now; it then counts as sent.

        Raises:
            EncodeError: the server cannot take it; it has been dropped. Go on with the next one.
            BufferFailed: likewise, and the file cannot be written.
        """
        if self.state is not State.OPEN or self._probing:
            return None
        item = self.buffer.next(self.server.max_unacknowledged if self.version == 2 else _V1_WINDOW, _MAX_FLYING)
        if item is None:
            return None
        previous, number, kept = item
        try:
            packet = self._pack(previous, number, kept)
        except EncodeError:
            self.buffer.drop_unsent(previous, number)
            raise
        self._written = number
        return packet

    def _pack(self, previous: int, number: int, kept: Kept) -> bytes | str:
        if self.version != 2:
            return self.encode(kept.event, v2.decode_value(kept.kind, kept.body))
        time = kept.time + self.clock_offset
        flags = v2.DURABLE | v2.TIME
        return self._v2.pack(kept.kind, kept.body, kept.event, flags, number=number, previous=previous, time=time)

    def probe(self) -> int:
        """After `next_durable` has none left. Returns the number to give to `acknowledged` when a ping is answered.

        0: no ping is needed, for the server sends ACK, or for nothing was sent.
        """
        if self.version == 2 or self._probing or not self._written:
            return 0
        self._probing, self._written = self._written, 0
        return self._probing

    def acknowledged(self, upto: int) -> Ignored | None:
        """The server has all durable messages of this device up to a number. Returns what to do if that is wrong.

        Raises:
            BufferFailed: the file cannot be written. It does no harm: the next connection says it again.
        """
        self._probing = 0
        try:
            self.buffer.acknowledge(upto)
        except InvalidPacket as error:
            return self._invalid(error, b"")
        return None

    # Calls of this device.

    def begin_call(self, pending: PendingCall) -> int:
        """Somebody calls the server, and `encode_call` is next.

        Returns:
            The call's number.

        Raises:
            CallsUnsupported: the server speaks v0 or v1, or this device was told to.
            CallDisconnected: there is no connection.
            TooManyCalls: as many as may be are on their way.
        """
        if self._wanted in (0, 1):
            raise CallsUnsupported(
                f"this device speaks protocol {self._wanted}, which has no calls:"
                " leave out protocol_version and encoder"
            )
        if self.state is not State.OPEN:
            raise CallDisconnected(f"the call of {pending.event!r} cannot be sent: the client is not connected")
        if self.version != 2:
            raise CallsUnsupported(
                "the server speaks protocol 1, which has no calls: install iotio 0.5 or newer on the server"
            )
        return self._calls.begin(pending)

    def encode_call(self, number: int, event: str, value: Any) -> bytes:
        """The packet of a call.

        Raises:
            EncodeError: the event or the value cannot travel; `end_call` is next.
        """
        return self._v2.encode(event, value, v2.CALL, call=number)

    def end_call(self, number: int) -> PendingCall | None:
        """There is an answer, or nobody waits any more. Returns who waited; None for a late answer."""
        return self._calls.end(number)

    def end_calls(self) -> list[PendingCall]:
        """The connection is over. Returns who waited."""
        return self._calls.end_all()


def _split(event: str, result: Any) -> tuple[str, Any]:
    """Event and answer of what a handler returned. Raises EncodeError."""
    if not isinstance(result, tuple):
        return event, result
    if len(result) != 2 or not isinstance(result[0], str):
        raise EncodeError(f"a handler returns None, a value, or a tuple (event, value), not {result!r}")
    return result


def _problem(error: InvalidPacket) -> bytes:
    return v2.encode_problem(v2.code_of(error), {"problem": error.problem})
