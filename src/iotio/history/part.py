"""The history as a manager has it: what takes readings, and what answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from functools import partial

from iotio.core.primitives import Signal
from iotio.core.readings import HistoryRequest, Series
from iotio.core.storage.contract import Snapshot, Store, StoreError
from iotio.core.storage.writer import StoreWriter
from iotio.core.waiting import wait_on_loop

from .calendar import MAX_BUCKETS, zone_of
from .pool import Job, QueryPool
from .query import Question, answer
from .recorder import Recorder
from .settings import History

__all__ = ["HistoryPart"]

_DAY = timedelta(days=1)


class HistoryPart:
    """Takes readings and answers. Every method may be called from any thread.

    Args:
        settings: how long readings are kept.
        store: where they are; open.
        writer: of the store, if it is that of the devices; None has one made for the history alone.
        wait: how to wait where it is called.
        wall: the date, in seconds since 1970.

    Raises:
        StoreError: the store keeps no history, or it cannot be read.

    Attributes:
        sink: takes the readings.
    """

    def __init__(
        self,
        settings: History,
        store: Store,
        writer: StoreWriter | None,
        *,
        wait: Callable[[Signal, float | None], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        storage = store.history()
        if storage is None:
            raise StoreError(f"{type(store).__name__} keeps no history: write history=False, or another store")
        self.sink = Recorder(storage, settings, wall=wall)
        self._wait = wait
        self._wall = wall
        self._pool = QueryPool()
        self._own = StoreWriter(store, Snapshot) if writer is None else None
        writer = writer or self._own
        assert writer is not None
        self.sink.wake = writer.wake
        writer.add_section(self.sink)

    def history(self, request: HistoryRequest) -> Series:
        """Answer, and wait for it in this thread; see `DeviceHandle.history`."""
        job = self._ask(request)
        self._wait(job.done, None)
        return job.result()

    async def ahistory(self, request: HistoryRequest) -> Series:
        """Answer in a coroutine; see `DeviceHandle.history`."""
        job = self._ask(request)
        await wait_on_loop(job.done, None)
        return job.result()

    def close(self, *, wait: Callable[[Signal, float], bool]) -> None:
        """Write what waits, if the history has a store of its own, and close that."""
        if self._own is not None:
            self._own.close(wait=wait)

    def _ask(self, request: HistoryRequest) -> Job[Series]:
        device_id, endpoint, start, end, points, every, tz, unit = request
        if points is not None and not (type(points) is int and 1 <= points <= MAX_BUCKETS):
            raise ValueError(f"points is a number from 1 to {MAX_BUCKETS}, or None for each reading, not {points!r}")
        zone = zone_of(tz)
        end = datetime.fromtimestamp(self._wall(), zone) if end is None else _in_zone(end, zone, "end")
        start = end - _DAY if start is None else _in_zone(start, zone, "start")
        question = Question(
            device_id, endpoint, _ms(start), _ms(end), None if every is not None else points, every, zone, unit
        )
        if question.start >= question.stop:
            raise ValueError(f"start is before end, which {start} is not before {end}")
        if question.every is not None or question.points is not None:
            question.edges()  # what is wrong with it is raised here
        return self._pool.submit(partial(answer, self.sink, question))


def _in_zone(moment: object, zone: tzinfo, name: str) -> datetime:
    if not isinstance(moment, datetime):
        raise TypeError(f"{name} is a datetime, not {type(moment).__name__}")
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
