"""Notice a server that is gone without a word, by its silence."""

from __future__ import annotations

from math import inf

from iotio_protocol.options import DEFAULT_OPTIONS, Options, chosen

from .opening import Welcome

__all__ = ["Liveness"]


class Liveness:
    """Decide when a connection needs a ping, and when it has ended although nobody said so.

    Bytes that come are a sign of life, not messages alone: a large one over a slow line takes longer than any time-out,
    and the answer of a ping comes behind it. What the device itself sends is none.

    Times are those of one monotonic clock. `heard` may run in another thread than the rest.

    Args:
        options: of the client; an interval and a time-out that the program has chosen are kept.
        server: what the server said in WELCOME; of its own interval and time-out come those that nobody has chosen.
        now: when the connection was opened.

    Attributes:
        interval: seconds of silence after which a ping is sent; 0: never.
        timeout: seconds that the server then has.
    """

    def __init__(self, options: Options, server: Welcome, now: float) -> None:
        interval, timeout = chosen(options.ping_interval), chosen(options.ping_timeout)
        if interval is None:  # a server that sends no pings may be gone all the same
            interval = server.ping_interval or DEFAULT_OPTIONS.ping_interval
        self.interval = interval
        self.timeout = timeout or server.ping_timeout or DEFAULT_OPTIONS.ping_timeout
        self._last = now
        self._pinged: float | None = None
        self._sent = now

    def heard(self, now: float) -> None:
        """Note that something came."""
        self._last = now

    def left(self, now: float) -> float:
        """Return the seconds until something is due if nothing comes: a ping, or the end behind it."""
        if not self.interval:
            return inf
        due = self._last + self.interval
        if self._pinged is not None and not self._answered():
            due = self._sent + self.timeout
        return max(due - now, 0.0)

    def needs_ping(self, now: float) -> bool:
        """Return whether a ping is due; it counts as sent then."""
        if not self._answered() or self.left(now):
            return False
        self._pinged = self._sent = now  # before it is sent, so that no answer can be earlier
        return True

    def sent(self, now: float) -> None:
        """Note that the ping is on its way, which may have taken long: from now on the server has its time."""
        self._sent = now

    def is_gone(self, now: float) -> bool:
        """Return whether a ping has got no answer, and nothing else came in its place, for as long as that may take."""
        return not self._answered() and not self.left(now)

    def _answered(self) -> bool:
        return self._pinged is None or self._last >= self._pinged
