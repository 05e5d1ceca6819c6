"""What is old or too much is deleted a little at a time, and what was counted stays."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from iotio.history import retention
from iotio.history.settings import History

from .rig import DOOR, NUMBER, START, Rig

HOUR = 3_600_000
DAY = 24 * HOUR
LAST = 2**60


def filled(rig: Rig, endpoint: Any, hours: int, value: Any = None) -> None:
    """Record a reading every 10 minutes."""
    for moment in range(0, hours * HOUR, 600_000):
        rig.wall = (START + moment) / 1000
        rig.record(endpoint, [(moment, moment if value is None else value(moment))])
    rig.seal()


def rounds(rig: Rig, count: int = 3) -> None:
    """Let a few rounds pass."""
    for _ in range(count):
        rig.wall += 700
        for _ in range(6):
            rig.second()


def test_old_readings_go_and_their_statistics_stay() -> None:
    rig = Rig(settings=History(raw="1d", hours="4d"))
    filled(rig, NUMBER, 36)
    rounds(rig)
    tables = rig.tables()
    assert START + 11 * HOUR < tables.first_chunk(1) < START + 14 * HOUR  # type: ignore[operator]
    assert tables.quarters(1, 0, LAST)[0].start == START
    assert [one.n for one in rig.ask(NUMBER, 0, 36 * HOUR, every="1d").buckets] == [144, 72]
    rig.wall += 2 * 86_400
    rounds(rig)
    assert rig.tables().chunks(1, 0, LAST) == []
    assert len(rig.tables().quarters(1, 0, LAST)) == 36 * 4, "the newest quarter was counted before it went"
    assert rig.ask(NUMBER, 30 * HOUR, 36 * HOUR, points=1).buckets[0].last == 36 * HOUR - 600_000
    rig.wall += 3 * 86_400
    rounds(rig)
    assert rig.tables().quarters(1, 0, LAST) == []


def test_what_a_state_is_now_is_not_forgotten() -> None:
    rig = Rig(settings=History(raw="1h", hours="1d"))
    filled(rig, DOOR, 10, lambda moment: moment < 5 * HOUR)
    rig.wall += 30 * 86_400
    rounds(rig)
    assert [one.value for one in rig.ask(DOOR, 0, 100 * DAY).spans] == [False]


def test_a_commit_deletes_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_CHUNKS", 10)
    rig = Rig(settings=History(raw="1h", hours="30d"))
    filled(rig, NUMBER, 20)
    rig.wall += 86_400
    counts = [len(rig.tables().chunks(1, 0, LAST))]
    for _ in range(30):
        rig.wall += 700
        rig.second()
        counts.append(len(rig.tables().chunks(1, 0, LAST)))
    assert max(before - after for before, after in itertools.pairwise(counts)) <= 10
    assert counts[-1] == 0


def test_a_store_that_is_too_large_loses_the_oldest() -> None:
    rig = Rig(settings=History(raw="30d", max_size="1MB"))
    filled(rig, NUMBER, 24 * 3)
    size = rig.tables().size()
    rig.recorder._retention._most = size // 2  # 1 MB would take a while
    rounds(rig, 60)
    assert size // 4 < rig.tables().size() <= size // 2
    assert len(rig.ask(NUMBER, 0, 3 * DAY, every="1d")) == 3


def test_a_forgotten_device_is_deleted_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST_CHUNKS", 10)
    rig = Rig()
    filled(rig, NUMBER, 20)
    rig.recorder.forget("kitchen")
    rig.second()
    assert rig.tables().series()[0].dropped
    rig.restart()
    rig.wall += 3600
    rounds(rig, 30)
    tables = rig.tables()
    assert (tables.series(), tables.chunks(1, 0, LAST), tables.quarters(1, 0, LAST)) == ([], [], [])
