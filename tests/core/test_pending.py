"""Places for sockets that have not said who they are."""

from __future__ import annotations

import logging

import pytest

from iotio import DeviceType
from iotio.core.pending import PATIENCE, SHARE, PendingSockets, address_of, is_loopback
from iotio.hosts.memory import connect
from iotio_protocol import v0, v2
from tests.support.memory import Clock, Device, frames_of, make_manager, v0_device, v1_device, v2_device
from tests.support.wire import Opcode


class Places(PendingSockets):
    """Places whose clock the test moves. Sockets are names; `dropped` has those that were ended."""

    def __init__(self, most: int) -> None:
        self.clock = Clock()
        self.dropped: list[str] = []
        super().__init__(most, self.clock)

    def come(self, name: str, address: str = "127.0.0.1") -> bool:
        return self.enter(name, address, lambda: self.dropped.append(name))


@pytest.mark.parametrize(
    ("peer", "address"), [("1.2.3.4:80", "1.2.3.4"), ("::1:80", "::1"), ("/run/iotio", ""), ("?", "")]
)
def test_the_address_of_a_peer(peer: str, address: str) -> None:
    assert address_of(peer) == address


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("", True), ("10.0.0.1", False), ("fe80::1%eth0", False)],
)
def test_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_a_young_one_keeps_its_place() -> None:
    places = Places(2)
    assert places.come("a")
    assert places.come("b")
    places.clock.now += PATIENCE - 0.1
    assert not places.come("c")
    assert (places.dropped, len(places)) == ([], 2)


def test_the_one_that_has_waited_longest_makes_room() -> None:
    places = Places(2)
    places.come("a")
    places.clock.now += 1
    places.come("b")
    places.clock.now += PATIENCE - 1
    assert places.come("c")
    assert not places.come("d")  # b is younger
    assert (places.dropped, len(places)) == (["a"], 2)
    places.leave("a")  # it ends now; that gives nobody's place away
    assert len(places) == 2


def test_a_place_that_is_handed_over_is_a_new_one_of_the_same_address() -> None:
    places = Places(2)
    places.come("a")
    places.come("b")
    places.clock.now += PATIENCE
    assert places.hand_over("a", "heir", lambda: places.dropped.append("heir"))
    assert not places.hand_over("a", "late", lambda: None)
    assert places.come("c")
    assert (places.dropped, len(places)) == (["b"], 2)
    places.leave("a")
    assert len(places) == 2
    places.leave("heir")
    places.leave("c")
    assert (len(places), places._addresses) == (0, {})


def test_a_place_that_is_left_is_free() -> None:
    places = Places(1)
    places.come("a")
    places.leave("a")
    places.leave("a")
    assert places.come("b")
    assert places.dropped == []


def test_one_address_gets_its_share_when_places_are_scarce() -> None:
    places = Places(100)
    assert [places.come(f"a{n}", "10.0.0.1") for n in range(60)] == [True] * 51 + [False] * 9
    assert [places.come(f"b{n}", "10.0.0.2") for n in range(20)] == [True] * SHARE + [False] * (20 - SHARE)
    assert all(places.come(f"c{n}", "::1") for n in range(33))  # many may be behind this one
    assert len(places) == 100
    for n in range(51):
        places.leave(f"a{n}")
    assert places.come("b16", "10.0.0.2")  # less than half is taken again


def test_how_long_to_wait() -> None:
    places = Places(4)
    assert places.wait_for(1) == 0
    for name in "abc":
        places.come(name)
        places.clock.now += 1
    assert places.wait_for(0) == 0
    assert places.wait_for(1) == PATIENCE - 3
    places.clock.now += PATIENCE
    assert places.wait_for(1) == 0


# In a server.


def close_code(device: Device) -> int | None:
    return next((int.from_bytes(data[:2], "big") for code, data in device.frames() if code == Opcode.CLOSE), None)


def test_a_device_leaves_its_place_when_it_has_said_who_it_is() -> None:
    manager = make_manager(DeviceType("echo"), max_pending=1)
    for n in range(5):
        v0_device(manager, f"a{n}")
        v2_device(manager, f"b{n}")
        v2_device(manager, f"c{n}", "unknown")
        v1_device(manager, f"d{n}")
    assert len(manager.clients) == 15
    assert manager.refusals == {"client_invalid_type": 5}


def test_one_that_goes_leaves_it_too() -> None:
    manager = make_manager(DeviceType("echo"), max_pending=1)
    for _ in range(5):
        Device(connect(manager, subprotocol=v2.SUBPROTOCOL)).drop()
    assert v2_device(manager).welcome


def test_others_are_told_to_come_again() -> None:
    clock = Clock()
    manager = make_manager(DeviceType("echo"), clock=clock, max_pending=1)
    first = Device(connect(manager))
    second = Device(connect(manager, subprotocol=v2.SUBPROTOCOL))
    ((opcode, packet),) = second.frames()
    assert opcode == Opcode.BINARY
    problem = v2.decode(packet)
    assert problem == v2.Problem("server_busy", {"limit": "max_pending", "most": 1})
    assert v1_device(manager).connection.is_open  # it has said who it is already
    clock.now += PATIENCE
    third = v2_device(manager)
    assert third.welcome
    assert close_code(first) == 1008


def test_it_may_come_late_and_is_served() -> None:
    clock = Clock()
    manager = make_manager(DeviceType("echo"), clock=clock, max_pending=2)
    late = Device(connect(manager))
    clock.now += 20  # nobody else wants the place
    late.frame(Opcode.TEXT, v0.encode_handshake("late", "echo", {}).encode())
    assert manager.clients == ["late"]
    assert frames_of(late.connection.read()) == []


def test_the_log_has_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(DeviceType("echo"), max_pending=1)
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            connect(manager)
    assert len(caplog.records) == 10
