"""What the history costs: readings into SQLite, questions, and the deletion of what is old.

    python -m bench.history [record|ask|delete|day] [--seconds 400]

`record` takes 5000 readings a second, of 500 devices with 10 endpoints, from an asyncio loop into a SQLite file that is
synchronized with each commit, and measures by how much the loop wakes too late. Readings become chunks after two
minutes: what is shorter than 400 s has no steady figures. `ask` measures questions about an hour, a month and a year
of one reading a second. `delete` records while what was recorded before is too old. `day` records a day of 50 sensors
with one reading a second, and compares what is answered with a simple count.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.store import watch_lag
from iotio import IoTManager
from iotio.core.storage.contract import Change, Run
from iotio.endpoints import Endpoint, FloatEndpoint
from iotio.history.codec import encode_numbers
from iotio.history.part import HistoryPart
from iotio.history.query import Question, answer
from iotio.history.recorder import Recorder
from iotio.history.settings import History
from iotio.history.statistics import QUARTER, quarter_of, statistics_of
from iotio.history.tables import Chunk, HistoryTables, Kind, Quarter, SeriesRecord
from iotio.store import MemoryStore, open_store
from iotio.store.sql import SqlStore
from iotio.store.sqlite import SqliteDatabase

DEVICES, ENDPOINTS = 500, 10
TURNS = 100  # parts of a second in which devices report
DAY = 86_400_000


class TimedStore(SqlStore):
    """Notes how long each commit takes."""

    def __init__(self, url: str) -> None:
        super().__init__(SqliteDatabase(url))
        self.commits: list[float] = []

    def commit(self, changes: Sequence[Change]) -> None:
        began = time.perf_counter()
        super().commit(changes)
        self.commits.append(time.perf_counter() - began)


def written_bytes() -> int:
    """Bytes that this process has had written to disks; 0 where the system does not say."""
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("write_bytes"))
    except OSError:
        return 0


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them is."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def sink_of(manager: IoTManager) -> Recorder:
    """What takes the readings."""
    assert isinstance(manager.history, HistoryPart)
    return manager.history.sink


async def report(recorder: Recorder, seconds: float) -> int:
    """Have all devices report once a second, each at its own moment. Returns the number of readings."""
    endpoints: list[Endpoint] = [FloatEndpoint(f"endpoint{number}", "") for number in range(ENDPOINTS)]
    names = [f"device-{number:04d}" for number in range(DEVICES)]
    values = [[200.0 + random.randrange(50) for _ in endpoints] for _ in names]
    count = 0
    began = time.perf_counter()
    for turn in range(int(seconds * TURNS)):
        now = round(time.time() * 1000)
        for place in range(turn % TURNS, DEVICES, TURNS):
            for number, endpoint in enumerate(endpoints):
                values[place][number] += random.randint(-10, 10)
                recorder.record(names[place], endpoint, [(now, values[place][number] / 100)])
                count += 1
        await asyncio.sleep(max(began + (turn + 1) / TURNS - time.perf_counter(), 0))
    return count


async def measured(recorder: Recorder, seconds: float) -> tuple[int, list[float], list[float]]:
    """Record for so long. Returns the readings, the lags of the loop, and how long a question took meanwhile."""
    lags: list[float] = []
    asked: list[float] = []

    async def ask() -> None:
        while True:
            await asyncio.sleep(1)
            now = round(time.time() * 1000)
            question = Question("device-0007", "endpoint3", now - 3_600_000, now)
            began = time.perf_counter()
            await asyncio.to_thread(answer, recorder, question)
            asked.append(time.perf_counter() - began)

    others = [asyncio.create_task(watch_lag(lags)), asyncio.create_task(ask())]
    count = await report(recorder, seconds)
    for other in others:
        other.cancel()
    return count, lags, asked


def record(folder: Path, seconds: float) -> None:
    """Bar 1."""
    file = folder / "record.db"
    store = TimedStore(f"sqlite:///{file}")
    store.open()
    manager = IoTManager(store=store)
    recorder = sink_of(manager)
    before, cpu = written_bytes(), time.process_time()
    count, lags, asked = asyncio.run(measured(recorder, seconds))
    cpu = time.process_time() - cpu
    manager.close()
    after = written_bytes()
    with closing(sqlite3.connect(file)) as raw:
        used = raw.execute(
            "SELECT (page_count - freelist_count) * page_size"
            " FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()"
        ).fetchone()[0]
        chunks, in_chunks = raw.execute("SELECT count(*), sum(n) FROM iotio_chunks").fetchone()
        tail = raw.execute("SELECT count(*), sum(length(body)) FROM iotio_tail").fetchone()
    millions = count / 1e6
    print(f"{count} readings in {seconds:g} s; counters {recorder.counters}")
    print(f"loop lag: p50 {quantile(lags, 0.5) * 1e3:.1f} ms, p99 {quantile(lags, 0.99) * 1e3:.1f} ms")
    print(f"written: {(after - before) / 1e6 / millions:.0f} MB a million readings")
    in_tail = (tail[1] or 0) / 1e6
    print(f"file: {used / 1e6 / millions:.2f} MB a million, with {tail[0]} rows of the tail ({in_tail:.1f} MB)")
    print(f"chunks: {chunks} with {(in_chunks or 0) / max(chunks, 1):.0f} readings each")
    print(f"commits: p50 {quantile(store.commits, 0.5) * 1e3:.0f} ms, longest {max(store.commits) * 1e3:.0f} ms")
    print(f"a question about the last hour meanwhile: p50 {quantile(asked, 0.5) * 1e3:.1f} ms")
    print(f"processor: {cpu / millions:.1f} s a million readings, of which the reports' own share is part")


def fill(tables: HistoryTables, series: int, start: int, days: int) -> None:
    """Write days of one reading a second."""
    value = 2000
    for quarter in range(start, start + days * DAY, QUARTER):
        chunks, all_values = [], []
        for begin in range(quarter, quarter + QUARTER, 120_000):
            times = list(range(begin, min(begin + 120_000, quarter + QUARTER), 1000))
            values = []
            for _ in times:
                value += random.randint(-10, 10)
                values.append(value / 100)
            all_values += values
            chunks.append(Chunk(series, begin, 1, times[-1], statistics_of(values), encode_numbers(times, values)))
        tables.put_chunks(chunks)
        tables.put_quarters([Quarter(series, quarter, statistics_of(all_values))])


def ask(folder: Path) -> None:
    """Bar 2."""
    store = open_store(f"sqlite:///{folder / 'ask.db'}")
    now = quarter_of(round(time.time() * 1000))
    start = now - 30 * DAY
    quarter = statistics_of([1.0, 2.0])

    def write(connection: Any) -> None:
        tables = store.history().writing(connection)
        tables.put_series([SeriesRecord(1, "kitchen", "temperature", Kind.NUMBER, None, 0.0)])
        tables.put_quarters([Quarter(1, begin, quarter) for begin in range(start - 335 * DAY, start, QUARTER)])
        fill(tables, 1, start, 30)

    store.commit([Run(write)])
    recorder = Recorder(store.history(), History())
    for name, length, more in (
        ("an hour to 200 points", DAY // 24, {}),
        ("a day to 200 points", DAY, {}),
        ("a month to 200 points", 30 * DAY, {}),
        ("a month by days of Berlin", 30 * DAY, {"every": "1d"}),
        ("a year to 200 points", 365 * DAY, {}),
    ):
        times, cpu = [], []
        for _ in range(21):
            began, used = time.perf_counter(), time.thread_time()
            found = answer(recorder, Question("kitchen", "temperature", now - length - 1, now, **more))  # type: ignore[arg-type]
            times.append(time.perf_counter() - began)
            cpu.append(time.thread_time() - used)
        median = statistics.median(times) * 1e3
        print(f"{name}: {median:.1f} ms ({statistics.median(cpu) * 1e3:.1f} of the processor), {len(found)} buckets")
    store.close()


def delete(folder: Path, seconds: float, chunks: int) -> None:
    """Bar 3."""
    store = TimedStore(f"sqlite:///{folder / 'delete.db'}")
    store.open()
    old = quarter_of(round(time.time() * 1000)) - 31 * DAY
    names = list(itertools.product(range(DEVICES), range(ENDPOINTS)))

    def write(connection: Any) -> None:
        tables = store.history().writing(connection)
        for series, (device, endpoint) in enumerate(names, 1):
            tables.put_series(
                [SeriesRecord(series, f"device-{device:04d}", f"endpoint{endpoint}", Kind.NUMBER, None, 0.0)]
            )
            rows = []
            for number in range(chunks):
                times = list(range(old + number * 120_000, old + (number + 1) * 120_000, 1000))
                values = [random.randrange(2000) / 100 for _ in times]
                rows.append(Chunk(series, times[0], 1, times[-1], statistics_of(values), encode_numbers(times, values)))
            tables.put_chunks(rows)

    store.commit([Run(write)])
    store.commits.clear()
    manager = IoTManager(history=True, store=MemoryStore())
    part = HistoryPart(History(raw="30d"), store, None, wait=manager.wait_here)
    count, lags, _ = asyncio.run(measured(part.sink, seconds))
    part.close(wait=lambda signal, timeout: manager.wait_here(signal, timeout))
    manager.close()
    with closing(sqlite3.connect(folder / "delete.db")) as raw:
        left = raw.execute("SELECT count(*) FROM iotio_chunks WHERE start < ?", (old + 2 * DAY,)).fetchone()[0]
    print(f"deleted {len(names) * chunks - left} of {len(names) * chunks} chunks while {count} readings came")
    print(f"commits: p99 {quantile(store.commits, 0.99) * 1e3:.0f} ms, longest {max(store.commits) * 1e3:.0f} ms")
    print(f"loop lag: p99 {quantile(lags, 0.99) * 1e3:.1f} ms")


def day(folder: Path) -> None:
    """Record a day of 50 sensors, and compare hours and quarters with a simple count."""
    store = open_store(f"sqlite:///{folder / 'day.db'}")
    start = quarter_of(round(time.time() * 1000)) - DAY
    clock = [0.0, start / 1000]
    recorder = Recorder(store.history(), History(), clock=lambda: clock[0], wall=lambda: clock[1])
    sensors: list[Endpoint] = [FloatEndpoint(f"sensor{number}", "") for number in range(50)]
    kept: list[list[float]] = [[] for _ in sensors]
    began = time.perf_counter()
    for second in range(86_400):
        for values, sensor in zip(kept, sensors, strict=True):
            values.append(random.randrange(10_000) / 100)
            recorder.record("kitchen", sensor, [(start + second * 1000, values[-1])])
        clock[0] += 1
        clock[1] += 1
        store.commit(recorder.changes())
        recorder.settled(None)
    took = time.perf_counter() - began
    for every, size in (("1h", 3600), ("15m", 900)):
        for values, sensor in zip(kept, sensors, strict=True):
            found = answer(recorder, Question("kitchen", sensor.id, start, start + DAY, None, every))  # type: ignore[arg-type]
            expected = [values[place : place + size] for place in range(0, 86_400, size)]
            # Hours of UTC: those at both ends may be cut.
            assert sum(one.n for one in found.buckets) == 86_400
            assert len(found.buckets) in (len(expected), len(expected) + 1)
            if len(found.buckets) == len(expected):
                assert [(one.min, one.max, one.last) for one in found.buckets] == [
                    (min(one), max(one), one[-1]) for one in expected
                ]
    each = answer(recorder, Question("kitchen", "sensor7", start, start + DAY, None))
    assert [one.last for one in each.buckets] == kept[7]
    store.close()
    print(f"{50 * 86_400} readings of a day in {took:.0f} s, all answers right")
    print(f"file: {os.path.getsize(folder / 'day.db') / 1e6 / 4.32:.2f} MB a million readings")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["record", "ask", "delete"], help="record, ask, delete, day")
    parser.add_argument("--seconds", type=float, default=400.0, help="of record and delete")
    parser.add_argument("--chunks", type=int, default=720, help="old ones of each series for delete: 720 are a day")
    parser.add_argument("--folder", help="where the files are made: of the disk that is measured")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for what in given.what:
            print(f"-- {what}")
            if what == "record":
                record(Path(folder), given.seconds)
            elif what == "ask":
                ask(Path(folder))
            elif what == "delete":
                delete(Path(folder), given.seconds, given.chunks)
            elif what == "day":
                day(Path(folder))
            else:
                parser.error(f"there is no {what!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
