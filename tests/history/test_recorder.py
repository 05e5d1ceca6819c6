"""Readings are taken, written once a second, and become chunks; nothing that was written is lost or there twice."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from iotio.core.storage.contract import Change, StoreError
from iotio.history import recorder
from iotio.history.codec import decode_tail
from iotio.history.recorder import MAX_OPEN_QUARTERS, MAX_SERIES, MAX_STATE, kind_of
from iotio.history.settings import History
from iotio.history.statistics import QUARTER, statistics_of
from iotio.history.tables import Kind
from iotio.store import MemoryStore, open_store

from .rig import DOOR, METER, MODE, NUMBER, START, TEXT, Rig, meter

HOUR = 3_600_000
LAST = 2**60


def values(rig: Rig, endpoint: Any, **more: Any) -> list[Any]:
    """All that is answered, one by one."""
    found = rig.ask(endpoint, -HOUR, 1000 * HOUR, points=None, **more)
    return [one.last for one in found.buckets] or [one.value for one in found.spans]


def test_kinds_of_endpoints() -> None:
    assert [kind_of(one) for one in (NUMBER, METER, DOOR, MODE, TEXT)] == [
        Kind.NUMBER,
        Kind.TOTAL,
        Kind.STATE,
        Kind.STATE,
        Kind.STATE,
    ]


def test_what_was_recorded_is_answered_at_once() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1), (1000, 2)])
    assert values(rig, NUMBER) == [1, 2]


def test_readings_are_one_row_a_commit() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1), (1000, 2)])
    rig.record(DOOR, [(0, True), (500, True), (700, False)])
    rig.second()
    ((_, body),) = rig.tables().tail()
    row = decode_tail(body)
    assert (list(row.times), list(row.values)) == ([START, START + 1000], [1, 2])
    assert row.states == [(2, START, True), (2, START + 700, False)]
    rig.second()
    assert len(rig.tables().tail()) == 1, "nothing to write"


def test_nothing_is_written_before_a_reading_comes() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)])
    rig.second()
    rig.restart()
    assert rig.recorder.due == float("inf")
    rig.recorder.forget("nobody")
    assert rig.recorder.due == float("inf")
    rig.record(NUMBER, [(1000, 1)])
    assert rig.recorder.due == rig.clock + 1


def test_written_readings_survive_a_kill() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1), (1000, 2)])
    rig.record(TEXT, [(0, "on")])
    rig.second()
    rig.record(NUMBER, [(2000, 3)])
    rig.restart()
    assert values(rig, NUMBER) == [1, 2]
    assert values(rig, TEXT) == ["on"]
    rig.record(TEXT, [(1000, "on"), (2000, "off")])
    assert values(rig, TEXT) == ["on", "off"]


def test_a_round_makes_chunks_and_empties_the_tail() -> None:
    rig = Rig()
    for moment in range(600):
        rig.record(NUMBER, [(moment * 1000, moment)])
        rig.record(DOOR, [(moment * 1000, moment % 100 == 0)])
        rig.second()
    tables = rig.tables()
    chunks = tables.chunks(1, 0, LAST)
    assert all(119 <= one.statistics.n <= 123 for one in chunks)
    assert len(chunks) >= 3
    assert len(tables.tail()) < 400
    rig.restart()
    assert values(rig, NUMBER) == list(range(600))
    assert len(values(rig, DOOR)) == 12


def test_the_tail_of_a_slow_sensor_is_carried_on() -> None:
    """A row is deleted although a reading of it is in no chunk yet."""
    rig = Rig()
    rig.record(METER, [(0, 5)])
    for moment in range(500):
        rig.record(NUMBER, [(moment * 1000, moment)])
        rig.second()
    assert rig.tables().tail()[0][0] > 100
    rig.restart()
    assert values(rig, METER) == [5]
    assert rig.tables().chunks(1, 0, LAST) == []


def test_statistics_are_written_when_a_quarter_ends() -> None:
    rig = Rig()
    for moment in range(0, 1000, 2):
        rig.record(METER, [(moment * 1000, moment)])
        rig.second()
        rig.second()
    rig.seal()
    (quarter,) = rig.tables().quarters(1, 0, LAST)
    assert quarter.start == START
    assert quarter.statistics == statistics_of([float(one) for one in range(0, 900, 2)])


def test_late_readings_are_counted_anew() -> None:
    rig = Rig()
    rig.record(NUMBER, [(moment * 1000, 1) for moment in range(0, 1800, 10)])
    rig.seal()
    rig.record(NUMBER, [(5000, 100), (10_000, 7)])
    rig.seal()
    (quarter,) = rig.tables().quarters(1, START, START + 1)
    assert quarter.statistics.n == 91
    assert (quarter.statistics.high, quarter.statistics.total) == (100, 89 + 100 + 7)
    assert [(one.n, one.max) for one in rig.ask(NUMBER, 0, QUARTER, every="15m").buckets] == [(91, 100)]


def test_late_readings_of_a_quarter_without_chunks_are_added() -> None:
    rig = Rig()
    rig.record(NUMBER, [(moment * 1000, 1) for moment in range(0, 1800, 10)])
    rig.seal()
    tables: Any = rig.tables()
    tables.delete_chunks(1, START + QUARTER)
    rig.record(NUMBER, [(5000, 100)])
    rig.seal()
    (quarter,) = rig.tables().quarters(1, START, START + 1)
    assert (quarter.statistics.n, quarter.statistics.high) == (91, 100)
    assert rig.tables().chunks(1, START, START + QUARTER) == []


def test_many_readings_of_a_second_are_thinned() -> None:
    rig = Rig()
    rig.record(NUMBER, [(moment, value) for moment, value in enumerate([5] * 20 + [9, -3] + [5] * 20)])
    rig.record(NUMBER, [(1000 + 100 * place, place) for place in range(10)])
    rig.record(NUMBER, [(2000, 1)])
    first = [one.last for one in rig.ask(NUMBER, 0, 1000, points=None).buckets]
    assert len(first) == 10
    assert (max(first), min(first), first[-1]) == (9, -3, 5)
    assert len(rig.ask(NUMBER, 1000, 2000, points=None)) == 10, "ten a second are all kept"


def test_what_is_held_is_written_soon() -> None:
    rig = Rig()
    rig.record(NUMBER, [(moment, moment) for moment in range(30)])
    assert len(values(rig, NUMBER)) == 10
    rig.second()
    rig.second()
    rig.restart()
    assert values(rig, NUMBER) == [0, 1, 2, 3, 4, 5, 6, 7, 28, 29]
    rig = Rig()
    rig.record(DOOR, [(moment, moment % 2 == 0) for moment in range(32)])
    assert len(values(rig, DOOR)) == 8
    assert values(rig, DOOR)[-1] is False


def test_a_clock_that_is_wrong_is_corrected() -> None:
    rig = Rig()
    rig.record(NUMBER, [(25 * HOUR, 1), (23 * HOUR, 2), (-(2**62), 3)])
    assert rig.recorder.counters["ahead"] == 2
    assert len(rig.ask(NUMBER, 0, 1)) == 1
    assert len(rig.ask(NUMBER, 23 * HOUR, 24 * HOUR)) == 1


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, None, "1", True, b"1", []])
def test_what_is_no_number_is_counted(value: Any) -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, value)])
    assert (values(rig, NUMBER), rig.recorder.counters["refused"]) == ([], 1)


@pytest.mark.parametrize("value", ["x" * (MAX_STATE + 1), 2**63, 1.5, None, b"on", {}])
def test_what_is_no_state_is_counted(value: Any) -> None:
    rig = Rig()
    rig.record(TEXT, [(0, value)])
    assert (values(rig, TEXT), rig.recorder.counters["refused"]) == ([], 1)


def test_true_and_one_are_two_states() -> None:
    rig = Rig()
    rig.record(MODE, [(0, 1), (2000, True), (4000, "1")])
    rig.seal()
    rig.restart()
    assert list(map(repr, values(rig, MODE))) == ["1", "True", "'1'"]


def test_a_change_of_unit_begins_a_series_and_the_old_one_can_go_on() -> None:
    rig = Rig()
    celsius, fahrenheit = meter("t", unit="°C"), meter("t", unit="°F")
    rig.record(celsius, [(0, 20)])
    rig.record(fahrenheit, [(1000, 68)])
    rig.record(celsius, [(2000, 21)])
    rig.second()
    assert [(one.id, one.unit) for one in rig.tables().series()] == [(1, "°C"), (2, "°F")]
    assert values(rig, celsius) == [20, 21]


def test_a_device_cannot_begin_series_without_end(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    for number in range(MAX_SERIES + 2):
        rig.record(meter("t", unit=str(number)), [(0, 1)])
    rig.second()
    assert len(rig.tables().series()) == MAX_SERIES
    assert rig.recorder.counters["refused"] == 2
    assert "device 'kitchen' has as many series of readings as may be, one for each endpoint and unit" in caplog.text


def test_readings_cannot_be_scattered_without_end() -> None:
    rig = Rig()
    rig.record(NUMBER, [(-place * QUARTER, 1) for place in range(MAX_OPEN_QUARTERS + 5)])
    assert rig.recorder.counters["refused"] == 5
    for _ in range(5 * 120):
        rig.second()
    assert len(rig.tables().chunks(1, 0, LAST)) >= MAX_OPEN_QUARTERS - 1


def test_a_fast_series_is_sealed_before_its_turn() -> None:
    rig = Rig(settings=History(max_rate=100_000))
    rig.record(NUMBER, [(moment, moment) for moment in range(5000)])
    rig.second()
    assert sum(one.statistics.n for one in rig.tables().chunks(1, 0, LAST)) == 5000


ROW = 500
MAX_WAITING = 10_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the bounds small; the real ones are 100 times as large."""
    assert (recorder.ROW, recorder.MAX_WAITING) == (100 * ROW, 100 * MAX_WAITING)
    monkeypatch.setattr(recorder, "ROW", ROW)
    monkeypatch.setattr(recorder, "MAX_WAITING", MAX_WAITING)


@pytest.mark.usefixtures("small")
def test_when_the_store_is_away_the_oldest_readings_go(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(settings=History(max_rate=10**7))
    rig.record(NUMBER, [(moment, moment) for moment in range(MAX_WAITING + ROW)])
    assert rig.recorder.counters["dropped"] == ROW
    assert "500 readings are dropped, the oldest that wait: the store cannot be written" in caplog.text
    found = rig.ask(NUMBER, 0, HOUR, points=1)
    assert (found.buckets[0].n, found.buckets[0].min) == (MAX_WAITING, ROW)
    while rig.recorder.waits:
        rig.second()
    rig.restart()
    found = rig.ask(NUMBER, 0, HOUR, points=1)
    assert (found.buckets[0].n, found.buckets[0].min) == (MAX_WAITING, ROW)


def test_a_forgotten_device_takes_its_history_with_it() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)], device="bath")
    rig.record(NUMBER, [(0, 1)])
    rig.seal()
    rig.record(NUMBER, [(1000, 1)])
    rig.recorder.forget("kitchen")
    assert values(rig, NUMBER) == []
    rig.second()
    rig.restart()
    assert values(rig, NUMBER) == []
    rig.wall += 3600
    for _ in range(3):
        rig.second()
    assert [one.device_id for one in rig.tables().series()] == ["bath"]
    assert rig.tables().chunks(2, 0, LAST) == []
    rig.record(NUMBER, [(5000, 7)])
    assert values(rig, NUMBER) == [7]


class FailingStore(MemoryStore):
    """Fails as often as told to, before or behind what it writes."""

    fails = 0
    behind = False

    def commit(self, changes: Sequence[Change]) -> None:
        if self.fails and not self.behind:
            self.fails -= 1
            raise StoreError("away")
        super().commit(changes)
        if self.fails:
            self.fails -= 1
            raise StoreError("away, who knows since when")


@pytest.mark.parametrize("behind", [False, True])
def test_what_failed_is_written_again(behind: bool) -> None:
    store = FailingStore()
    store.behind = behind
    rig = Rig(store)
    rig.record(NUMBER, [(moment * 1000, moment) for moment in range(300)])
    for _ in range(130):
        store.fails = 2
        for _ in range(2):
            with pytest.raises(StoreError):
                store.commit(rig.recorder.changes())
        rig.second()
    assert sum(one.statistics.n for one in rig.tables().chunks(1, 0, LAST)) == 300
    rig.restart()
    assert values(rig, NUMBER) == list(range(300))


def test_durable_readings_are_written_with_their_message() -> None:
    rig = Rig()
    effect = rig.recorder.record_durably("kitchen", NUMBER, [(START, 1), (START + 1000, 2)])
    assert values(rig, NUMBER) == []
    effect(None)
    effect(None)  # the transaction has failed once
    assert values(rig, NUMBER) == [1, 2]
    rig.restart()
    assert values(rig, NUMBER) == [1, 2]
    rig.seal()
    rig.restart()
    assert values(rig, NUMBER) == [1, 2]
    assert sum(one.statistics.n for one in rig.tables().chunks(1, 0, LAST)) == 2


@pytest.mark.usefixtures("small")
def test_durable_readings_are_not_dropped_with_others() -> None:
    rig = Rig(settings=History(max_rate=10**7))
    rig.record(NUMBER, [(moment, 1) for moment in range(ROW // 2)])
    rig.recorder.record_durably("kitchen", NUMBER, [(START - 1000, 77)])(None)
    rig.record(NUMBER, [(moment, 1) for moment in range(ROW // 2, MAX_WAITING + ROW)])
    assert rig.recorder.counters["dropped"] == ROW
    assert rig.ask(NUMBER, -HOUR, 0, points=None).buckets[0].last == 77


def test_a_store_that_was_lost_gets_what_is_left() -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)])
    rig.second()
    rig.record(NUMBER, [(1000, 2)])
    rig.recorder.changes()
    rig.store = MemoryStore()
    rig.recorder.storage = rig.store.history()
    rig.recorder.lost()
    rig.second()
    rig.restart()
    assert values(rig, NUMBER) == [1, 2]


def test_chunks_that_were_on_their_way_to_a_lost_store_are_made_again() -> None:
    rig = Rig(settings=History(max_rate=10**6))
    rig.record(NUMBER, [(moment, moment) for moment in range(1500)])
    rig.recorder.changes()
    rig.record(NUMBER, [(1500, 7)])
    rig.store = MemoryStore()
    rig.recorder.storage = rig.store.history()
    rig.recorder.lost()
    assert values(rig, NUMBER) == [*range(1500), 7]
    rig.second()
    rig.restart()
    assert values(rig, NUMBER) == [*range(1500), 7]


def test_a_damaged_row_of_the_tail_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)])
    rig.second()
    rig.record(NUMBER, [(1000, 2)])
    rig.second()
    tables: Any = rig.tables()
    first = tables.tail()[0][0]
    tables.put_tail(first, b"damage")
    rig.restart()
    assert values(rig, NUMBER) == [2]
    assert f"row {first} of iotio_tail cannot be read and is left out: what is stored" in caplog.text


def test_what_can_never_be_written_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.record(NUMBER, [(0, 1)])
    rig.recorder.changes()
    with caplog.at_level(logging.ERROR):
        rig.recorder.settled(ValueError("no"))
    assert "readings cannot be stored and are lost" in caplog.text


def test_it_works_on_a_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'iotio.db'}"
    rig = Rig(open_store(url))
    rig.record(NUMBER, [(moment * 1000, moment) for moment in range(2000)])
    rig.record(DOOR, [(0, True), (5000, False)])
    rig.seal()
    rig.store.close()
    rig.store = open_store(url)
    rig.restart()
    assert values(rig, NUMBER) == list(range(2000))
    assert values(rig, DOOR) == [True, False]
    assert [one.n for one in rig.ask(NUMBER, 0, HOUR, every="15m").buckets] == [900, 900, 200]
    rig.store.close()
