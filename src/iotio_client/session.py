"""The device's side of the protocol, without I/O: the life of its connections.

Time is an argument, and the randomness of the waits comes with the `Backoff`. Nothing in here or in the parts locks but
the buffer. The driver, which uses this, calls from one thread, but for `codec.encode` and `durable.keep`; it locks
around changes of the state and the methods of `calls`, and one thread at a time is in `durable.next`.
"""

from __future__ import annotations

from iotio_protocol import v2
from iotio_protocol.options import DEFAULT_OPTIONS, Options

from .backoff import Backoff
from .buffer import Buffer
from .calls import DeviceCalls
from .codec import Codec
from .durable import DurableMessages
from .errors import ClientError, ConnectionBroken, VersionNotSpoken
from .identity import Identity
from .link import Link, State
from .liveness import Liveness
from .opening import NO_WELCOME, Welcome, hello
from .packets import DefaultPacketEncoder, PacketEncoder
from .received import ServerError
from .reports import Reports

__all__ = ["Session", "State"]

_CLOCK_TOLERANCE = 1000  # milliseconds that the network may account for
_NORMAL, _POLICY = 1000, 1008  # RFC 6455, 7.4.1


class Session:
    """Decide what one device does on all its connections, one after the other.

    A connection begins like this: `connecting`, the upgrade, `agreed`; then `welcome` for the first
    message if `unwelcomed`; then `opened`. It ends with `farewell` if this side closes, and with `wait` or `ended`.

    Args:
        identity: who the device is.
        protocol_version: None: 2, or 1 if the server does not know 2; 2, 1, or 0 for servers up to iot.io 0.3.1.
        encoder: packets of v1, if they are not the usual ones; None as protocol_version then means 1.
        options: `max_event`, `max_payload`, `ping_interval` and `ping_timeout` apply.
        backoff: the waits between connections.
        buffer: keeps durable messages; None: one in memory.
        takes: how much the device takes; None: it does not say.

    Attributes:
        identity: as above.
        codec: reads and makes packets.
        durable: the durable messages of both directions.
        calls: the calls of this device that have no answer yet.
        reports: what the device has said last of its endpoints.
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
        takes: v2.Takes | None = None,
    ) -> None:
        if protocol_version not in (None, 0, 1, 2):
            raise ValueError(f"protocol_version must be None, 0, 1 or 2, not {protocol_version!r}")
        if encoder is not DefaultPacketEncoder:
            if protocol_version == 2:
                raise ValueError("an encoder makes packets of protocol 1: leave out encoder or protocol_version=2")
            protocol_version = 1 if protocol_version is None else protocol_version
        self.identity = identity
        self.failures = 0
        self._link = Link(protocol_version)
        self.codec = Codec(self._link, identity, encoder, options)
        self.durable = DurableMessages(self._link, self.codec, Buffer() if buffer is None else buffer)
        self.calls = DeviceCalls(self._link, self.codec)
        self.reports = Reports(identity)
        self._backoff = backoff or Backoff()
        self._options = options
        self._takes = takes
        self._opened_at = 0.0
        self._gives_up = False  # this side ends the connection, and means to come back at once
        self._sleep: int | None = None  # seconds, to be said at the end of this connection
        self._welcomed_at: float | None = None  # when `server.time` was right

    @property
    def state(self) -> State:
        """Whether there is a connection."""
        return self._link.state

    @property
    def version(self) -> int:
        """The version that the connection speaks."""
        return self._link.version

    @property
    def buffer(self) -> Buffer:
        """The buffer of durable messages."""
        return self.durable.buffer

    # The beginning of a connection.

    @property
    def subprotocols(self) -> list[str]:
        """What to ask for in the upgrade request."""
        return [v2.SUBPROTOCOL] if self._link.wanted in (None, 2) else []

    @property
    def fell_back(self) -> bool:
        """Whether the connection speaks v1 although v2 was asked for."""
        return self._link.wanted is None and self.version == 1

    def begin(self) -> None:
        """Count as not ended, as a run is about to begin."""
        if self.state is State.ENDED:
            self._link.move(State.IDLE)

    def connecting(self) -> list[tuple[str, str]]:
        """Begin an attempt.

        Returns:
            The headers for the upgrade request.

        Raises:
            ClientError: the device is connected, or about to be.
            EncodeError: the device cannot say who it is; the state stays as it was.
        """
        if not self._link.may(State.CONNECTING):
            raise ClientError("this client is connected, or connecting, already")
        self.reports.forget_said()
        # What cannot be said is found out before the server is bothered.
        if self._link.wanted == 0:
            self.identity.text_handshake()
        elif self._link.wanted == 2:
            self._hello()
        headers = self.identity.headers() if self._link.wanted in (None, 1) else []
        self._link.move(State.CONNECTING)
        self._sleep = self._welcomed_at = None
        self._gives_up = False
        self.codec.begin()
        self._link.server = NO_WELCOME
        return headers

    def agreed(self, subprotocol: str | None) -> bytes | str | None:
        """Begin to speak, as the upgrade succeeded.

        Args:
            subprotocol: the one in the server's answer.

        Returns:
            The message to send right now; None: there is none.

        Raises:
            VersionNotSpoken: the server does not speak what `protocol_version` insists on.
        """
        if self._link.wanted == 2 and subprotocol != v2.SUBPROTOCOL:
            raise VersionNotSpoken(
                "the server does not speak protocol 2, which protocol_version=2 insists on: install iotio 0.5 or newer"
                " on the server, or leave protocol_version out here; a proxy on the way must pass on the header"
                " Sec-WebSocket-Protocol"
            )
        if self._link.wanted in (None, 2):
            self._link.version = 2 if subprotocol == v2.SUBPROTOCOL else 1
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
        first = self.codec.welcome(message)
        if isinstance(first, ServerError):
            return first
        self._welcomed(first, now, wall)
        return None

    def opened(self, now: float) -> None:
        """Count the device as connected: the server knows who it is.

        Args:
            now: seconds on a monotonic clock.
        """
        self._link.move(State.OPEN)
        self._opened_at = now

    def liveness(self, now: float) -> Liveness:
        """Begin to watch a connection that is open for signs of life of the server.

        Args:
            now: seconds on a monotonic clock.
        """
        return Liveness(self._options, self._link.server, now)

    # The end of a connection.

    def wait(self, now: float, backoff: Backoff | None = None, *, longest: bool = False) -> float:
        """Count an attempt that failed or a connection that ended, when another attempt shall follow.

        Args:
            now: seconds on a monotonic clock.
            backoff: in the place of the session's own.
            longest: as long as after many failures, as somebody has to change something first.

        Returns:
            Seconds until `connecting` shall be called.
        """
        backoff = backoff or self._backoff
        if self.state is State.OPEN and now - self._opened_at >= backoff.stable:
            self.failures = 0
        self._link.move(State.WAITING)
        self.failures += 1
        return backoff.longest() if longest else backoff.delay(self.failures)

    def sleep(self, seconds: int) -> None:
        """Let the farewell of this connection say that the device means to be back in so many seconds."""
        self._sleep = seconds

    def farewell(self) -> bytes | None:
        """Return what to send before the CLOSE frame: SLEEP or GOODBYE of a v2 device; None for nothing."""
        if self.version != 2 or self.state is not State.OPEN or self._gives_up:
            return None
        if self._sleep is not None:
            return v2.encode_sleep(self._sleep)
        return v2.encode_json(v2.GOODBYE, {"reason": "stopped"})

    @property
    def close_code(self) -> int:
        """The code of the CLOSE frame by which this side ends the connection."""
        return _POLICY if self._gives_up else _NORMAL

    def give_up(self, why: str) -> ConnectionBroken:
        """End the connection without a farewell, so that the next one brings a message again.

        Returns:
            The error to raise.
        """
        self._gives_up = True
        return ConnectionBroken(why)

    def ended(self) -> None:
        """End for good: no attempt follows by itself. Harmless when called twice."""
        if self.state is not State.IDLE:
            self._link.move(State.ENDED)
        self.failures = 0

    def server_time(self, now: float) -> float | None:
        """Return the server's clock in seconds since 1970 (UTC); None if it has not told.

        Args:
            now: seconds on the monotonic clock of `welcome`.
        """
        if self._welcomed_at is None or self._link.server.time is None:
            return None
        return self._link.server.time / 1000 + (now - self._welcomed_at)

    def _hello(self) -> bytes:
        buffer = self.buffer
        state = self.reports.for_hello()
        return hello(self.identity, sends=buffer.outgoing.name, heard=buffer.incoming, takes=self._takes, state=state)

    def _welcomed(self, welcome: Welcome, now: float, wall: float | None) -> None:
        self._link.server = welcome
        self._welcomed_at = now
        offset = 0 if wall is None or welcome.time is None else welcome.time - round(wall * 1000)
        self._link.clock_offset = offset if abs(offset) >= _CLOCK_TOLERANCE else 0
