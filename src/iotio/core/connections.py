"""All sockets of a server, in whatever state, and the phase of its shutdown.

Here connections that were taken over are evicted, refusals are counted, and the CLOSE frames of devices that fight over
one id are held back. Which of two connections has the id, `Registry.swap` decides.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from enum import Enum

from iotio_protocol.errors import ErrorCode
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger
from iotio_protocol.options import Options
from iotio_protocol.reasons import DisconnectReason

from .connection import Connection
from .handles import IoTClient, current_client
from .limits import Admission
from .pending import PendingSockets
from .ports import Link
from .primitives import Signal, allocate_lock, wait

__all__ = ["Connections", "Phase", "Takeovers"]

logger = get_logger("iotio.manager")

_TAKEOVERS = 5  # of one id in `_FIGHT` seconds: a device that comes back now and then has fewer
_FIGHT = 10.0  # seconds
_MAX_IDS = 1000  # ids whose takeovers are remembered
_SWEEP_TURN = 0.005  # seconds
_SWEEP_PIECE = 256  # connections between two looks at the clock
_MAX_HELD_BACK = 1000  # refused or evicted devices at a time; each holds a socket, on some hosts a thread


class Phase(Enum):
    """How far the shutdown of a server is.

    SERVING -> CLOSING -> SERVING: a host shuts down, and the server may go on by another one.
    SERVING or CLOSING -> HELD -> CLOSED: the program closes the manager, for good.
    """

    SERVING = "serving"
    CLOSING = "closing"  # a device that comes is told at once that the server goes down
    HELD = "held"  # a device that comes is told at the end: it would come back before the program has gone
    CLOSED = "closed"  # a device that comes is told at once


# To look up a member of an Enum takes its time.
_SERVING, _CLOSING = Phase.SERVING, Phase.CLOSING


class Connections:
    """The connections of one server. Every method may be called from any thread.

    Attributes:
        admission: counts the connections that are in, against the limits.
        pending: the places of sockets that have not said who they are.
        has_served: whether there has been any.

    Args:
        options: limits and timings.
        clock: monotonic seconds.
        throttle: bounds the log lines that peers can cause.
    """

    def __init__(self, options: Options, clock: Callable[[], float], throttle: LogThrottle) -> None:
        self.admission = Admission(options, clock)
        self.pending = PendingSockets(options.max_pending, clock)
        self.has_served = False
        self._options = options
        self._throttle = throttle
        self._takeovers = Takeovers(clock, options.refusal_delay)
        self._lock = allocate_lock()  # for what follows
        self._all: set[Connection] = set()
        self._unswept: list[Connection] = []  # that the sweep has not come to
        self._totals: Counter[str] = Counter()  # of connections that have ended
        self._refusals: Counter[str] = Counter()  # by error code
        self._held_back = 0  # refused and evicted connections that wait for their CLOSE frame
        self._closed: Phase | None = None  # HELD or CLOSED, once the program has closed the manager
        self._shutdowns = 0  # hosts that shut down

    # -- for hosts -------------------------------------------------------------------------------------

    def attach(self, connection: Connection) -> None:
        """Add a new socket, for `sweep` and the shutdown."""
        with self._lock:
            self.has_served = True
            self._all.add(connection)

    def detach(self, connection: Connection) -> None:
        """Remove a socket that its host is done with."""
        self.pending.leave(connection)
        with self._lock:
            if connection in self._all:
                self._all.remove(connection)
                for name, count in connection.counters.items():
                    self._totals[name] += count
                self._held_back -= connection.held_back
                if connection.admitted:
                    self.admission.leave(connection.peer)

    def all(self) -> list[Connection]:
        """Return all sockets that hosts serve, whatever their state; a copy."""
        with self._lock:
            return list(self._all)

    @property
    def next_due(self) -> float:
        """When `sweep` has something to do; infinity for never. It looks at all sockets."""
        return min((connection.session.deadline for connection in self.all()), default=float("inf"))

    def sweep(self, now: float) -> bool:
        """Let the connections do what is due, for a few milliseconds at most: a loop that sweeps has other work, too.

        Returns:
            Whether there are more: the next call goes on with them.
        """
        until = time.monotonic() + _SWEEP_TURN
        with self._lock:
            if not self._unswept:
                self._unswept = list(self._all)
        while True:
            with self._lock:
                some = self._unswept[-_SWEEP_PIECE:]
                del self._unswept[-_SWEEP_PIECE:]
            for connection in some:
                try:
                    if connection.session.deadline <= now:
                        connection.tick(now)
                except Exception:  # one broken socket must not stop the clock for all
                    logger.exception("what is due for device %r could not be done", connection.name)
            if not self._unswept:
                return False
            if time.monotonic() >= until:
                return True

    # -- figures ---------------------------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """Events received and sent, invalid packets, events without a handler, drops: all devices since the start."""
        with self._lock:
            totals = self._totals.copy()
            for connection in self._all:
                totals.update(connection.counters)
        return dict(totals)

    @property
    def refusals(self) -> dict[str, int]:
        """How many devices were refused since the start, by error code; a copy."""
        with self._lock:
            return dict(self._refusals)

    # -- refusals and takeovers ------------------------------------------------------------------------

    def count_refusal(self, code: ErrorCode) -> None:
        """Count a device that is refused."""
        with self._lock:
            self._refusals[code.value] += 1

    def hold_back(self, connection: Link) -> bool:
        """Have the CLOSE frame of a connection wait for `refusal_delay`, unless too many wait already."""
        with self._lock:
            if not connection.held_back and self._held_back < _MAX_HELD_BACK and connection in self._all:
                connection.held_back = True
                self._held_back += 1
            return connection.held_back

    def evict(self, client: IoTClient) -> None:
        """Dismiss a client whose id another connection has now; see `Connection.dismiss`.

        Two devices of one id would evict each other for ever, as fast as they connect: the CLOSE frame of the one that
        is evicted is then held back. It is out of reach at once, and `on_disconnect` does not wait.
        """
        fought, begins = self._takeovers.count(client.id)
        if fought:
            self.hold_back(client.socket)
        if begins:
            self._throttle.warning(
                "takeover",
                "several devices of type %r have the id %r and throw each other out; each is held back for %g s now."
                " Give every device an id of its own",
                client.type,
                client.id,
                self._options.refusal_delay,
            )
        client.socket.dismiss(DisconnectReason.TAKEOVER)

    # -- shutdown --------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far the shutdown is."""
        return self._closed or (_CLOSING if self._shutdowns else _SERVING)

    def begin_shutdown(self) -> None:
        """Turn devices away that come from now on: a host shuts down. `end_shutdown` must follow."""
        with self._lock:
            self._shutdowns += 1

    def end_shutdown(self) -> None:
        """Let devices in again, unless another host shuts down or the program has closed the manager."""
        with self._lock:
            self._shutdowns -= 1

    def begin_close(self, timeout: float, wait: Callable[[Signal, float], bool] = wait) -> None:
        """Close all connections for good, and hold those that come.

        Args:
            timeout: seconds to wait for devices to answer and for handlers to end.
            wait: how to wait in this thread.
        """
        self._closed = Phase.HELD
        deadline = time.monotonic() + timeout
        connections = self._say_goodbye()
        caller = current_client.get(None)
        for connection in connections:
            if caller is not None and connection is caller.socket:
                continue  # this is its handler: it cannot end before we return
            wait(connection.teardown_done, max(0.0, deadline - time.monotonic()))

    def finish_close(self) -> None:
        """Send CLOSE 1001 to the devices that have come since `begin_close`, and to those that will."""
        self._closed = Phase.CLOSED
        self._say_goodbye()

    def _say_goodbye(self) -> list[Connection]:
        connections = self.all()
        for connection in connections:
            connection.close(DisconnectReason.SERVER_SHUTDOWN)
        return connections


class Takeovers:
    """A detector of ids that two devices fight over: each evicts the other, which comes back at once.

    A fight begins with one takeover too many in ten seconds. It is over when there was none for that time, and for as
    long as the evicted are held back.

    Args:
        clock: monotonic seconds.
        hold: seconds that an evicted device is held back.
    """

    def __init__(self, clock: Callable[[], float], hold: float) -> None:
        self._clock = clock
        self._quiet = _FIGHT + hold
        self._lock = allocate_lock()
        # For each id: the times of its last takeovers, and whether two devices fight over it. The latest id is last.
        self._recent: dict[str, tuple[tuple[float, ...], bool]] = {}

    def count(self, client_id: str) -> tuple[bool, bool]:
        """Count a takeover. Returns whether it is part of a fight, and whether the fight begins with it."""
        now = self._clock()
        with self._lock:
            times, fought = self._recent.pop(client_id, ((), False))
            if times and now - times[-1] > self._quiet:
                times, fought = (), False
            begins = not fought and len(times) == _TAKEOVERS and now - times[0] <= _FIGHT
            self._recent[client_id] = ((*times, now)[-_TAKEOVERS:], fought or begins)
            if len(self._recent) > _MAX_IDS:
                del self._recent[next(iter(self._recent))]
        return fought or begins, begins
