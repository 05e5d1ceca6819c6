"""The facts about a device's connection that all parts of its session read; the session alone changes them."""

from __future__ import annotations

from enum import Enum, auto

from iotio_protocol import v2

from .opening import NO_WELCOME

__all__ = ["Link", "State"]


class State(Enum):
    """Where a device stands.

    ::

        IDLE ──> CONNECTING ──> OPEN ──> WAITING ──> CONNECTING ...
                     │            │         │
                     ├─> WAITING  │         │
                     └────────────┴─────────┴──> ENDED ──> IDLE (run) or CONNECTING (connect), once more
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
    State.ENDED: frozenset({State.IDLE, State.CONNECTING, State.ENDED}),
}


class Link:
    """The state of the device's connection, and what both sides agreed on when it began.

    Args:
        wanted: the protocol version that the program insists on; None: 2, or 1 if the server does not know 2.

    Attributes:
        wanted: as above.
        version: the version that the connection speaks.
        state: whether there is a connection.
        server: what the server said in WELCOME.
        clock_offset: the server's clock less this device's, in milliseconds; 0 where they agree but for the network.
    """

    def __init__(self, wanted: int | None) -> None:
        self.wanted = wanted
        self.version = 2 if wanted is None else wanted
        self.state = State.IDLE
        self.server = NO_WELCOME
        self.clock_offset = 0

    def on_the_servers_clock(self, time: int) -> int:
        """Return a time of the device's clock as the server's clock had it, within what can travel."""
        return min(max(0, time + self.clock_offset), v2.MAX_TIME)

    def may(self, state: State) -> bool:
        """Return whether the state may change to `state`."""
        return state in _MOVES[self.state]

    def move(self, state: State) -> None:
        """Change the state.

        Raises:
            RuntimeError: the table of moves does not have this one.
        """
        if not self.may(state):
            raise RuntimeError(f"a client that is {self.state.name} cannot become {state.name}")
        self.state = state
