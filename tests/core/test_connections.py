"""All sockets of a server: refusals held back, takeovers, totals, shutdown."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from iotio import DeviceType, Options
from iotio.core.connections import Connections, Takeovers
from iotio.core.manager import Manager
from iotio.hosts.memory import MemoryConnection
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.reasons import DisconnectReason
from tests.support.memory import Clock, Device, make_manager, v1_device
from tests.support.wire import Opcode

from .test_limits import Rival, make


def test_held_back_devices_are_bounded() -> None:
    manager, _, _ = make(max_connections=1)
    v1_device(manager, "a")
    refused = [v1_device(manager, f"b{number}") for number in range(1001)]
    assert [len(device.frames()) for device in refused[-2:]] == [1, 2]  # the last one has its CLOSE


def test_two_devices_that_fight_over_an_id_are_held_back(caplog: pytest.LogCaptureFixture) -> None:
    manager, echo, clock = make()
    rivals = [Rival(manager), Rival(manager)]
    for _ in range(600):
        clock.now += 0.1
        for rival in rivals:
            rival.step()
    connects = sum(rival.connects for rival in rivals)
    assert 6 + 60 / 3.2 - 2 <= connects <= 6 + 60 / 3.0 + 2
    assert echo.reasons == [DisconnectReason.TAKEOVER] * (connects - 1), "on_disconnect does not wait"
    (record,) = caplog.records
    assert "the id 'one'" in record.getMessage()
    assert manager.clients == ["one"]
    assert len(manager.connections.all()) == 2


def test_an_evicted_device_is_out_of_reach_before_its_close_frame() -> None:
    manager, _, clock = make()
    devices = [v1_device(manager, "one") for _ in range(8)]
    assert [device.close_code() for device in devices] == [1008] * 5 + [None] * 3
    for device in devices[5:7]:
        device.send("echo", 1)
        device.frame(Opcode.PING, b"?")
        assert device.frames() == [(Opcode.PONG, b"?")]
    assert manager.emit("x", 1, client_id="one").sent == 1
    assert devices[7].packets() == [("x", 1)]
    clock.now += 3.0
    for device in devices[5:7]:
        device.connection.advance()
        ((opcode, payload),) = device.frames()
        assert (opcode, payload) == (Opcode.CLOSE, (1008).to_bytes(2, "big") + b"takeover")
        device.drop()
    assert len(manager.connections.all()) == 6  # five have not answered their CLOSE yet


def test_a_shutdown_does_not_wait_for_who_is_held_back() -> None:
    manager, _, _ = make()
    devices = [v1_device(manager, "one") for _ in range(7)]
    manager.close(0)
    assert devices[5].close_code() == 1001


def test_a_fight_ends_and_ids_are_apart() -> None:
    clock = Clock()
    takeovers = Takeovers(clock, 3.0)
    assert [takeovers.count("a") for _ in range(7)] == [(False, False)] * 5 + [(True, True), (True, False)]
    assert takeovers.count("b") == (False, False)
    clock.now += 12.9
    assert takeovers.count("a") == (True, False)
    clock.now += 13.1
    assert takeovers.count("a") == (False, False)
    for _ in range(20):  # a device that comes back every three seconds fights with nobody
        clock.now += 3.0
        assert takeovers.count("c") == (False, False)


def test_few_ids_are_remembered() -> None:
    takeovers = Takeovers(Clock(), 3.0)
    for number in range(5):
        for other in range(1001):
            takeovers.count(f"{number}/{other}")
    assert len(takeovers._recent) == 1000


@pytest.fixture
def manager() -> Manager:
    return make_manager(DeviceType("echo"))


def test_counters_outlive_connections(manager: Manager) -> None:
    device = v1_device(manager, "a")
    device.send("nosuch", 1)
    client = manager.client("a")
    assert client is not None
    assert client.counters["unhandled"] == 1
    device.drop()
    assert manager.counters["unhandled"] == 1
    v1_device(manager, "a").send("nosuch", 1)
    assert manager.counters["unhandled"] == 2


def test_a_tick_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryConnection):
        def tick(self, now: float) -> None:
            raise OSError("no more sockets")

    clock = Clock()
    manager = make_manager(DeviceType("echo"), clock=clock, ping_interval=1)
    manager.connections.attach(Broken(manager, []))
    device = v1_device(manager, "a")
    clock.now += 100
    manager.sweep(clock.now)
    assert device.connection.read()[:1] == b"\x89", "the healthy one is pinged"
    assert "could not be done" in caplog.text


def test_a_sweep_over_many_devices_has_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    now, ticked = [0.0], []

    class Slow(MemoryConnection):
        def tick(self, now_on_the_clock: float) -> None:
            ticked.append(self)
            now[0] += 0.001

    monkeypatch.setattr("iotio.core.connections.time", SimpleNamespace(monotonic=lambda: now[0]))
    clock = Clock()
    manager = make_manager(DeviceType("echo"), clock=clock)
    slow = [Slow(manager, []) for _ in range(600)]
    for one in slow:
        manager.connections.attach(one)
    clock.now += 1000
    assert manager.sweep(clock.now)
    assert len(ticked) == 256
    late = Slow(manager, [])
    manager.connections.attach(late)
    assert manager.sweep(clock.now)
    assert not manager.sweep(clock.now)
    assert sorted(map(id, ticked)) == sorted(map(id, slow)), "each once, and who comes meanwhile the next time"
    clock.now += 1000
    while manager.sweep(clock.now):
        pass
    assert late in ticked


# The phase of the shutdown.


def test_a_host_that_shuts_down_turns_devices_away_until_it_has(manager: Manager) -> None:
    manager.connections.begin_shutdown()
    assert manager.connections.phase.name == "CLOSING"
    assert v1_device(manager).close_code() == 1001
    manager.connections.end_shutdown()
    assert manager.connections.phase.name == "SERVING"
    assert v1_device(manager).connection.is_open


def test_two_hosts_that_shut_down_at_once(manager: Manager) -> None:
    connections = manager.connections
    connections.begin_shutdown()
    connections.begin_shutdown()
    connections.end_shutdown()
    assert connections.phase.name == "CLOSING", "the other one is still at it"
    connections.end_shutdown()
    assert connections.phase.name == "SERVING"


def test_the_end_of_a_host_does_not_reopen_what_the_program_has_closed(manager: Manager) -> None:
    manager.connections.begin_shutdown()
    manager.close(0)
    manager.connections.end_shutdown()
    assert manager.connections.phase.name == "CLOSED"
    assert v1_device(manager).close_code() == 1001
    manager.connections.begin_shutdown()
    manager.connections.end_shutdown()
    assert v1_device(manager, "d2").close_code() == 1001


def test_who_comes_while_the_manager_closes_is_held_until_the_end(manager: Manager) -> None:
    late: list[Device] = []

    def wait(signal: Any, timeout: float) -> bool:
        assert manager.connections.phase.name == "HELD"
        late.append(v1_device(manager, "late"))
        assert late[0].frames() == []
        return True

    v1_device(manager)
    manager.close(1.0, wait=wait)
    assert late[0].close_code() == 1001
    assert manager.connections.phase.name == "CLOSED"


def test_by_itself_it_knows_no_manager() -> None:
    clock = Clock()
    connections = Connections(Options(), clock, LogThrottle(clock, threading.Lock()))
    assert (connections.all(), connections.counters, connections.refusals) == ([], {}, {})
    connections.begin_close(0)
    connections.finish_close()
    assert connections.phase.name == "CLOSED"


def test_when_the_next_is_due() -> None:
    clock = Clock()
    manager = make_manager(DeviceType("echo"), clock=clock)
    assert manager.connections.next_due == float("inf")
    v1_device(manager, "a")
    clock.now += 5
    device = v1_device(manager, "b")
    assert manager.connections.next_due == clock.now - 5 + manager.options.ping_interval
    device.drop()
    assert manager.connections.next_due == clock.now - 5 + manager.options.ping_interval
