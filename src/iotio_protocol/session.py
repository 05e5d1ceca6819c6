"""The server's side of one device connection, without I/O: v0 and v1 here, v2 in `v2_session`.

Bytes and times go in; events and bytes to write come out. The states are those of `State`, and `MOVES` is how one
follows another. A session is not thread-safe; its owner locks around each call.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from struct import Struct
from typing import Any, Protocol, TypeAlias

from . import v0, v1, v2
from .errors import EncodeError, ErrorCode, HandshakeError, InvalidPacket
from .frames import (
    BINARY,
    PING,
    PONG,
    TEXT,
    Close,
    FrameDecoder,
    Item,
    Ping,
    Pong,
    Violation,
    encode_close,
    encode_frame,
)
from .handshake import Hello, check_limits, size_of
from .options import Options
from .reasons import DisconnectReason
from .values import Value

__all__ = [
    "LONG",
    "MOVES",
    "BadGreeting",
    "Codec",
    "Ended",
    "Event",
    "Greeting",
    "Invalid",
    "Packet",
    "Session",
    "State",
    "WasRead",
    "string_frame",
]

GOING_AWAY = 1001  # RFC 6455, 7.4.1: the server goes down
POLICY = 1008  # RFC 6455, 7.4.1: refused; what iot.io devices take as "try again later" (not 1012 and above)

_WHOLE_BINARY = 0x80 | BINARY
_pack_u32 = Struct(">I").pack
_SHORT = [bytes((_WHOLE_BINARY, size)) for size in range(126)]
_SIZES = [_pack_u32(size) for size in range(126)]
_pack_head_16 = Struct(">BBH").pack
LONG = 65536  # bytes of a packet that `string_frame` does not make any more

_CLOSE_CODES = {
    DisconnectReason.SERVER_SHUTDOWN: GOING_AWAY,
    DisconnectReason.REMOVED: 1000,
    DisconnectReason.PING_TIMEOUT: 1001,
}


class Codec(Protocol):
    """How v1 packets are written and read: the module `v1`, or a user's own encoder."""

    def encode(self, event: str, value: Value) -> bytes:
        """Encode a packet. Raises EncodeError."""

    def decode(self, packet: bytes, options: Options) -> tuple[str, Value]:
        """Decode a packet. Raises InvalidPacket."""


_decode_v1 = partial(v1.decode, later=True)


class State(Enum):
    """Where a connection is after its upgrade."""

    GREETING = "greeting"  # the device is to say who it is: v0 in its handshake frame, v2 in HELLO
    OPEN = "open"  # packets pass; of a v0 or v2 device the checks may still be going on
    REFUSED = "refused"  # nothing that comes is a packet any more; our CLOSE is held back
    CLOSING = "closing"  # our CLOSE is out, the peer's is awaited
    CLOSED = "closed"  # over


_OVER = "the device's CLOSE, the end of TCP, or a broken rule of WebSocket"

MOVES: dict[tuple[State, State], str] = {
    (State.GREETING, State.OPEN): "the device has said who it is",
    (State.GREETING, State.REFUSED): "it is not wanted, whoever it is; the CLOSE frame has to wait",
    (State.GREETING, State.CLOSING): "what it says is no introduction, or does not come in `handshake_timeout`",
    (State.GREETING, State.CLOSED): _OVER,
    (State.OPEN, State.REFUSED): "a check fails, or the server closes; the CLOSE frame has to wait",
    (State.OPEN, State.CLOSING): "the server closes",
    (State.OPEN, State.CLOSED): _OVER,
    (State.REFUSED, State.CLOSING): "`refusal_delay` is over, or the server closes",
    (State.REFUSED, State.CLOSED): _OVER,
    (State.CLOSING, State.CLOSED): _OVER + ", or `close_timeout` is over",
}
"""What leads from one state to another, and no other way does. docs/protocol/v2.md shows it."""


@dataclass(slots=True)
class Greeting:
    """A v0 or v2 device introduced itself; answer with `Session.open` or `Session.refuse`.

    Attributes:
        hello: who it is.
        library: what it says that it speaks with.
        sends: the name of its stream of durable messages, or None.
        heard: of the server's stream, the name that it knows, or None, and the last number that it took.
        takes: how much it takes.
    """

    hello: Hello
    library: str = ""
    sends: str | None = None
    heard: tuple[str | None, int] = (None, 0)
    takes: v2.Takes = v2.TAKES_ALL


@dataclass(slots=True)
class BadGreeting:
    """A v0 or v2 device introduced itself wrongly; answer with `Session.refuse`."""

    error: HandshakeError


@dataclass(slots=True)
class Packet:
    """The device sent an event.

    Attributes:
        event: its name.
        value: what it carries; `Unread` if it is large JSON.
        size: bytes of the message.
    """

    event: str
    value: Any
    size: int = field(default=0, compare=False)


@dataclass(slots=True)
class WasRead:
    """The device has read a set of an endpoint; see `Session.probe`.

    Attributes:
        number: the owner's own, of the set.
    """

    number: int


@dataclass(slots=True)
class Invalid:
    """The device sent something that is no packet; it has been answered as its version has it.

    Attributes:
        problem: what is wrong with it.
        durable: see `InvalidPacket`.
    """

    problem: str
    durable: tuple[int, int] | None = None


@dataclass(slots=True)
class Ended:
    """The connection is over: comes once, and nothing after it."""

    reason: DisconnectReason
    detail: str


Event: TypeAlias = (
    Greeting
    | BadGreeting
    | Packet
    | v2.Packet
    | v2.Ack
    | WasRead
    | v2.Sleep
    | v2.Goodbye
    | v2.Problem
    | v2.Ping
    | v2.Pong
    | Invalid
    | Ended
)
"""What a session tells. What v2 has beside plain events comes as it was decoded; a PING is answered already."""


# To look up a member of an Enum takes its time.
_GREETING, _OPEN, _REFUSED, _CLOSING, _CLOSED = State


class Session:
    """One device connection after the upgrade.

    Attributes:
        frames: turns bytes into messages and control frames; for the reading side alone.
        keeps_alive: whether pings are sent; False where a foreign server does that, and silence says nothing.
        wire: which bytes this device reads: "v2", "v1", "v0", or "v0b" (v0 in BINARY frames); a device of v2 that has
            said how large a value may be has that in its wire. Equal wires share bytes.
        max_payload: bytes of a value that the device takes.
        close_code: the code of the CLOSE frame by which the device has ended the connection; 0 without one.

    Args:
        version: 0 or 1; 0 waits for the handshake frame, 1 for `open` or `refuse`. For 2 there is `V2Session`.
        options: limits and timings.
        now: the time, in seconds of any monotonic clock.
        codec: what reads and writes v1 packets.
        max_message: bytes that a message may have; None: those of the options.
    """

    __slots__ = (
        "_codec",
        "_decode",
        "_ended",
        "_out",
        "_ping_sent",
        "_pings",
        "_probes",
        "_reason",
        "_since",
        "close_code",
        "frames",
        "keeps_alive",
        "last_received",
        "max_payload",
        "options",
        "rtt",
        "state",
        "version",
        "wire",
    )

    def __init__(
        self, version: int, options: Options, now: float, codec: Codec = v1, *, max_message: int | None = None
    ) -> None:
        self.version = version
        self.options = options
        self.state = _GREETING
        self.last_received = now
        self.rtt: float | None = None  # seconds from our last answered ping to its pong
        self._codec = codec
        self._decode = _decode_v1 if codec is v1 else codec.decode  # one of a user's own reads all at once
        self.frames = FrameDecoder(
            options.max_message if max_message is None else max_message, options.max_introduction
        )
        self._out: list[bytes] = []
        self._since = now  # when the state was entered
        self._ping_sent: float | None = None
        self._pings = 0
        # Pings behind something that is to be known to have been read, and what is told then.
        self._probes: list[tuple[int, v2.Ack | WasRead]] | None = None
        self._reason: DisconnectReason | None = None  # why we are closing
        self._ended = False
        self.wire = f"v{version}"
        self.max_payload = v2.MAX_VALUE
        self.close_code = 0
        self.keeps_alive = True

    # -- what comes in ---------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take what a read brought. Then write `take_output()`."""
        return self.digest(self.frames.feed(data), now)

    def digest(self, items: list[Item], now: float) -> list[Event]:
        """Take decoded frames: the second half of `receive`.

        Args:
            items: from `frames`, in order.
            now: the time.
        """
        self.last_received = now
        events: list[Event] = []
        decode, options = self._decode, self.options
        for item in items:
            if type(item) is bytes or type(item) is str:
                if self.state is _OPEN:
                    if self.version == 1 and type(item) is bytes:  # the hot path
                        try:
                            event, value = decode(item, options)
                            events.append(Packet(event, value, len(item)))
                        except InvalidPacket as error:
                            events.append(self._invalid(error))
                    else:
                        events.append(self._packet(item))
                elif self.state is _GREETING:
                    self._greeting(item, events, now)
            else:
                self._control(item, events, now)
        return events

    def receive_eof(self, now: float) -> list[Event]:
        """Note that the peer ended the TCP stream, or that it broke."""
        events: list[Event] = []
        self._end(self._reason or DisconnectReason.TRANSPORT_CLOSED, "the TCP stream ended", events, now)
        return events

    def tick(self, now: float) -> list[Event]:
        """Do what is due by now; harmless at any time. Then write `take_output()`."""
        events: list[Event] = []
        if now < self.deadline:
            return events
        if self.state is _OPEN:
            self._keep_alive(events, now)
        elif self.state is _REFUSED:
            self.close(self._reason or DisconnectReason.REFUSED, now)
        elif self.state is _GREETING:
            self.close(DisconnectReason.HANDSHAKE_TIMEOUT, now)
        elif self.state is _CLOSING:
            assert self._reason is not None
            self._end(self._reason, "the peer did not answer the CLOSE frame", events, now)
        return events

    @property
    def deadline(self) -> float:
        """When `tick` has something to do next; infinity for never."""
        options = self.options
        if self.state is _OPEN:
            if not options.ping_interval or not self.keeps_alive:  # a probe alone must not end the connection
                return float("inf")
            if self._ping_sent is not None:
                return self._ping_sent + options.ping_timeout
            return self.last_received + options.ping_interval
        if self.state is _GREETING:
            return self._since + options.handshake_timeout
        if self.state is _REFUSED:
            return self._since + options.refusal_delay
        if self.state is _CLOSING:
            return self._since + options.close_timeout
        return float("inf")

    # -- what the owner decides ------------------------------------------------------------------------

    def open(self, welcome: dict[str, object] | None = None) -> None:
        """Let the device in.

        Args:
            welcome: what v2 tells the device beside the limits; other versions tell nothing.
        """
        self.frames.use_max_message()
        if self.state is _GREETING:
            self._enter(_OPEN, self._since)

    def refuse(self, error: HandshakeError, now: float, *, hold: bool = True) -> None:
        """Turn the device away: v1 and v2 get the error packet now and the CLOSE frame later, v0 the CLOSE frame.

        Args:
            error: why.
            now: the time.
            hold: False sends all of them the CLOSE frame at once.
        """
        if self.state not in (_GREETING, _OPEN):
            return
        if self.version:
            self._tell(error.code, error.info)
        if self.version and hold:
            self._enter(_REFUSED, now)
        else:
            self.close(DisconnectReason.REFUSED, now, str(error))

    def close(self, reason: DisconnectReason, now: float, text: str = "", *, hold: bool = False) -> None:
        """Send a CLOSE frame and wait for the peer's.

        Args:
            reason: becomes the reason of `Ended`; the close code follows from it.
            now: the time.
            text: words for the CLOSE frame; the reason's own if empty.
            hold: send it after `Options.refusal_delay` only; until then nothing that comes is a packet.
        """
        if self.state in (_CLOSING, _CLOSED):
            return
        self._reason = reason
        if hold:
            self._enter(_REFUSED, now)
            return
        self._out.append(encode_close(_CLOSE_CODES.get(reason, POLICY), text or reason.value))
        self._enter(_CLOSING, now)

    def abort(self, reason: DisconnectReason, now: float) -> list[Event]:
        """End without waiting for anybody: the CLOSE frame goes out if it still can."""
        events: list[Event] = []
        self.close(reason, now)
        self._end(reason, "ended by the server", events, now)
        return events

    def probe(self, event: v2.Ack | WasRead, now: float) -> None:
        """Send a ping. When it is answered, the device has read all before it.

        Args:
            event: what is told then.
            now: the time.
        """
        if self.state is _OPEN:
            self._ping(now)
            self._probes = [*(self._probes or ()), (self._pings, event)]

    def complain(self, error: InvalidPacket) -> None:
        """Tell the device that a packet is invalid, for a reason that only the owner knows."""
        self._invalid(error)

    def encode(self, event: str, value: Value) -> bytes:
        """Encode the frame that carries an event to this device.

        Raises:
            EncodeError: this device's version cannot carry it.
        """
        if self.version == 1:
            return encode_frame(BINARY, self._codec.encode(event, value))
        return encode_frame(BINARY if self.wire == "v0b" else TEXT, v0.encode(event, value).encode())

    @property
    def plain(self) -> int:
        """The version by which messages may be read and answered past `digest`, while this is OPEN; 0: by none.

        `string_frame` then makes what the device is sent, which asks for no `max_payload`.
        """
        return 1 if self.version == 1 and self._codec is v1 and type(self).digest is Session.digest else 0

    def take_output(self) -> bytes:
        """Return the bytes that must be written now; empty if there are none. They are not returned again."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    # -- inside ----------------------------------------------------------------------------------------

    def _packet(self, message: bytes | str) -> Event:
        try:
            if self.version == 1:
                raise InvalidPacket("protocol v1 has binary frames, this one is text")
            event, value = v0.decode(self._v0_text(message), self.options, later=True)
            return Packet(event, value, len(message))
        except InvalidPacket as error:
            return self._invalid(error)

    def _invalid(self, error: InvalidPacket) -> Invalid:
        if self.version == 1:  # v0 has no error packet; its servers dropped such frames in silence
            self._tell(ErrorCode.CLIENT_INVALID_PACKET, {"problem": error.problem})
        return Invalid(error.problem)

    def _tell(self, code: ErrorCode, info: dict[str, object] | None) -> None:
        """Send the error packet; as `v1.error_packet`, but by the codec in use."""
        try:
            packet = self._codec.encode("error", {"error": code.value, "info": info})
        except EncodeError:  # a codec of the user's own
            packet = v1.error_packet(code, info)
        self._out.append(encode_frame(BINARY, packet))

    def _v0_text(self, message: bytes | str) -> str:
        if isinstance(message, str):
            return message
        if self.wire != "v0b":
            raise InvalidPacket("protocol v0 has text frames, this one is binary")
        return v1.decode_text(message)

    def _greeting(self, message: bytes | str, events: list[Event], now: float) -> None:
        if self.version == 1:
            return
        if isinstance(message, bytes):
            self.wire = "v0b"  # who greets in a BINARY frame reads BINARY frames
        try:
            client_id, client_type, data = v0.decode_handshake(self._v0_text(message))
            check_limits(client_id, client_type, size_of(data), self.options)
        except InvalidPacket as error:
            events.append(Invalid(f"handshake: {error.problem}"))
            self.close(DisconnectReason.REFUSED, now, error.problem)
            return
        except HandshakeError as error:
            events.append(BadGreeting(error))
        else:
            events.append(Greeting(Hello(client_id, client_type, data, [], 0)))
        self._enter(_OPEN, now)  # frames behind the handshake are packets; `refuse` takes it back

    def _control(self, item: Ping | Pong | Close | Violation | bytes | str, events: list[Event], now: float) -> None:
        closing = self.state is _CLOSING
        if self.state is _CLOSED:  # nothing may follow a CLOSE frame of ours
            return
        if isinstance(item, Ping):
            if not closing:
                self._out.append(encode_frame(PONG, item.payload))
        elif isinstance(item, Pong):
            if self._ping_sent is not None and item.payload == _ping_payload(self._pings):
                self.rtt = now - self._ping_sent
                self._ping_sent = None
            if self._probes:
                self._answer_probe(item.payload, events)
        elif isinstance(item, Violation):
            if not closing:
                self._out.append(encode_close(item.code, item.reason))
            self._end(self._reason or DisconnectReason.PROTOCOL_ERROR, item.reason, events, now)
        elif isinstance(item, Close):
            if not closing:
                self.close_code = item.code or 0
                self._out.append(encode_close(item.code if item.code is not None else 1000))
            self._end(self._reason or DisconnectReason.CLIENT_CLOSE, item.reason, events, now)

    def _keep_alive(self, events: list[Event], now: float) -> None:
        if self._ping_sent is None:
            self._ping(now)
        elif self.last_received > self._ping_sent:  # anything that came is as good as a pong
            self._ping_sent = None
        else:
            events += self.abort(DisconnectReason.PING_TIMEOUT, now)

    def _ping(self, now: float) -> None:
        self._pings += 1
        if self._ping_sent is None:
            self._ping_sent = now
        self._out.append(encode_frame(PING, _ping_payload(self._pings)))

    def _answer_probe(self, payload: bytes, events: list[Event]) -> None:
        if len(payload) != 4:
            return
        number = int.from_bytes(payload, "big")
        probes = self._probes or []
        read = [event for ping, event in probes if ping <= number <= self._pings]
        self._probes = probes[len(read) :]
        events += read

    def _end(self, reason: DisconnectReason, detail: str, events: list[Event], now: float) -> None:
        self._enter(_CLOSED, now)
        if not self._ended:
            self._ended = True
            events.append(Ended(reason, detail))

    def _enter(self, state: State, now: float) -> None:
        assert state is self.state or (self.state, state) in MOVES, f"{self.state} -> {state}"
        self.state = state
        self._since = now


def _ping_payload(number: int) -> bytes:
    return number.to_bytes(4, "big")


def string_frame(head: bytes | None, value: object) -> bytes | None:
    """Encode the frame of a packet whose value is a str: what most handlers answer with. This is a hot path.

    Args:
        head: what the packet begins with, up to the value's length; None if that is not known.
        value: the value.

    Returns:
        None where it takes `Session.encode`, which knows all values and their errors: `value` is something else, no
        valid Unicode, or so large that the device may not take it.
    """
    if head is None or type(value) is not str:
        return None
    text: str = value
    try:
        body = text.encode()
    except UnicodeEncodeError:
        return None
    size = len(body)
    whole = len(head) + 4 + size
    if whole < 126:
        return _SHORT[whole] + head + _SIZES[size] + body
    if whole < LONG:
        return _pack_head_16(_WHOLE_BINARY, 126, whole) + head + _pack_u32(size) + body
    return None
