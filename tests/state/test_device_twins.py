"""The twins of a device and the store: what was set is written before it is sent, and survives."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from iotio import DeviceType, IoTManager
from iotio.core.primitives import Signal
from iotio.core.storage.contract import PutTwin, StoreError, StoreUnavailable
from iotio.core.storage.records import TwinRecord, read_json
from iotio.state.device_twins import MOST_ON_WAY
from iotio.store import MemoryStore, open_store
from iotio_protocol.twin import State, Status
from tests.support.processes import Program
from tests.support.stores import TroubledStore

from .devices import ENDPOINTS, make_manager, the_device

WAIT = 5.0
FULL = os.environ.get("IOTIO_FULL") == "1"


@pytest.fixture
def store() -> TroubledStore:
    return TroubledStore()


@pytest.fixture
def manager(store: TroubledStore) -> Iterator[IoTManager]:
    manager = make_manager(store=store)
    assert manager.store_writer is not None
    manager.store_writer._patience = 0.2
    manager.store_writer._max_pause = 0.1
    yield manager
    store.problem = None
    store.answers.set()
    manager.close(0)


def twins(store: MemoryStore) -> dict[str, TwinRecord]:
    return {one.endpoint_id: one for one in store.load().twins}


def flush(manager: IoTManager) -> None:
    assert manager.store_writer is not None
    assert manager.store_writer.flush(WAIT)


def test_a_set_is_written_before_it_is_sent(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS, protocol=1) as lamp:
        flush(manager)
        seen: list[Any] = []
        commit = store.commit

        def look(changes: Any) -> None:
            seen.append(lamp.received)
            commit(changes)
            seen.append(lamp.received)

        store.commit = look  # type: ignore[method-assign]
        the_device(lamp).set("level", 5, by="me", ttl=100)
        assert seen[:2] == [[], []]
        assert lamp.received == [("level", 5)]
        record = twins(store)["level"]
        assert (read_json(record.desired), record.version, record.status, record.desired_by) == (5, 1, "pending", "me")
        assert record.expires is not None


def test_what_the_device_does_with_it_is_written_soon(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.on("level", lambda value: None)
        assert the_device(lamp).set("level", 5).wait(WAIT)
        flush(manager)
        assert twins(store)["level"].status == "confirmed"


def test_reports_are_written_late(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.report({"level": 0})
        flush(manager)
        written = twins(store)["level"]
        for number in range(1, 20):
            lamp.report({"level": number})
        lamp.clock.advance(140)
        flush(manager)
        assert twins(store)["level"] == written
        lamp.clock.advance(170)
        flush(manager)
        assert read_json(twins(store)["level"].reported) == 19
        lamp.report({"level": 20})
        lamp.disconnect()
        flush(manager)
        assert read_json(twins(store)["level"].reported) == 20


def test_reports_are_written_as_the_server_ends(store: TroubledStore) -> None:
    manager = make_manager(store=store)
    lamp = manager.test_client("k", "lamp", endpoints=ENDPOINTS)
    lamp.report({"level": 0})
    lamp.report({"level": 1})
    manager.close(0)
    assert read_json(twins(store)["level"].reported) == 1
    lamp.close()


def test_a_store_that_is_away(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        device = the_device(lamp)
        lamp.on("level", lambda value: None)
        assert device.set("level", 5).wait(WAIT)
        flush(manager)
        store.problem = StoreError("no disk")
        lamp.report({"on": True})  # live values go on
        with pytest.raises(StoreUnavailable):
            device.set("level", 6)
        with pytest.raises(StoreUnavailable):
            device.unset("level")
        found = device.state
        assert (found["level"].status, found["level"].desired, found["level"].version) == (Status.CONFIRMED, 5, 1)
        assert found["on"].reported is True
        store.problem = None
        flush(manager)
        assert device.set("level", 7).wait(WAIT)
        assert device.state["level"].version == 2
        flush(manager)
        assert read_json(twins(store)["level"].desired) == 7


def test_sets_behind_one_that_cannot_be_written(manager: IoTManager, store: TroubledStore) -> None:
    """Each that fails is taken back, in whichever order they fail."""
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        device = the_device(lamp)
        lamp.disconnect()
        flush(manager)
        store.answers.clear()
        made = [manager.twins._of(device).set({"level": value}, {}, None, "") for value in (1, 2, 3)]  # type: ignore[union-attr]
        assert device.state["level"].reason == "being stored"
        assert device.state["level"].version == 3
        done = [one._written for one in made]
        assert all(manager.wait_here(one, WAIT) for one in done)
        assert all(isinstance(one._error, StoreUnavailable) for one in made)
        assert device.state["level"] == State("level")
        store.answers.set()
        flush(manager)
        flush(manager)
        assert read_json(twins(store)["level"].desired) is None
        assert twins(store)["level"].version == 0


async def test_in_a_coroutine_the_store_is_awaited(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        result = the_device(lamp).set("level", 5)
        assert the_device(lamp).state["level"].status is Status.PENDING
        assert await result.written()
        assert twins(store)["level"].version == 1
        store.problem = StoreError("no disk")
        with pytest.raises(StoreUnavailable):
            await the_device(lamp).set("level", 6).finished(1)
        assert the_device(lamp).state["level"].version == 1


def test_all_is_there_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'iotio.db'}"
    first = make_manager(store=url)
    lamp = first.test_client("k", "lamp", endpoints=ENDPOINTS)
    device = the_device(lamp)
    lamp.report({"text": "U+0000: \0", "heat": 21.5})
    device.name, device.note = "Küche", "\0"
    lamp.disconnect()
    device.set({"level": 5, "on": True}, by="api:anna")
    device.set("text", "x", ttl=60)
    before = device.state
    first.close(0)
    lamp.close()

    second = make_manager(store=url)
    found = second.device("k")
    assert found is not None
    assert (found.name, found.note) == ("Küche", "\0")
    assert {name: found.state[name] for name in before} == before
    with second.test_client("k", "lamp", endpoints=ENDPOINTS, protocol=1) as lamp:
        assert sorted(lamp.received) == [("level", 5), ("on", True), ("text", "x")]
        assert the_device(lamp).state["heat"].reported == 21.5
        second.close(0)


def test_a_time_to_live_goes_on_after_a_restart(store: TroubledStore) -> None:
    first = make_manager(store=store)
    lamp = first.test_client("k", "lamp", endpoints=ENDPOINTS)
    lamp.disconnect()
    the_device(lamp).set("level", 5, ttl=60)
    first.close(0)
    lamp.close()
    second = make_manager(store=store)
    with second.test_client("other", "lamp") as other:
        other.clock.advance(61)
        device = second.device("k")
        assert device is not None
        assert device.state["level"].reason == "expired"
        second.close(0)


def test_a_forgotten_device_leaves_nothing(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.report({"level": 1})
        flush(manager)
        assert twins(store)
        the_device(lamp).forget()
        flush(manager)
        assert not twins(store)


def test_twins_of_other_endpoints_are_deleted(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.report({"level": 1, "on": True})
        with manager.test_client("k", "lamp", endpoints=ENDPOINTS[1:]):
            flush(manager)
            assert set(twins(store)) == {"on"}


def test_a_store_that_was_lost_is_written_anew(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.report({"level": 1})
        assert [one.endpoint_id for one in manager.recorder.snapshot().twins] == ["level"]


def test_a_set_that_was_given_up_and_written_is_taken_back(manager: IoTManager, store: TroubledStore) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.disconnect()
        flush(manager)
        store.answers.clear()
        with pytest.raises(StoreUnavailable):
            the_device(lamp).set("level", 6)
        store.answers.set()
        flush(manager)
        flush(manager)
        assert any(isinstance(one, PutTwin) and one.record.version == 1 for commit in store.commits for one in commit)
        assert twins(store)["level"].version == 0


def test_so_many_are_on_their_way_at_a_time(manager: IoTManager) -> None:
    endpoints = [{"id": f"e{n}", "name": "E", "type": "integer"} for n in range(100)]
    with manager.test_client("k", "lamp", endpoints=endpoints, protocol=1) as lamp:
        device = the_device(lamp)
        device.set({f"e{n}": n for n in range(100)})
        on_way = [one for one in device.state.values() if one.reason == "sent"]
        assert len(on_way) == MOST_ON_WAY
        for _ in range(20):
            lamp.read()
        assert {one.status for one in device.state.values()} == {Status.ASSUMED}
        assert len(lamp.received) == 100


def test_sigkill_at_many_points(tmp_path: Path) -> None:
    """A set that returned is there, and no earlier one is sent again; whatever the moment."""
    path = tmp_path / "iotio.db"
    random, last = Random(5), 0
    for _ in range(50 if FULL else 4):
        with Program([sys.executable, Path(__file__).parent / "programs" / "setter.py", path, str(last)]) as program:
            program.wait_line("set ", 20)
            wanted = f"set {last + random.randrange(1, 60)}"
            program.wait_line(wanted, 20)
            program.process.send_signal(signal.SIGKILL)
            program.process.wait(10)
            said = [int(line.split()[1]) for line in program.lines if line.startswith("set ")]
            sent = [int(line.split()[1]) for line in program.lines if line.startswith("sent ")]
        assert sent == sorted(sent)
        store = open_store(f"sqlite:///{path}")
        (found,) = (one for one in store.load().twins if one.endpoint_id == "level")
        store.close()
        assert found.version >= said[-1]
        assert read_json(found.desired) in (found.version, None)
        last = found.version


def test_hold_over_restarts_of_both(tmp_path: Path) -> None:
    """With `hold` it has the desired value again at once; also one that reports nothing."""
    url = f"sqlite:///{tmp_path / 'iotio.db'}"
    for number in range(20 if FULL else 4):
        manager = make_manager(DeviceType("lamp", hold=["level"]), store=url)
        lamp = manager.test_client("k", "lamp", endpoints=ENDPOINTS, protocol=1)
        assert lamp.received == ([("level", number)] if number else [])
        result = the_device(lamp).set("level", number + 1)
        lamp.read()
        assert result.wait(WAIT)
        lamp.disconnect("transport_closed")
        manager.close(0)
        lamp.close()


def test_signal_is_forgotten_when_nobody_waits(manager: IoTManager) -> None:
    with manager.test_client("k", "lamp", endpoints=ENDPOINTS) as lamp:
        lamp.disconnect()
        result = the_device(lamp).set("level", 1)
        assert not result.wait(0.01)
        found: Any = the_device(lamp).twins
        assert found._decisions == {}
        signal = Signal()
        found.await_decision(result.versions, signal)
        the_device(lamp).unset("level")
        assert signal.is_set
