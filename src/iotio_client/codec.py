"""Packets of a device: what received messages mean, and what is sent for an event, a result or an error."""

from __future__ import annotations

from typing import Any

from iotio_protocol import v2
from iotio_protocol.calls import failure, fault_of
from iotio_protocol.errors import CallFault, EncodeError, ErrorCode, InvalidData, InvalidPacket
from iotio_protocol.options import Options
from iotio_protocol.unread import read_value

from .errors import ConnectFailed, DeviceRejected
from .identity import Identity
from .link import Link
from .message import Kept
from .opening import Welcome, read_welcome
from .packets import PacketEncoder, TextCodec, V1Codec, V2Codec
from .received import Acknowledged, Alive, Answer, Dispatch, Ignored, Received, ServerError

__all__ = ["RESERVED", "Codec"]

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
_NOT_SENDABLE = "A non-sendable value was passed to a client's send method."


class Codec:
    """Encode and decode the packets of a device in the version that its connection speaks.

    `encode` may be called from any thread, all else from the one that receives or handles.

    Args:
        link: the connection.
        identity: who the device is.
        encoder: packets of v1, if they are not the usual ones.
        options: `max_event` and `max_payload` apply.

    Attributes:
        goodbye: why the server closes, if it said so.
        invalid_packets: how many messages broke the protocol.
    """

    def __init__(self, link: Link, identity: Identity, encoder: PacketEncoder, options: Options) -> None:
        self.goodbye: str | None = None
        self.invalid_packets = 0
        self._link = link
        self._identity = identity
        self._v1 = V1Codec(encoder, options)
        self._v2 = V2Codec(options)
        self._text = TextCodec(options)

    def begin(self) -> None:
        """Forget what the server said on the connection before."""
        self.goodbye = None

    def welcome(self, message: bytes | str) -> Welcome | ServerError:
        """Read the first message of a server that speaks v2, and take its limits for what is sent from now on.

        Returns:
            What WELCOME says; or, for PROBLEM, why no connection comes about.

        Raises:
            ConnectFailed: it is neither.
        """
        try:
            packet = self._v2.decode(message)
            if isinstance(packet, v2.Problem):
                return self._refusal(packet)
            if not isinstance(packet, v2.Greeting) or not packet.welcome:
                raise InvalidPacket("it is another packet")
            welcome = read_welcome(packet.fields)
        except InvalidPacket as error:
            self.invalid_packets += 1
            raise ConnectFailed(
                f"the server agreed on protocol 2, and its first message is neither WELCOME nor PROBLEM: {error}"
            ) from None
        self._v2.max_event, self._v2.max_payload = welcome.max_event, welcome.max_payload
        return welcome

    def receive(self, message: bytes | str) -> Received:
        """Read one WebSocket message of an open connection. Never raises for what a server sends."""
        try:
            if self._link.version == 2:
                return self._read(self._v2.decode(message, later=True))
            packet = self._codec.decode(message)
        except InvalidPacket as error:
            return self.invalid(error, message)
        if packet is None:
            return Ignored("a text message, which protocol v1 does not use", invalid=False)
        event, value = packet
        if event == "error":
            try:
                return self._reported(read_value(value))
            except InvalidPacket as error:
                return self.invalid(error, message)
        if event in RESERVED:
            return Ignored(f"a packet of the reserved event {event!r}", invalid=False)
        return Dispatch(event, value)

    def encode(self, event: str, value: Any, time: int | None = None) -> bytes | str:
        """Return one message to send: bytes as a binary, str as a text message.

        Args:
            event: its event.
            value: what it carries.
            time: when it was by the device's clock, in milliseconds since 1970; None: now.

        Raises:
            EncodeError: the event or the value cannot travel.
        """
        if time is not None:
            if self._link.version != 2:
                raise EncodeError(
                    f"protocol {self._link.version} carries no time: leave out time, or update the server"
                )
            return self._v2.encode(event, value, v2.TIME, time=self._link.on_the_servers_clock(time))
        if not isinstance(value, _SENDABLE[self._link.version]):
            names = ", ".join("None" if kind is type(None) else kind.__name__ for kind in _SENDABLE[self._link.version])
            raise EncodeError(
                f"{_NOT_SENDABLE} It is a {type(value).__name__}; protocol v{self._link.version} sends {names}."
            )
        return (self._v2 if self._link.version == 2 else self._codec).encode(event, value)

    def encode_call(self, number: int, event: str, value: Any) -> bytes:
        """Return the packet of a call.

        Raises:
            EncodeError: the event or the value cannot travel.
        """
        return self._v2.encode(event, value, v2.CALL, call=number)

    def encode_kept(self, previous: int, number: int, kept: Kept) -> bytes | str:
        """Return the packet of a durable message.

        Args:
            previous: the number of the message before it.
            number: its own.
            kept: the message.

        Raises:
            EncodeError: the server cannot take it.
        """
        if self._link.version != 2:
            return self.encode(kept.event, v2.decode_value(kept.kind, kept.body))
        time = self._link.on_the_servers_clock(kept.time)
        flags = v2.DURABLE | v2.TIME
        return self._v2.pack(kept.kind, kept.body, kept.event, flags, number=number, previous=previous, time=time)

    def reply(self, event: str, result: Any) -> bytes | str | None:
        """Return what a handler's result sends, by the rules of the server's handlers; None for nothing.

        Args:
            event: the event that was handled; the answer goes under the same.
            result: None for no answer, the answer, or a tuple of another event and the answer.

        Raises:
            EncodeError: the result is none of these, or cannot travel.
        """
        event, result = _split(event, result)
        return None if result is None else self.encode(event, result)

    # Results of handlers.

    def check(self, received: Dispatch) -> Any:
        """Return the value for the handler. That of a call to an endpoint is checked, and converted to its type.

        Raises:
            InvalidData: the endpoint does not take it; `failed` makes the answer.
        """
        declaration = self._identity.endpoints.get(received.event)
        if received.call is None or declaration is None:
            return received.value
        from iotio_protocol.endpoints import DeclarationError, ValidationResponse, parse_endpoint  # who has some has it

        try:
            verdict, value = parse_endpoint(declaration).check(received.value)
        except DeclarationError:  # the server would have refused it: the program has changed it since
            return received.value
        if verdict is not ValidationResponse.VALID:
            raise InvalidData(f"the endpoint {received.event!r} does not take this value: {verdict.value}")
        return value

    def answer(self, received: Dispatch, result: Any) -> bytes | str | None:
        """Return what to send when the handler has returned; None for nothing.

        Raises:
            EncodeError: the result cannot travel; `failed` makes the answer.
        """
        if received.call is None:
            return self.reply(received.event, result)
        return self._v2.encode("", _split("", result)[1], v2.RESULT, call=received.call)

    def failed(self, received: Dispatch, error: Exception) -> bytes | None:
        """Return what to send when the handler, or `check` or `answer`, has raised; None for nothing."""
        if received.call is None:
            return None
        return v2.encode("", failure(fault_of(error), error), v2.FAILURE, call=received.call)

    def unhandled(self, received: Dispatch) -> bytes | None:
        """Return what to send where there is no handler; None for nothing."""
        if received.call is None:
            return None
        return v2.encode("", failure(CallFault.NO_HANDLER), v2.FAILURE, call=received.call)

    # Messages that break the protocol.

    def problem(self, error: InvalidPacket) -> bytes:
        """Count a message that broke the protocol. Returns the PROBLEM that tells the server."""
        self.invalid_packets += 1
        return _problem(error)

    def invalid(self, error: InvalidPacket, message: bytes | str) -> Ignored:
        """Count a message that broke the protocol.

        Args:
            error: how.
            message: what was received.

        Returns:
            What to log, and what to tell the server.
        """
        self.invalid_packets += 1
        # What would be a PROBLEM is not answered by one: two sides would go on and on.
        tells = self._link.version == 2 and (isinstance(message, str) or message[:1] != _PROBLEM)
        durable = None
        if error.durable is not None and self._link.server.sends is not None:
            durable = Dispatch("", None, None, *error.durable)
        reply = _problem(error) if tells else None
        return Ignored(f"an invalid packet: {error}", invalid=True, reply=reply, durable=durable)

    # Reading.

    @property
    def _codec(self) -> V1Codec | TextCodec:
        return self._v1 if self._link.version else self._text

    def _read(self, packet: v2.Decoded) -> Received:
        """Return what a packet of v2 means. Raises InvalidPacket."""
        if isinstance(packet, v2.Packet):
            return self._read_event(packet)
        if isinstance(packet, v2.Ack):
            return Acknowledged(packet.upto)
        if isinstance(packet, v2.Ping):
            return Alive(v2.PONG_PACKET)
        if isinstance(packet, v2.Pong):
            return Alive()
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
            if self._link.server.sends is None:
                raise InvalidPacket("a durable message, but WELCOME named no stream")
            return Dispatch(packet.event, packet.value, None, packet.number, packet.previous, time)
        if packet.event in RESERVED:
            return Ignored(f"a packet of the reserved event {packet.event!r}", invalid=False)
        return Dispatch(packet.event, packet.value, time=time)

    def _reported(self, value: object) -> ServerError:
        """Read an error of v0 or v1: the original writes {"error": code, "info": ...}, some servers the code alone."""
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
        return ServerError(code.value, info, DeviceRejected(code, info, self._identity.type))

    def _refusal(self, problem: v2.Problem) -> ServerError:
        """Read PROBLEM in the place of WELCOME: no connection comes about, whatever it says."""
        found = self._server_error(problem.error, problem.info)
        if found.rejection is not None:
            return found
        if problem.error == ErrorCode.CLIENT_INVALID_PACKET:
            rejected = DeviceRejected(ErrorCode.CLIENT_INVALID_PACKET, problem.info, self._identity.type)
            return ServerError(found.error, found.info, rejected)
        more = "" if problem.info is None else f" (the server says: {problem.info})"
        return ServerError(
            found.error, found.info, ConnectFailed(f"the server lets nobody in now: {found.error}{more}")
        )


def _split(event: str, result: Any) -> tuple[str, Any]:
    """Return event and answer of what a handler returned. Raises EncodeError."""
    if not isinstance(result, tuple):
        return event, result
    if len(result) != 2 or not isinstance(result[0], str):
        raise EncodeError(f"a handler returns None, a value, or a tuple (event, value), not {result!r}")
    return result


def _problem(error: InvalidPacket) -> bytes:
    return v2.encode_problem(v2.code_of(error), {"problem": error.problem})
