"""Compute how long a device waits before it connects again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import random as _random

__all__ = ["Backoff"]

_MAX_DOUBLINGS = 30  # 1 s doubled 30 times is 34 years; keeps the power finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Draw the waits: exponential backoff with full jitter, each between 0 and a ceiling that doubles.

    Full jitter, because after a server restart all devices of a house, or of a country, come back at once.

    Attributes:
        base: first ceiling, seconds.
        cap: largest ceiling, seconds.
        stable: a connection that lived for so many seconds was a good one: the next wait starts at `base`
            again. A server that takes a device and drops it at once is left alone more and more.
        random: draws a number from 0 up to 1.
    """

    base: float = 1.0
    cap: float = 60.0
    stable: float = 10.0
    random: Callable[[], float] = _random

    def __post_init__(self) -> None:
        for name in ("base", "cap", "stable"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"Backoff.{name} must be a finite number of seconds above 0, not {value!r}")

    def ceiling(self, failures: int) -> float:
        """Return the longest wait after so many failures in a row (at least 1), in seconds."""
        doublings = min(max(failures - 1, 0), _MAX_DOUBLINGS)
        return min(self.cap, self.base * 2.0**doublings)

    def delay(self, failures: int) -> float:
        """Draw the wait after so many failures in a row, in seconds."""
        return self.random() * self.ceiling(failures)

    def longest(self) -> float:
        """Draw a wait of half of `cap` to all of it, in seconds: somebody has to change something meanwhile."""
        return self.cap * (1 + self.random()) / 2
