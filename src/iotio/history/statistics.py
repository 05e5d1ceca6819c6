"""What is known of several readings of a number, without the readings."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["NOISE", "QUARTER", "Statistics", "finite", "merge", "quarter_of", "statistics_of", "step"]

QUARTER = 900_000  # ms of the quarter of an hour for which statistics are kept
NOISE = 0.05  # the part of a meter's value by which it may fall without having been set to 0
_LARGEST = sys.float_info.max


class Statistics(NamedTuple):
    """Statistics of readings, at least one.

    Attributes:
        n: how many.
        low: the smallest value.
        high: the largest.
        total: their sum.
        first: the first by time.
        last: the last by time.
        increase: by how much a meter has grown from the first to the last.
    """

    n: int
    low: float
    high: float
    total: float
    first: float
    last: float
    increase: float


def quarter_of(time: int) -> int:
    """Return when the quarter of an hour began that a time is in; both in ms since 1970."""
    return time - time % QUARTER


def step(before: float, after: float) -> float:
    """Return by how much a meter has grown between two readings.

    A fall by less than 5 % is noise and counts 0. A larger one is a restart from 0: all that it shows is new.
    """
    if after >= before:
        return finite(after - before)
    if before - after < NOISE * before:
        return 0.0
    return max(after, 0.0)


def statistics_of(values: Sequence[float], *, meter: bool = True) -> Statistics:
    """Make the statistics of values in the order of their times, at least one; `increase` only of a meter."""
    increase = 0.0
    before = values[0]
    for value in values if meter else ():
        if value != before:
            increase += step(before, value)
            before = value
    return Statistics(
        len(values), min(values), max(values), finite(sum(values)), values[0], values[-1], finite(increase)
    )


def merge(before: Statistics, after: Statistics) -> Statistics:
    """Make the statistics of readings and of others that came behind them."""
    return Statistics(
        before.n + after.n,
        min(before.low, after.low),
        max(before.high, after.high),
        finite(before.total + after.total),
        before.first,
        after.last,
        finite(before.increase + step(before.last, after.first) + after.increase),
    )


def finite(number: float) -> float:
    """Return a number that a database can hold: SQLite takes "not a number" for NULL."""
    return max(-_LARGEST, min(_LARGEST, number)) if number == number else 0.0
