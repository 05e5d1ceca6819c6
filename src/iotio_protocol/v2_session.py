"""The server's side of a connection that speaks v2: its introduction and its packets.

The base class `Session` manages states, pings and closing, as for the older protocols.
"""

from __future__ import annotations

from functools import lru_cache

from . import strict_json, v2
from .errors import ErrorCode, HandshakeError, InvalidPacket
from .frames import BINARY, encode_frame
from .handshake import Hello, check_limits
from .options import DEFAULT_OPTIONS, Options
from .readings import parse_report
from .reasons import DisconnectReason
from .session import LONG, BadGreeting, Event, Greeting, Invalid, Packet, Session, State
from .stream import MAX_UNACKNOWLEDGED
from .values import Value

__all__ = ["V2Session", "read_hello", "read_limit"]

_PROBLEM = bytes((v2.PROBLEM,))
_PONG_FRAME = encode_frame(BINARY, v2.PONG_PACKET)
_GREETING, _OPEN, _REFUSED = State.GREETING, State.OPEN, State.REFUSED  # to look up a member of an Enum takes its time
_MAX_HELD = 8  # answers that wait for WELCOME; a device whose opening takes long gets no more of them


class V2Session(Session):
    """See `Session`. WELCOME is written by `open`, GOODBYE before a CLOSE frame of ours.

    Args:
        options: limits and timings.
        now: the time, in seconds of any monotonic clock.
    """

    def __init__(self, options: Options, now: float) -> None:
        Session.__init__(self, 2, options, now, max_message=v2.max_message(options))
        self._welcomed = False  # WELCOME is out
        self._held: list[bytes] = []  # to be sent behind it: the device takes a PROBLEM before it for a refusal

    def open(self, welcome: dict[str, object] | None = None) -> None:
        """Let the device in: WELCOME, with these fields and the limits."""
        if self._welcomed or self.state not in (_GREETING, _OPEN):
            return
        self._welcomed = True
        self.frames.use_max_message()
        if self.state is _GREETING:
            self._enter(_OPEN, self._since)
        options = self.options
        limits = _limits(options.ping_interval, options.ping_timeout, options.max_event, options.max_payload)
        self._out.append(encode_frame(BINARY, v2.encode_json(v2.WELCOME, welcome or {}, more=limits)))
        self._out += self._held
        self._held.clear()

    def close(self, reason: DisconnectReason, now: float, text: str = "", *, hold: bool = False) -> None:
        """Say GOODBYE, then as `Session.close`."""
        if self._welcomed and not hold and self.state in (_OPEN, _REFUSED):
            self._out.append(encode_frame(BINARY, v2.encode_json(v2.GOODBYE, {"reason": reason.value})))
        Session.close(self, reason, now, text, hold=hold)

    def encode(self, event: str, value: Value) -> bytes:
        return encode_frame(BINARY, v2.encode(event, value, most=self.max_payload))

    @property
    def plain(self) -> int:
        return 2 if self.max_payload >= LONG else 0

    def _packet(self, message: bytes | str) -> Event:
        try:
            if isinstance(message, str):
                raise InvalidPacket("protocol v2 has binary frames, this one is text")
            packet = v2.decode(message, self.options, later=True)
            if isinstance(packet, v2.Greeting):
                raise InvalidPacket("HELLO comes once, and WELCOME from the server only")
            if isinstance(packet, v2.Packet) and not packet.flags:
                return Packet(packet.event, packet.value, len(message))
            if isinstance(packet, v2.Ping):
                self._answer(_PONG_FRAME)
            return packet
        except InvalidPacket as error:
            if message[:1] == _PROBLEM:  # or two sides that do not understand each other would never end
                return Invalid(error.problem)
            return self._invalid(error)

    def _invalid(self, error: InvalidPacket) -> Invalid:
        code = v2.code_of(error)
        self._answer(_problem_frame(code, {"problem": error.problem}))
        return Invalid(error.problem, error.durable)

    def _answer(self, frame: bytes) -> None:
        """Send what is not the owner's to say; no answer is before WELCOME."""
        if self._welcomed or self.state is _GREETING:
            self._out.append(frame)
        elif len(self._held) < _MAX_HELD:
            self._held.append(frame)

    def _tell(self, code: ErrorCode, info: dict[str, object] | None) -> None:
        self._out.append(_problem_frame(code, info))

    def _greeting(self, message: bytes | str, events: list[Event], now: float) -> None:
        try:
            if isinstance(message, str):
                raise InvalidPacket("protocol v2 has binary frames, this one is text")
            packet = v2.decode(message, self.options)
            if not isinstance(packet, v2.Greeting) or packet.welcome:
                raise InvalidPacket("a device's first packet must be HELLO")
            greeting = read_hello(packet.fields, len(message), self.options)
        except HandshakeError as error:
            events.append(BadGreeting(error))
        except InvalidPacket as error:
            events.append(self._invalid(error))
            self.close(DisconnectReason.REFUSED, now, "a device's first packet must be HELLO")
            return
        else:
            events.append(greeting)
            self.max_payload = greeting.takes.max_payload
            if self.max_payload < v2.MAX_VALUE:
                self.wire = f"v2 {self.max_payload}"
        self._enter(_OPEN, now)  # packets may follow behind it; `refuse` takes it back


def _problem_frame(code: ErrorCode, info: dict[str, object] | None) -> bytes:
    return encode_frame(BINARY, v2.encode_problem(code, info))


def read_hello(fields: dict[str, object], size: int = 0, options: Options = DEFAULT_OPTIONS) -> Greeting:
    """Read what a HELLO says.

    Args:
        fields: its fields.
        size: of the whole packet, in bytes.
        options: the limits of an introduction apply.

    Raises:
        HandshakeError: with the code of the first check that fails, in the order of v1.
        InvalidPacket: what v1 does not have is not as it should be.
    """
    client_id, client_type = fields.get("id"), fields.get("type")
    if not isinstance(client_id, str) or not client_id:
        raise HandshakeError(ErrorCode.CLIENT_NO_ID)
    if not isinstance(client_type, str):
        raise HandshakeError(ErrorCode.CLIENT_NO_TYPE)
    client_id, client_type = v2.check_text(client_id), v2.check_text(client_type)
    data = fields.get("data", {})
    data_size = strict_json.size_of(data) if size > options.max_data else 0  # what is in a small packet is small
    check_limits(client_id, client_type, data_size, options)
    state = parse_report(fields["state"], None) if "state" in fields and fields["state"] is not None else None
    hello = Hello(client_id, client_type, data, fields.get("endpoints", []), 2, state)
    library = fields.get("library", "")
    return Greeting(
        hello,
        v2.check_text(library[: v2.MAX_NAME]) if isinstance(library, str) else "",
        v2.read_stream(fields.get("sends")),
        v2.read_heard(fields.get("heard")),
        v2.Takes(
            min(read_limit(fields, "max_payload"), v2.MAX_VALUE),
            min(read_limit(fields, "max_unacknowledged"), MAX_UNACKNOWLEDGED),
        ),
    )


@lru_cache(maxsize=64, typed=True)  # one for the manager, and one for each device type with timings of its own
def _limits(ping_interval: float, ping_timeout: float, max_event: int, max_payload: int) -> bytes:
    """Encode the limits in WELCOME, as JSON without its braces."""
    fields = {
        "ping_interval": _plain(ping_interval),
        "ping_timeout": _plain(ping_timeout),
        "max_event": max_event,
        "max_payload": max_payload,
        "max_unacknowledged": MAX_UNACKNOWLEDGED,
    }
    return strict_json.dumps(fields)[1:-1].encode()


def _plain(seconds: float) -> float:
    """Return whole seconds as an integer: small readers of JSON have no other numbers."""
    return int(seconds) if seconds == int(seconds) else seconds


def read_limit(fields: dict[str, object], name: str) -> int:
    """Read how much the other side takes, `MAX_NUMBER` if it does not say. Raises InvalidPacket."""
    limit = fields.get(name)
    if limit is None:
        return v2.MAX_NUMBER
    if type(limit) is not int or not 1 <= limit <= v2.MAX_NUMBER:
        raise InvalidPacket(f"{name!r} must be a whole number from 1 to {v2.MAX_NUMBER}")
    return limit
