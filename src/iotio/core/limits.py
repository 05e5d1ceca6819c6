"""How many devices may come, and how much each may send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from iotio_protocol.errors import ErrorCode, HandshakeError
from iotio_protocol.options import Options

from .pending import address_of
from .primitives import allocate_lock

__all__ = ["Admission", "Meter", "metered"]

_BURST = 10.0  # seconds: a device that was away sends what it has kept


class Bucket:
    """Tokens that come back with time, up to a limit.

    Args:
        rate: tokens a second; 0 for no limit.
        burst: seconds of tokens that can be saved up.
        now: monotonic seconds.
    """

    __slots__ = ("_rate", "_room", "_tokens", "_when")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._room = self._tokens = max(1.0, rate * burst)
        self._when = now

    def take(self, count: int, now: float) -> bool:
        """Take tokens. Returns False if there are not enough; then none is taken."""
        if not self._rate:
            return True
        self._tokens = min(self._room, self._tokens + (now - self._when) * self._rate)
        self._when = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True


class Meter:
    """The limits `max_messages_per_second` and `max_bytes_per_second` of one device."""

    __slots__ = ("_bytes", "_fragments", "_messages")

    def __init__(self, options: Options, now: float) -> None:
        self._messages = Bucket(options.max_messages_per_second, _BURST, now)
        self._bytes = Bucket(options.max_bytes_per_second, _BURST, now)
        self._fragments = 0

    def accepts(self, messages: int, fragments: int, size: int, now: float) -> bool:
        """Count what a read brought. Returns whether it is within the limits.

        Args:
            messages: whole messages and control frames.
            fragments: frames that do not end a message, since the connection began; each counts as a message.
            size: bytes.
            now: the time.
        """
        more, self._fragments = fragments - self._fragments, fragments
        return self._messages.take(messages + more, now) and self._bytes.take(size, now)


def metered(options: Options) -> bool:
    """Return whether options limit what a device sends."""
    return bool(options.max_messages_per_second or options.max_bytes_per_second)


class Admission:
    """Counts connections, in all and per address, and handshakes per second.

    Attributes:
        is_limited: whether there may only be so many connections.

    Args:
        options: the limits.
        clock: monotonic seconds.
    """

    def __init__(self, options: Options, clock: Callable[[], float]) -> None:
        self.is_limited = bool(options.max_connections or options.max_connections_per_address)
        self._options = options
        self._clock = clock
        self._lock = allocate_lock()
        self._total = 0
        self._addresses: Counter[str] = Counter()
        self._handshakes = Bucket(options.max_handshakes_per_second, 1.0, clock())

    def begin(self) -> None:
        """Count a handshake that begins.

        Raises:
            HandshakeError: `server_busy`; its info names the limit and how many that is.
        """
        with self._lock:
            if not self._handshakes.take(1, self._clock()):
                raise _busy("max_handshakes_per_second", self._options.max_handshakes_per_second)

    def enter(self, peer: str, *, returns: bool) -> None:
        """Let one more device in, which has said who it is. Call `leave` at its end.

        Args:
            peer: the other end's address, with its port.
            returns: whether it takes the place of another, which may be dead: there is no more room needed.

        Raises:
            HandshakeError: `server_busy`; its info names the limit and how many that is.
        """
        options = self._options
        with self._lock:
            if options.max_connections and not returns and self._total >= options.max_connections:
                raise _busy("max_connections", options.max_connections)
            most = options.max_connections_per_address
            if most:
                address = address_of(peer)
                if not returns and self._addresses[address] >= most:
                    raise _busy("max_connections_per_address", most)
                self._addresses[address] += 1
            self._total += 1

    def leave(self, peer: str) -> None:
        """Count a connection that was let in and has ended."""
        with self._lock:
            self._total -= 1
            if self._addresses and (address := address_of(peer)) in self._addresses:
                self._addresses[address] -= 1
                if not self._addresses[address]:
                    del self._addresses[address]


def _busy(limit: str, most: float) -> HandshakeError:
    return HandshakeError(ErrorCode.SERVER_BUSY, {"limit": limit, "most": most})
