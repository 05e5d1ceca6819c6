"""What the history of an endpoint answers; `iotio.history` finds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Literal, NamedTuple

__all__ = ["Bucket", "Every", "HistoryRequest", "Series", "Span"]

Every = Literal["15m", "1h", "1d", "1mo"]
"""Calendar buckets: a quarter of an hour, an hour, a day, a month."""


class HistoryRequest(NamedTuple):
    """What a program asks of the history, as `DeviceHandle.history` takes it; not checked yet."""

    device_id: str
    endpoint: str
    start: datetime | None
    end: datetime | None
    points: int | None
    every: Every | None
    tz: str | tzinfo | None
    unit: str | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """The readings of a number in a time.

    Attributes:
        start: when the time begins.
        stop: when it ends; a reading of that moment is in the next bucket.
        n: how many readings, at least one.
        min: the smallest.
        max: the largest.
        mean: their mean.
        last: the last one by time.
        increase: by how much a meter has grown since the reading before this time; None if it is no meter.
    """

    start: datetime
    stop: datetime
    n: int
    min: float
    max: float
    mean: float
    last: float
    increase: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which a state stayed what it was.

    Attributes:
        start: when it became so, or the beginning of the time that was asked for.
        stop: when it became something else, or the end of the time that was asked for.
        value: what it was.
    """

    start: datetime
    stop: datetime
    value: Any


@dataclass(frozen=True, slots=True)
class Series:
    """The history of an endpoint in a time: iterate over it for its buckets, or its spans.

    Attributes:
        endpoint: the id of the endpoint.
        unit: of the values, or None.
        resolution: seconds that a bucket has at most, 0 if each is one reading; None for spans, or without a history.
        buckets: what a number was, in order; a bucket without readings is left out.
        spans: what a state was, in order; what it was before the first of its changes is not known.
    """

    endpoint: str
    unit: str | None = None
    resolution: float | None = None
    buckets: tuple[Bucket, ...] = ()
    spans: tuple[Span, ...] = ()

    def __iter__(self) -> Iterator[Bucket] | Iterator[Span]:
        return iter(self.buckets) if self.buckets else iter(self.spans)

    def __len__(self) -> int:
        return len(self.buckets) or len(self.spans)
