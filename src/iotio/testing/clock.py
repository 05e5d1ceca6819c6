"""The time of a manager that is tested."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, inf

__all__ = ["VirtualClock"]


class VirtualClock:
    """Seconds that pass when a test says so.

    It is the manager's clock while that has test clients. Afterwards it runs on from where it was: time never goes
    back.

    Args:
        base: monotonic seconds, which count as long as the clock is not stopped.
    """

    def __init__(self, base: Callable[[], float]) -> None:
        self._base = base
        self._ahead = 0.0
        self._now: float | None = None
        self._pass_time: Callable[[float], None] | None = None

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self._base() + self._ahead if self._now is None else self._now

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass. All that is due in them is done, each thing in its moment.

        What is `every` is called, devices get pings and answer them, presence changes, durable messages expire. What a
        handler or a callback has raised meanwhile is raised here, at the end.

        Args:
            seconds: 0 or more; 0 does what is due now.

        Raises:
            ValueError: not such a number.
            RuntimeError: the test clients are closed.
        """
        if not 0 <= seconds < inf:
            raise ValueError(f"advance() takes the seconds that pass, a number from 0 on, not {seconds!r}")
        if self._pass_time is None:
            raise RuntimeError("this clock runs by itself, as the manager has no test clients any more")
        self._pass_time(seconds)

    def stop(self, pass_time: Callable[[float], None]) -> None:
        """Stand still, at a whole second, so that the sums of a test are exact.

        Args:
            pass_time: does what `advance` promises, by means of `set`.
        """
        self._now = float(ceil(self()))
        self._pass_time = pass_time

    def set(self, now: float) -> None:
        """Stand at another time."""
        self._now = now

    def run_on(self) -> None:
        """Run by itself again."""
        self._ahead = self() - self._base()
        self._now = self._pass_time = None
