"""Who is forgotten when too many devices have come, or such that say too much; and who is refused."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from iotio import DeviceType
from iotio.core.durable.delivery import Delivery, DeliveryState
from iotio.core.manager import Manager
from iotio.core.storage.records import DeviceState
from iotio.store import MemoryStore
from iotio_protocol import v2
from tests.support.memory import Clock, make_manager, v0_device, v1_device, v2_device

SWITCH = {"id": "on", "name": "On", "type": "boolean"}


@contextmanager
def serving(**options: Any) -> Iterator[Manager]:
    """A manager with one type, whose store is closed at the end."""
    manager = make_manager(DeviceType("echo"), ping_interval=0, **options)
    try:
        yield manager
    finally:
        manager.close(0.1)


def known(manager: Manager) -> list[str]:
    return sorted(manager.devices)


def expire(manager: Manager, delivery: Delivery | None) -> None:
    assert delivery is not None
    queue = manager.durable_messages.known_queue(delivery.device_id)
    assert queue is not None
    assert queue.outgoing.withdraw(delivery, DeliveryState.EXPIRED)


def test_strangers_push_out_strangers_only() -> None:
    with serving(max_devices=5) as manager:
        for name in ("often", "often", "roomy", "queued", "once"):
            v1_device(manager, name).drop()
        manager.join("roomy", "r")
        assert manager.emit("x", 1, client_id="queued", durable=True).offline == ("queued",)
        for number in range(20):
            v1_device(manager, f"s{number}").drop()
        assert known(manager) == ["often", "queued", "roomy", "s18", "s19"]
        back = v2_device(manager, "queued")
        assert [packet.value for packet in back.decoded() if isinstance(packet, v2.Packet)] == [1]


def test_then_those_that_are_known_better_and_away_longest() -> None:
    with serving(max_devices=3) as manager:
        for name in ("a", "b", "c", "b", "a", "c"):
            v1_device(manager, name).drop()
        v1_device(manager, "d")
        assert known(manager) == ["a", "c", "d"]
        v1_device(manager, "e")
        assert known(manager) == ["c", "d", "e"]


def test_a_room_that_is_left_counts_no_more() -> None:
    with serving(max_devices=3) as manager:
        for name in "abc":
            v1_device(manager, name).drop()
        manager.join(["a", "b"], "r")
        manager.leave("a", "r")
        v1_device(manager, "d")
        assert known(manager) == ["b", "c", "d"]
        v1_device(manager, "e")
        assert known(manager) == ["b", "d", "e"]


def test_newcomers_are_refused_when_nobody_can_be_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with serving(max_devices=2, clock=clock) as manager:
        v1_device(manager, "connected")
        v1_device(manager, "queued").drop()
        delivery = manager.emit("x", 1, client_id="queued", durable=True).delivery
        for number in range(50):
            device = v1_device(manager, f"n{number}")
            info = {"error": "server_busy", "info": {"limit": "max_devices", "most": 2}}
            assert device.packets() == [("error", info)]
        assert v2_device(manager, "n").decoded() == [v2.Problem("server_busy", {"limit": "max_devices", "most": 2})]
        assert v0_device(manager, "n").close_code() == 1008
        assert known(manager) == ["connected", "queued"]
        caplog.set_level(logging.ERROR)
        for _ in range(100):
            manager.sweep(clock())
            clock.now += 0.2
        (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
        assert "52 times a device was refused (server_busy)" in line
        assert "Options.max_devices, which is 2" in line
        assert v1_device(manager, "connected").packets() == [], "who is known may come back"
        expire(manager, delivery)
        assert v1_device(manager, "late").packets() == []
        assert known(manager) == ["connected", "late"]


def test_messages_that_expire_while_the_device_is_away() -> None:
    with serving(max_devices=2) as manager:
        for name in ("a", "b"):
            v1_device(manager, name).drop()
        manager.emit("x", 1, client_id="b", durable=True)
        deliveries = [manager.emit("x", number, client_id="a", durable=True).delivery for number in range(2)]
        v1_device(manager, "n")
        assert known(manager) == ["a", "b"]
        for delivery in deliveries:
            expire(manager, delivery)
        v1_device(manager, "n")
        assert known(manager) == ["b", "n"]


# By bytes.


def test_the_bytes_of_what_they_say() -> None:
    with serving(max_devices_bytes=1000) as manager:
        v1_device(manager, "a", data="x" * 300).drop()
        assert manager.presence.remembered.size == len("aecho") + 302
        v1_device(manager, "b", data="x" * 300).drop()
        v1_device(manager, "c", data="x" * 300)
        assert known(manager) == ["a", "b", "c"]
        v1_device(manager, "d", data="x" * 300)
        assert known(manager) == ["b", "c", "d"]
        assert v1_device(manager, "e", data="x" * 700).packets()[0][1]["error"] == "server_busy"
        assert known(manager) == ["b", "c", "d"], "nobody is forgotten in vain"
        refused = v1_device(manager, "b", data="x" * 700).packets()
        assert refused == [("error", {"error": "server_busy", "info": {"limit": "max_devices_bytes", "most": 1000}})]
        assert v1_device(manager, "b", data="x" * 100).packets() == [], "it says less than before"


def test_one_that_returns_is_not_pushed_out_by_itself() -> None:
    with serving(max_devices_bytes=1000) as manager:
        for name in "abc":
            v1_device(manager, name, data="x" * 300).drop()
        v1_device(manager, "a", data="x" * 400)
        assert known(manager) == ["a", "c"]
        assert manager.presence.remembered.size == 5 + 402 + 5 + 302


def test_one_that_declares_something_else_needs_room_for_the_difference_only() -> None:
    with serving(max_devices_bytes=1000) as manager:
        v1_device(manager, "a", data=1, endpoints=[{**SWITCH, "name": "n" * 800}])
        taken_over = v1_device(manager, "a", data=1, endpoints=[{**SWITCH, "name": "m" * 800}])
        assert taken_over.packets() == []
        refused = v1_device(manager, "a", data=1, endpoints=[{**SWITCH, "name": "m" * 1000}]).packets()
        assert refused[0][1]["info"] == {"limit": "max_devices_bytes", "most": 1000}


def test_rooms_count() -> None:
    with serving() as manager:
        v1_device(manager, "a", data=1)
        assert manager.presence.remembered.size == 6
        manager.join("a", "küche")
        assert manager.presence.remembered.size == 12
        manager.close_room("küche")
        assert manager.presence.remembered.size == 6
        manager.forget("a")
        assert manager.presence.remembered.size == 0


def test_a_device_is_in_no_more_rooms_than_there_is_room_for() -> None:
    with serving(max_devices_bytes=1000) as manager:
        v1_device(manager, "away", data="x" * 300).drop()
        v1_device(manager, "a")
        for number in range(200):
            name = f"{number:010}"
            if manager.presence.remembered.size + 10 > 1000 and known(manager) == ["a"]:
                with pytest.raises(ValueError, match="max_devices_bytes, which is 1000"):
                    manager.join("a", name)
            else:
                assert manager.join("a", name)
        assert known(manager) == ["a"], "the other one has made room"
        assert 990 < manager.presence.remembered.size <= 1000
        device = manager.device("a")
        assert device is not None
        assert len(device.rooms) == 99
        assert manager.join("a", f"{5:010}"), "it is in there"
        manager.leave("a", f"{5:010}")
        assert manager.join("a", f"{500:010}")


def test_equal_declarations_are_kept_and_counted_once() -> None:
    endpoints = [SWITCH, {**SWITCH, "id": "off"}]
    written = len(json.dumps(endpoints, separators=(",", ":")))
    with serving() as manager:
        for name in "abc":
            v1_device(manager, name, data=1, endpoints=endpoints).drop()
        assert manager.presence.remembered.size == 3 * 6 + written
        devices = list(manager.devices.values())
        assert len({id(device.lasting.declaration) for device in devices}) == 1
        assert len({id(device.type) for device in devices}) == 1
        v1_device(manager, "a", data=1).drop()
        assert manager.presence.remembered.size == 3 * 6 + written
        manager.forget(["b", "c"])
        assert manager.presence.remembered.size == 6
        v1_device(manager, "a", data=1, endpoints=[SWITCH])
        assert manager.presence.remembered.size == 6 + written // 2


def test_a_declaration_that_several_share_is_let_go_with_the_last() -> None:
    endpoints = [{**SWITCH, "name": "n" * 400}]
    with serving(max_devices_bytes=600) as manager:
        for name in "ab":
            v1_device(manager, name, data=1, endpoints=endpoints).drop()
        v1_device(manager, "c", data="x" * 500)
        assert known(manager) == ["c"]
        assert manager.presence.remembered.size == 5 + 502


# What a device that is away is remembered by.


@pytest.mark.parametrize("data", [None, {"a": [1, "ü"]}, "\ud800", ["x" * 1000], [[[]] * 400], 2**100])
def test_data_is_kept_as_bytes(data: Any) -> None:
    with serving() as manager:
        device = v1_device(manager, "a", data=data)
        client = manager.client("a")
        assert client is not None
        found = manager.devices["a"]
        assert client.data == client.info["data"] == found.data == ({} if data is None else data)
        device.drop()
        assert found.data == ({} if data is None else data)
        assert found.data is not found.data or not isinstance(found.data, (dict, list))
        assert type(found.lasting.data) is bytes


# A restart.


def test_a_restart_changes_nothing() -> None:
    """Who came once only, who went when, and for whom messages wait, is so afterwards, too."""
    store, clock = MemoryStore(), Clock()
    with serving(store=store, clock=clock) as manager:
        for name in ("z", "often", "y", "queued", "often", "roomy", "x"):
            clock.now += 1
            v1_device(manager, name).drop()
            time.sleep(0.01)  # the date by which they went
        manager.join("roomy", "r")
        manager.emit("x", 1, client_id="queued", durable=True)
        assert manager.store_writer is not None
        manager.store_writer.flush(5)
    with serving(store=store, max_devices=5) as manager:
        assert known(manager) == ["often", "queued", "roomy", "x", "y"], "z was away longest"
        v1_device(manager, "n1").drop()
        assert known(manager) == ["n1", "often", "queued", "roomy", "x"]
        v1_device(manager, "n2")
        v1_device(manager, "n3")
        v1_device(manager, "n4")
        assert known(manager) == ["n2", "n3", "n4", "queued", "roomy"], "often was away longer than roomy"
        manager.store_writer and manager.store_writer.flush(5)
    with serving(store=store) as manager:
        assert known(manager) == ["n2", "n3", "n4", "queued", "roomy"]


def test_declarations_from_before_a_restart_are_kept_and_counted_once() -> None:
    written = json.dumps([SWITCH])
    with serving() as manager:
        states = [DeviceState(name, "echo", b"1", declaration=written.encode()) for name in "abc"]
        manager.presence.restore(states)
        assert manager.presence.remembered.size == 3 * 6 + len(written)
        kept = [device.lasting.declaration for device in manager.devices.values()]
        assert len({id(one) for one in kept}) == 1
        assert {tuple(device.endpoints) for device in manager.devices.values()} == {("on",)}
        manager.forget(list("abc"))
        assert manager.presence.remembered.size == 0


# How long it takes, and whether the figures are right.


@pytest.mark.parametrize("returned", [False, True])
def test_among_a_hundred_thousand(returned: bool) -> None:
    """An arrival in a full directory takes about as long as in an empty one, whoever is in there."""
    with serving(max_devices=100_000) as manager:
        rooms = ("r",)
        stored = [
            DeviceState(f"d{number}", "echo", b"null", rooms if number % 2 else (), last_seen=number, returned=returned)
            for number in range(100_000)
        ]
        manager.presence.restore(reversed(stored))
        begin = time.perf_counter()
        for number in range(500):
            v1_device(manager, f"n{number}").drop()
        assert time.perf_counter() - begin < 2.0
        assert len(manager.devices) == 100_000
        assert manager.devices.forgotten == 500
        first = "d0" if returned else "d1"
        assert (first in manager.devices) is not returned


def reference(manager: Manager, queued: set[str], left: list[str]) -> list[str]:
    """Ids of those that may be forgotten, in the order in which they are; the slow way."""
    away = [manager.devices[name] for name in left if name in manager.devices and name not in queued]
    return [one.id for one in sorted(away, key=lambda one: one.lasting.returned or bool(one.rooms))]


@pytest.mark.parametrize("seed", range(20))
def test_against_the_slow_way(seed: int) -> None:
    chance = random.Random(seed)
    with serving(max_devices=8) as manager:
        remembered = manager.presence.remembered
        peers: dict[str, Any] = {}
        queued: dict[str, list[Any]] = {}
        left: list[str] = []  # who is away, the one away longest first
        for _ in range(300):
            name = chance.choice("abcdefghijklmnop")
            action = chance.choice(("come", "come", "go", "go", "join", "leave", "queue", "cancel"))
            if action == "come" and name not in peers:
                order = reference(manager, set(queued), left)
                full, there = len(manager.devices) == 8, name in manager.devices
                said = [SWITCH] if chance.random() < 0.5 else None
                peer = v1_device(manager, name, data="x" * chance.randrange(5), endpoints=said)
                if there or not full or order:
                    peers[name] = peer
                    left = [one for one in left if one != name]
                    queued.pop(name, None)  # it has them on its way
                if full and not there:
                    assert [one for one in left if one not in manager.devices] == order[:1]
                    assert (name in manager.devices) is bool(order)
                left = [one for one in left if one in manager.devices]
            elif action == "go" and name in peers:
                peers.pop(name).drop()
                left.append(name)
                if manager.durable_messages.waits(name):
                    queued[name] = []
            elif action == "join":
                manager.join(name, f"r{chance.randrange(3)}")
            elif action == "leave":
                manager.leave(name, f"r{chance.randrange(3)}")
            elif action == "queue" and name in left:
                result = manager.emit("x", 1, client_id=name, durable=True)
                queued.setdefault(name, []).append(result.delivery)
            elif action == "cancel" and name in left and name in queued:
                for delivery in queued.pop(name):
                    expire(manager, delivery)
                if manager.durable_messages.waits(name):
                    queued[name] = []
            devices = list(manager.devices.values())
            declared = {device.lasting.declaration for device in devices if device.lasting.declaration}
            bytes_said = sum(
                len(device.id) + len(device.type) + len(device.lasting.data) + sum(map(len, device.rooms))
                for device in devices
            )
            assert remembered.size == bytes_said + sum(map(len, declared))
            aside = remembered._set_aside
            assert remembered._free_size == sum(
                manager.devices[one].size for one in remembered._away if one not in aside
            )
            assert set(remembered._away) == set(left)
        for name in list(manager.devices):
            manager.forget(name)
        assert (remembered.size, remembered._free_size, remembered._declarations) == (0, 0, {})
