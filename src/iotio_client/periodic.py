"""Functions that are called every so many seconds while a client runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from iotio_protocol.options import MAX_SECONDS

__all__ = ["Periodic", "check_seconds"]


class Periodic:
    """One such function, and when its turns are.

    Args:
        function: takes no argument.
        seconds: between two turns.

    Attributes:
        function: as above.
        seconds: as above.
        turn: held while the function runs in a thread: that of the run before may not have returned.
    """

    def __init__(self, function: Callable[[], Any], seconds: float) -> None:
        self.function = function
        self.seconds = seconds
        self.turn = threading.Lock()

    @property
    def name(self) -> str:
        """What the log calls it."""
        return getattr(self.function, "__name__", repr(self.function))

    def following(self, due: float, now: float) -> float:
        """Return when the next turn is due. Of turns that were missed one is made up for.

        Args:
            due: when this one was.
            now: when it has ended.
        """
        return due + self.seconds * max((now - due) // self.seconds, 1)


def check_seconds(seconds: object) -> float:
    """Return the seconds between two turns.

    Raises:
        TypeError: not a number.
        ValueError: not above 0, or more than can be waited.
    """
    if callable(seconds):
        name = getattr(seconds, "__name__", repr(seconds))
        raise TypeError(f"write @client.every(2), with the seconds: every() got the function {name}")
    if not isinstance(seconds, int | float):
        raise TypeError(f"every() takes seconds, not {seconds!r}: write @client.every(2)")
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"every() takes seconds above 0 and at most {MAX_SECONDS:.0f}, not {seconds!r}")
    return float(seconds)
