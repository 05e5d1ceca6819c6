"""Take readings, and write them: to the tail once a second, to chunks every two minutes.

A reading goes to the buffer of its series and quarter, and to what waits for the next row of the tail. The store
writer asks for that once a second, and writes it in one commit with what else waits. Every second some of the series
have their turn: what is in their buffers becomes chunks. The row of the tail that is written with a chunk says so, and
at the next start what is in chunks is not read into buffers again. Rows of the tail are deleted behind a round.

Nothing is written before the first reading comes: the parent of Werkzeug's reloader has the store open, too, and must
not have written to it when its child takes it over.
"""

from __future__ import annotations

import logging
import math
import time
from array import array
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from iotio.core.primitives import Signal, allocate_lock, wait
from iotio.core.storage.contract import Change, Run, StoreUnavailable
from iotio_protocol.endpoints import Endpoint, EndpointType
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger
from iotio_protocol.values import Value

from .codec import DamagedBody, TailRow, decode_tail, encode_numbers, encode_states, encode_tail
from .counting import count_quarter, in_order, readings_of
from .retention import Retention
from .series import DURABLE, Buffer, OpenSeries, Waiting
from .settings import History
from .statistics import QUARTER, Statistics, merge, statistics_of
from .tables import Chunk, HistoryStorage, HistoryTables, Kind, Quarter, SeriesRecord

__all__ = ["MAX_OPEN_QUARTERS", "MAX_SERIES", "MAX_STATE", "MAX_WAITING", "ROW", "Recorder", "kind_of"]

logger = get_logger("iotio.history")

ROW = 50_000  # readings that are written at once, at most
MAX_WAITING = 1_000_000  # readings that wait for a store that cannot be written, about 20 MB
MAX_SERIES = 1000  # of one device: a unit that changes begins a new one
MAX_OPEN_QUARTERS = 2000  # quarters of one series of which readings are not in a chunk yet
MAX_STATE = 1000  # characters of a text that is recorded
_TURNS = 120  # a round of all series, in seconds
_CHUNK = 150  # readings of a chunk, at most: a reading a second makes 120 or 121 in a round
_FULL = 10 * _TURNS  # readings of a buffer that is sealed before its turn
_MOST_SEALS = 500  # buffers that are sealed before their turn in one commit
_SECOND = 1.0  # between two writes
_AHEAD = 86_400_000  # ms that the clock of a device may be ahead
_LOWEST = -62_000_000_000_000  # ms: the year 5
_LAST = 2**62
_LOADING = 600.0  # seconds
_NO_STATISTICS = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
_STATES = {EndpointType.BOOLEAN, EndpointType.ENUM, EndpointType.STRING}


def kind_of(endpoint: Endpoint) -> Kind:
    """Return what a series of an endpoint holds."""
    if endpoint.type in _STATES:
        return Kind.STATE
    return Kind.TOTAL if endpoint.total else Kind.NUMBER


@dataclass(slots=True)
class _Sealed:
    """A buffer that becomes chunks."""

    series: OpenSeries
    buffer: Buffer
    chunks: list[Chunk] = field(default_factory=list)


@dataclass(slots=True)
class _Write:
    """What one commit writes."""

    row: int
    tail: bytes | None
    waiting: Waiting | None
    new: list[OpenSeries]
    dropped: list[SeriesRecord]
    sealed: list[_Sealed]
    delete_tail: int
    retains: bool
    tops: dict[int, int] = field(default_factory=dict)
    gone: list[SeriesRecord] = field(default_factory=list)


class Recorder:
    """Takes the readings of all endpoints; see the module. It is a section of the store and a `ReadingSink`.

    Args:
        storage: the store's share in the history.
        settings: how long readings are kept, and how many of a second.
        clock: monotonic seconds.
        wall: the date, in seconds since 1970.

    Attributes:
        due: see `Section`.
        counters: readings that were `dropped` as the store was away, whose clock was `ahead`, that were `refused`
            since there is no room or no form for them.
        wake: has the store writer look at `due`.
        apart: seconds for which a durable message waits for the history, if that has a store of its own: 0 if the
            messages have none. None if both are in one store.
    """

    def __init__(
        self,
        storage: HistoryStorage,
        settings: History,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.storage = storage
        self.settings = settings
        self.wake: Callable[[], None] = lambda: None
        self.apart: float | None = None
        self.due = math.inf
        self.counters = {"dropped": 0, "ahead": 0, "refused": 0}
        self.throttle = LogThrottle(clock, allocate_lock())
        self._clock = clock
        self._wall = wall
        self._direct = settings.max_rate - 3  # of the readings of a second; three more may be held
        self._retention = Retention(settings, self.throttle)
        self._lock = allocate_lock()  # for what follows
        self._series: dict[int, OpenSeries] = {}
        self._current: dict[tuple[str, str], OpenSeries] = {}  # by device and endpoint
        self._of_device: dict[str, list[OpenSeries]] = {}
        self._next_series = 1
        self._new: list[OpenSeries] = []
        self._dropped: list[SeriesRecord] = []  # not written yet
        self._forgotten: dict[int, SeriesRecord] = {}  # not deleted yet
        self._turns: list[dict[int, OpenSeries]] = [{} for _ in range(_TURNS)]
        self._turn = 0
        self._next_turn = 0.0
        self._full: dict[tuple[int, int], OpenSeries] = {}  # by series and quarter
        self._holding: dict[int, OpenSeries] = {}
        self._held_before: list[OpenSeries] = []  # for a second: no more readings of it will come
        self._next_row = 1
        self._first_row = 0  # of the tail, that is not deleted
        self._unneeded = 0  # rows before this one are in chunks
        self._round_row = 0  # the next row when this round began
        self._carried_row = 0  # and the round before
        self._batch = Waiting(1)
        self._older: deque[Waiting] = deque()
        self._weight = 0
        self._written = 0  # the number of the last `Waiting` that is written
        self._waiters: list[tuple[int, Signal]] = []
        self._write: _Write | None = None
        self._unsaid: list[tuple[str, int, str, object]] = []
        self._load()

    # -- taking readings -------------------------------------------------------------------------------

    def record(self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]) -> None:
        """Record readings: each a time in ms since 1970 and a value that the endpoint has taken. Never blocks."""
        soon = self._clock() + _SECOND
        with self._lock:
            self._record(device_id, endpoint, readings)
            if self._older:
                soon -= _SECOND
            rings = self.due > soon
            if rings:
                self.due = soon
        if rings:
            self.wake()
        if self._unsaid:
            self._say()

    def record_durably(
        self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]
    ) -> Callable[[Any], object]:
        """Record readings of a durable message.

        Returns:
            What writes them, in the transaction that notes the message as handled.
        """
        return _Durable(self, device_id, endpoint, tuple(readings))

    def forget(self, device_id: str) -> None:
        """Drop all series of a device. They are deleted bit by bit."""
        with self._lock:
            if device_id not in self._of_device:
                return
            for series in self._of_device.pop(device_id):
                self._series.pop(series.record.id, None)
                self._current.pop((device_id, series.record.endpoint_id), None)
                self._turns[series.record.id % _TURNS].pop(series.record.id, None)
                self._holding.pop(series.record.id, None)
                for quarter in series.buffers:
                    self._full.pop((series.record.id, quarter), None)
                series.buffers = {}
                record = replace(series.record, dropped=True)
                self._dropped.append(record)
                self._forgotten[record.id] = record
            self.due = min(self.due, self._clock() + _SECOND)
        self.wake()

    def forget_others(self, known: Container[str]) -> None:
        """Drop the series of devices that are not known any more; at the start."""
        with self._lock:
            others = [device_id for device_id in self._of_device if device_id not in known]
        for device_id in others:
            self.forget(device_id)

    def _record(self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]) -> None:
        """Record readings; the lock is held."""
        series = self._series_of(device_id, endpoint)
        if series is None:
            self.counters["refused"] += len(readings)
            return
        now = round(self._wall() * 1000)
        is_state = series.record.kind is Kind.STATE
        for moment, given in readings:
            moment = self._checked_time(moment, now)
            value = _state(given) if is_state else _number(given)
            if value is None:
                self.counters["refused"] += 1
            elif is_state and self._is_known_state(series, moment, value):
                continue
            elif moment // 1000 != series.slot:
                if series.held:
                    self._let_go(series)
                series.slot = moment // 1000
                series.count = 1
                self._add(series, moment, value)
            elif series.count < self._direct:
                series.count += 1
                self._add(series, moment, value)
            else:
                series.hold(moment, value)
                self._holding[series.record.id] = series

    def _checked_time(self, moment: int, now: int) -> int:
        """Return the time of a reading: now, where the clock of its device cannot be right."""
        if _LOWEST < moment <= now + _AHEAD:
            return moment
        self.counters["ahead"] += 1
        return now

    def _is_known_state(self, series: OpenSeries, moment: int, value: Any) -> bool:
        """Note a state. Returns whether it is what the newest reading said."""
        if series.newest is not None and moment < series.newest:
            return False
        same = series.newest is not None and type(value) is type(series.last) and value == series.last
        if not same:
            series.newest, series.last = moment, value
        return same

    def _add(self, series: OpenSeries, moment: int, value: Any) -> None:
        """Add a reading to its buffer, and to what waits. The lock is held."""
        buffer = self._buffer(series, moment)
        if buffer is None:
            self.counters["refused"] += 1
            return
        batch = self._batch
        marks = buffer.marks
        if not marks or marks[-1][0] != batch.number:
            buffer.mark(batch.number, self._written)
        buffer.times.append(moment)
        buffer.values.append(value)
        if type(value) is float:
            batch.series.append(series.record.id)
            batch.times.append(moment)
            batch.values.append(value)
            weight = 1
        else:
            batch.states.append((series.record.id, moment, value))
            weight = 2 + len(value) // 20 if isinstance(value, str) else 2
        batch.weight += weight
        self._weight += weight
        if len(buffer.times) >= _FULL:
            self._full[series.record.id, buffer.quarter] = series
        if batch.weight >= ROW:
            self._older.append(batch)
            self._batch = Waiting(self._take_row())
            if self._weight > MAX_WAITING:
                self._drop_oldest()

    def _buffer(self, series: OpenSeries, moment: int) -> Buffer | None:
        """Return the buffer for a time; None if there are too many. The lock is held."""
        quarter = moment - moment % QUARTER
        buffer = series.buffers.get(quarter)
        if buffer is None:
            if len(series.buffers) >= MAX_OPEN_QUARTERS:
                return None
            buffer = series.buffers[quarter] = Buffer(quarter, series.record.kind, self._batch.number)
            self._turns[series.record.id % _TURNS][series.record.id] = series
        return buffer

    def _let_go(self, series: OpenSeries) -> None:
        """Add the readings that are held. The lock is held."""
        held, series.held = series.held, []
        self._holding.pop(series.record.id, None)
        for moment, value in held:
            self._add(series, moment, value)

    def _drop_oldest(self) -> None:
        """Give up the oldest readings that wait: the store is away. The lock is held."""
        batch = self._older.popleft()
        self._weight -= batch.weight
        touched = {*batch.series, *(series for series, _, _ in batch.states)}
        for series_id in touched:
            series = self._series.get(series_id)
            for buffer in series.buffers.values() if series is not None else ():
                buffer.drop(batch.number)
        count = len(batch.times) + len(batch.states)
        self.counters["dropped"] += count
        text = "%d readings are dropped, the oldest that wait: the store cannot be written, and no more may wait"
        self._unsaid.append(("dropped", logging.ERROR, text, count))

    def _series_of(self, device_id: str, endpoint: Endpoint) -> OpenSeries | None:
        """Find the series of an endpoint, or begin it; None if its device has too many. The lock is held."""
        series = self._current.get((device_id, endpoint.id))
        unit = endpoint.unit
        kind = kind_of(endpoint)
        if series is not None and series.record.unit == unit and series.record.kind is kind:
            return series
        of_device = self._of_device.setdefault(device_id, [])
        for series in of_device:
            record = series.record
            if record.endpoint_id == endpoint.id and record.unit == unit and record.kind is kind:
                self._current[device_id, endpoint.id] = series
                return series
        if len(of_device) >= MAX_SERIES:
            text = (
                "device %r has as many series of readings as may be, one for each endpoint and unit: see docs/limits.md"
            )
            self._unsaid.append(("series", logging.WARNING, text, device_id))
            return None
        series = OpenSeries(
            SeriesRecord(self._next_series, device_id, endpoint.id, kind, unit, self._wall()), is_new=True
        )
        self._next_series += 1
        self._new.append(series)
        self._enter(series)
        return series

    def _say(self) -> None:
        """Write to the log what came up with the lock held: a handler of the log may want other locks."""
        with self._lock:
            unsaid, self._unsaid = self._unsaid, []
        for kind, level, text, value in unsaid:
            logger.log(logging.DEBUG if self.throttle.ask(kind) is None else level, text, value)

    def _enter(self, series: OpenSeries) -> None:
        record = series.record
        self._series[record.id] = series
        self._current[record.device_id, record.endpoint_id] = series
        self._of_device.setdefault(record.device_id, []).append(series)

    # -- durable readings ------------------------------------------------------------------------------

    def add_durable(
        self, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]
    ) -> list[tuple[OpenSeries, Buffer, int, Any]]:
        """Add readings that are written with their message. Returns where they are, each with its time and value."""
        added: list[tuple[OpenSeries, Buffer, int, Any]] = []
        with self._lock:
            series = self._series_of(device_id, endpoint)
            now = round(self._wall() * 1000)
            for moment, given in readings if series is not None else ():
                assert series is not None
                value = _state(given) if series.record.kind is Kind.STATE else _number(given)
                moment = self._checked_time(moment, now)
                buffer = self._buffer(series, moment)
                if value is None or buffer is None:
                    self.counters["refused"] += 1
                    continue
                if series.record.kind is Kind.STATE and self._is_known_state(series, moment, value):
                    continue
                if not buffer.marks or buffer.marks[-1][0] != DURABLE:
                    buffer.mark(DURABLE, self._written)
                buffer.times.append(moment)
                buffer.values.append(value)
                added.append((series, buffer, moment, value))
            self.due = min(self.due, self._clock() + _SECOND)
        self.wake()
        if self._unsaid:
            self._say()
        return added

    def write_durable(self, connection: Any, added: list[tuple[OpenSeries, Buffer, int, Any]]) -> None:
        """Write readings of a durable message to the tail, those that are not in a chunk meanwhile."""
        tables = self.storage.writing(connection)
        with self._lock:
            row = self._take_row()
            there = [one for one in added if one[0].buffers.get(one[1].quarter) is one[1]]
            new = {one[0].record.id: one[0].record for one in there if one[0].is_new}
        numbers = [one for one in there if one[0].record.kind is not Kind.STATE]
        states = [(one[0].record.id, *one[2:]) for one in there if one[0].record.kind is Kind.STATE]
        tail = TailRow(
            array("I", [one[0].record.id for one in numbers]),
            array("q", [one[2] for one in numbers]),
            array("d", [one[3] for one in numbers]),
            states,
            [],
        )
        if there:
            tables.put_series(list(new.values()))
            tables.put_tail(row, encode_tail(tail))

    def wait_written(self) -> bool:
        """Wait until what was recorded is written, in a thread that may wait. Returns whether it is."""
        written = Signal()
        with self._lock:
            if self._batch.weight == 0 and not self._older and self._write is None:
                return True
            self._waiters.append((self._batch.number, written))
            self.due = self._clock()
        self.wake()
        return wait(written, self.apart)

    # -- for the store writer --------------------------------------------------------------------------

    @property
    def waits(self) -> bool:
        """See `Section`."""
        return bool(self._weight or self._write or self._holding or self._dropped)

    def changes(self) -> Sequence[Change]:
        """See `Section`."""
        if self._write is None:
            write = self._compose()
            for sealed in write.sealed:
                sealed.chunks = list(_chunks_of(sealed, write.row))
            with self._lock:
                for sealed in write.sealed:
                    sealed.series.sealing = [*sealed.series.sealing, *sealed.chunks]
                    sealed.series.closing.remove(sealed.buffer)
                    sealed.series.version += 1
                self._write = write
        return [Run(self._apply)]

    def settled(self, error: Exception | None) -> None:
        """See `Section`."""
        write = self._write
        if write is None:
            return
        if error is not None:
            level = logging.DEBUG if self.throttle.ask("wrong") is None else logging.ERROR
            logger.log(level, "readings cannot be stored and are lost", exc_info=error)
        with self._lock:
            self._write = None
            for series in write.new:
                series.is_new = False
            for sealed in write.sealed:
                mine = {chunk[:3] for chunk in sealed.chunks}
                sealed.series.sealing = [one for one in sealed.series.sealing if one[:3] not in mine]
            for series_id, top in write.tops.items():
                if series_id in self._series:
                    self._series[series_id].top = top
            for record in write.gone:
                self._forgotten.pop(record.id, None)
            if write.delete_tail:
                self._first_row = write.delete_tail
            if write.waiting is not None:
                self._weight -= write.waiting.weight
                self._written = write.waiting.number
            told = [signal for number, signal in self._waiters if number <= self._written]
            self._waiters = [one for one in self._waiters if one[0] > self._written]
            self._plan()
        for signal in told:
            signal.set()

    def lost(self) -> None:
        """See `Section`: chunks and statistics are gone with the store; what is in buffers is written again."""
        with self._lock:
            for sealed in self._write.sealed if self._write is not None else ():
                self._take_up(sealed)
            self._write = None
            self._first_row = 0
            self._new = list(self._series.values())
            self._dropped, self._forgotten = [], {}
            batch = self._batch
            for series in self._series.values():
                series.is_new = True
                series.top = None
                series.closing, series.sealing = [], []
                for buffer in series.buffers.values():
                    buffer.row = batch.number
                    buffer.marks = [(batch.number, 0)]
            again = Waiting(0)
            for series in self._series.values():
                for buffer in series.buffers.values():
                    _carry(again, series, buffer)
            again.number = batch.number
            self._batch, self._older, self._weight = again, deque(), again.weight

    def _take_up(self, sealed: _Sealed) -> None:
        """Put a buffer back whose chunks are not written. The lock is held."""
        number, buffer = sealed.series.record.id, sealed.buffer
        if number in self._series:
            newer = sealed.series.buffers.get(buffer.quarter)
            if newer is not None:
                buffer.times += newer.times
                buffer.values += newer.values
            sealed.series.buffers[buffer.quarter] = buffer
            self._turns[number % _TURNS][number] = sealed.series

    def _plan(self) -> None:
        """Decide when to write next. The lock is held."""
        now = self._clock()
        if self._older or self._full:
            self.due = now
        elif self._batch.weight or self._holding or any(self._turns) or self._forgotten or self._dropped:
            self.due = now + _SECOND
        else:
            self.due = now + 60.0  # what is old is deleted also if nothing comes

    def _compose(self) -> _Write:
        """Take what to write."""
        with self._lock:
            now = self._clock()
            for series in self._held_before:
                self._let_go(series)
            self._held_before = list(self._holding.values())
            sealed: list[_Sealed] = []
            is_second = now >= self._next_turn
            carried: list[tuple[OpenSeries, Buffer]] = []
            if is_second:
                self._next_turn = now + _SECOND * 0.9
                self._seal_turn(sealed, carried)
            self._seal_full(sealed)
            batch: Waiting | None
            if self._older:
                batch = self._older.popleft()
            elif self._batch.weight or sealed or carried:
                batch, self._batch = self._batch, Waiting(self._take_row())
            else:
                batch = None
            row = 0
            if batch is not None:
                # What of the sealed buffers is in later rows is read into buffers again at the next start, and into a
                # second chunk; of two readings of one time one counts.
                row = batch.number
            new, self._new = self._new, []
            dropped, self._dropped = self._dropped, []
            known = [one for one in new if one.record.id in self._series]
            write = _Write(row, None, batch, known, dropped, sealed, self._delete_some(), is_second)
        if batch is not None:
            body = Waiting(row)
            body.series, body.times = batch.series[:], batch.times[:]
            body.values, body.states = batch.values[:], batch.states[:]
            for series, buffer in carried:
                _carry(body, series, buffer)
                buffer.row = row
            seals = [(one.series.record.id, one.buffer.quarter) for one in sealed]
            write.tail = encode_tail(TailRow(body.series, body.times, body.values, body.states, seals))
        return write

    def _take_row(self) -> int:
        self._next_row += 1
        return self._next_row - 1

    def _seal_turn(self, sealed: list[_Sealed], carried: list[tuple[OpenSeries, Buffer]]) -> None:
        """Seal the buffers whose turn it is, but for those that still get readings. The lock is held."""
        over = round(self._wall() * 1000) - QUARTER - 5000
        turn = self._turns[self._turn]
        for series in list(turn.values()):
            newest = max(series.buffers, default=0)
            for quarter in sorted(series.buffers)[:_MOST_SEALS]:
                buffer = series.buffers[quarter]
                if quarter < newest or quarter <= over or len(buffer.times) >= _TURNS * 3 // 4:
                    self._seal(series, buffer, sealed)
                elif buffer.row < self._carried_row:
                    carried.append((series, buffer))
            if not series.buffers:
                del turn[series.record.id]
        self._turn = (self._turn + 1) % _TURNS
        if self._turn == 0:
            self._end_round()

    def _seal_full(self, sealed: list[_Sealed]) -> None:
        """Seal buffers that are full before their turn. The lock is held."""
        for key in list(self._full)[:_MOST_SEALS]:
            series = self._full.pop(key)
            self._seal(series, series.buffers[key[1]], sealed)

    def _seal(self, series: OpenSeries, buffer: Buffer, sealed: list[_Sealed]) -> None:
        self._full.pop((series.record.id, buffer.quarter), None)
        del series.buffers[buffer.quarter]
        series.closing.append(buffer)
        sealed.append(_Sealed(series, buffer))

    def _end_round(self) -> None:
        """Note which rows of the tail are in chunks. The lock is held."""
        rows = [buffer.row for turn in self._turns for one in turn.values() for buffer in one.buffers.values()]
        self._unneeded = min([*rows, self._written])  # the last row stays: the next start counts on from it
        self._carried_row, self._round_row = self._round_row, self._batch.number

    def _delete_some(self) -> int:
        """Say before which row the tail is deleted, a little more each time; 0 for not at all. The lock is held."""
        left = self._unneeded - self._first_row
        if left <= 0:
            return 0
        return self._first_row + max(4, left // 60) if left > 4 else self._unneeded

    def _apply(self, connection: Any) -> None:
        """Write what was taken, in a commit."""
        write = self._write
        assert write is not None
        tables = self.storage.writing(connection)
        tables.put_series([one.record for one in write.new])
        tables.put_series(write.dropped)
        if write.tail is not None:
            tables.put_tail(write.row, write.tail)
        write.tops = self._write_chunks(tables, write.sealed)
        if write.delete_tail:
            tables.delete_tail(write.delete_tail)
        if write.retains:
            write.gone = self._retention.step(tables, self._all, round(self._wall() * 1000))

    def _all(self) -> list[SeriesRecord]:
        with self._lock:
            return [*(one.record for one in self._series.values()), *self._forgotten.values()]

    def _write_chunks(self, tables: HistoryTables, sealed: list[_Sealed]) -> dict[int, int]:
        """Write chunks, and the statistics of the quarters that they end. Returns the newest quarters."""
        tops: dict[int, int] = {}
        counted: set[tuple[OpenSeries, int]] = set()
        chunks: list[Chunk] = []
        for one in sorted(sealed, key=lambda one: one.buffer.quarter):
            if not one.chunks:
                continue
            series, quarter = one.series, one.buffer.quarter
            number = series.record.id
            if series.record.kind is Kind.STATE:
                chunks += one.chunks
                continue
            top = tops.get(number, series.top)
            if top is None:
                newest = tables.chunk_before(number, _LAST)
                top = quarter if newest is None else newest.start - newest.start % QUARTER
            if quarter < top:
                if self._is_deleted(tables, number, quarter):
                    self._merge(tables, number, quarter, one.chunks)
                    continue
                counted.add((series, quarter))
            elif quarter > top:
                counted.add((series, top))
            tops[number] = max(top, quarter)
            chunks += one.chunks
        tables.put_chunks(chunks)
        for series, quarter in counted:
            count_quarter(tables, series.record.id, series.record.kind, quarter, self.throttle)
        return tops

    @staticmethod
    def _is_deleted(tables: HistoryTables, series: int, quarter: int) -> bool:
        """Ask whether only the statistics of a quarter are left."""
        return bool(tables.quarters(series, quarter, quarter + 1)) and not tables.chunks(
            series, quarter, quarter + QUARTER
        )

    @staticmethod
    def _merge(tables: HistoryTables, series: int, quarter: int, chunks: list[Chunk]) -> None:
        """Count late readings of a quarter whose others are deleted."""
        (row,) = tables.quarters(series, quarter, quarter + 1)
        found = row.statistics
        for chunk in chunks:
            both = merge(found, chunk.statistics)
            found = Statistics(*both[:4], found.first, found.last, found.increase)
        tables.put_quarters([Quarter(series, quarter, found)])

    # -- for queries -----------------------------------------------------------------------------------

    def find(self, device_id: str, endpoint_id: str, unit: str | None = None) -> OpenSeries | None:
        """Find the series of an endpoint: that of a unit, or else the one of the last reading."""
        with self._lock:
            if unit is None:
                return self._current.get((device_id, endpoint_id))
            for series in reversed(self._of_device.get(device_id, [])):
                if series.record.endpoint_id == endpoint_id and series.record.unit == unit:
                    return series
        return None

    def open_readings(self, series: OpenSeries) -> tuple[int, list[Chunk], list[tuple[int, array[int], Any]]]:
        """Return what of a series is not in the store, or is being written.

        Returns:
            Its version, the chunks that are being written, and quarter, times and values of its buffers.
        """
        with self._lock:
            buffers = [
                (one.quarter, one.times[:], one.values[:]) for one in (*series.closing, *series.buffers.values())
            ]
            buffers += [(moment - moment % QUARTER, array("q", [moment]), [value]) for moment, value in series.held]
            return series.version, list(series.sealing), buffers

    # -- at the start ----------------------------------------------------------------------------------

    def _load(self) -> None:
        """Read the series, and the readings of the tail that are in no chunk."""
        with self.storage.reading(_LOADING) as tables:
            records = tables.series()
            rows = tables.tail()
            for record in records:
                if record.dropped:
                    self._forgotten[record.id] = record
                else:
                    self._enter(OpenSeries(record, is_new=False))
            highest = max((record.id for record in records), default=0)
            for row, body in rows:
                try:
                    tail = decode_tail(body)
                except DamagedBody as error:
                    logger.error("row %d of iotio_tail cannot be read and is left out: %s", row, error)
                    continue
                highest = max([highest, *tail.series])
                self._take_back(row, tail)
            for series in self._series.values():
                if series.record.kind is Kind.STATE:
                    self._find_state(tables, series)
        self._next_series = highest + 1
        self._first_row = rows[0][0] if rows else 0
        self._next_row = rows[-1][0] + 1 if rows else 1
        self._written = self._next_row - 1
        self._round_row = self._carried_row = self._next_row
        self._batch = Waiting(self._take_row())

    def _take_back(self, row: int, tail: TailRow) -> None:
        """Put the readings of a row into buffers, and take those out that are in chunks."""
        numbers: Iterator[tuple[int, int, Any]] = zip(tail.series, tail.times, tail.values, strict=True)
        for readings in (numbers, tail.states):
            for series_id, moment, value in readings:
                series = self._series.get(series_id)
                if series is None or (series.record.kind is Kind.STATE) is (type(value) is float):
                    continue
                quarter = moment - moment % QUARTER
                buffer = series.buffers.get(quarter)
                if buffer is None:
                    buffer = series.buffers[quarter] = Buffer(quarter, series.record.kind, row)
                    self._turns[series_id % _TURNS][series_id] = series
                buffer.times.append(moment)
                buffer.values.append(value)
        for series_id, quarter in tail.seals:
            if series_id in self._series:
                self._series[series_id].buffers.pop(quarter, None)

    def _find_state(self, tables: HistoryTables, series: OpenSeries) -> None:
        """Find what a state series said last."""
        chunk = tables.chunk_before(series.record.id, _LAST)
        quarters = [*series.buffers, *([] if chunk is None else [chunk.start - chunk.start % QUARTER])]
        if not quarters:
            return
        quarter = max(quarters)
        times, values = readings_of(
            tables.chunks(series.record.id, quarter, quarter + QUARTER), Kind.STATE, self.throttle
        )
        if quarter in series.buffers:
            buffer = series.buffers[quarter]
            times, values = in_order([*times, *buffer.times], [*values, *buffer.values])
        if times:
            series.newest, series.last = times[-1], values[-1]


class _Durable:
    """Writes the readings of a durable message, in the transaction of the message; called again after a failure."""

    def __init__(
        self, recorder: Recorder, device_id: str, endpoint: Endpoint, readings: Sequence[tuple[int, Value]]
    ) -> None:
        self._recorder = recorder
        self._arguments = device_id, endpoint, readings
        self._added: list[tuple[OpenSeries, Buffer, int, Any]] | None = None

    def __call__(self, connection: Any) -> None:
        recorder = self._recorder
        if recorder.apart is not None:
            if self._added is None:
                recorder.record(*self._arguments)
                self._added = []
            if recorder.apart and not recorder.wait_written():
                raise StoreUnavailable(f"the store of the history has not answered for {recorder.apart:g} s")
            return
        if self._added is None:
            self._added = recorder.add_durable(*self._arguments)
        recorder.write_durable(connection, self._added)


def _carry(waiting: Waiting, series: OpenSeries, buffer: Buffer) -> None:
    """Have the readings of a buffer written to the tail again, so that the old rows can be deleted."""
    number = series.record.id
    if series.record.kind is Kind.STATE:
        waiting.states += [(number, *one) for one in zip(buffer.times, buffer.values, strict=True)]
    else:
        waiting.series.extend([number] * len(buffer.times))
        waiting.times.extend(buffer.times)
        waiting.values.extend(buffer.values)
    waiting.weight += len(buffer.times)


def _chunks_of(sealed: _Sealed, number: int) -> Iterator[Chunk]:
    """Make chunks of a buffer, as equal as can be."""
    record = sealed.series.record
    times, values = sealed.buffer.readings()
    pieces = -(-len(times) // _CHUNK)
    for piece in range(pieces):
        start, stop = piece * len(times) // pieces, (piece + 1) * len(times) // pieces
        some, them = times[start:stop], values[start:stop]
        if record.kind is Kind.STATE:
            statistics = Statistics(len(some), *_NO_STATISTICS)
            body = encode_states(some, them)
        else:
            statistics = statistics_of(them, meter=record.kind is Kind.TOTAL)
            body = encode_numbers(some, them)
        yield Chunk(record.id, some[0], number, some[-1], statistics, body)


def _number(value: Value) -> float | None:
    """Return a value as a float; None if it is no finite number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


def _state(value: Value) -> Any:
    """Return a value that a state can have: a boolean, a whole number or a text that is not too long; else None."""
    if isinstance(value, (bool, int)):
        return value if -(2**63) < value < 2**63 else None
    return value if isinstance(value, str) and len(value) <= MAX_STATE else None
