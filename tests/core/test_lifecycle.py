"""How connections begin and end for user code, on both kinds of lanes; and that under random interleavings."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from iotio import DisconnectReason, IoTClient, Options
from iotio.core.manager import Manager
from tests.support.hosts import eventually
from tests.support.lanes import DeviceEnd, LoopDevices, Scopes, ThreadDevices
from tests.support.lives import Kind, LateKind, together
from tests.support.memory import Clock, make_manager, v1_device

LANES = ["threads", "loop"]
ENDS_OF_THE_DEVICE = (DisconnectReason.CLIENT_CLOSE, DisconnectReason.TRANSPORT_CLOSED)


class World:
    """A manager with one device type, and devices on a kind of lane."""

    def __init__(self, kind: Kind, devices: Any, manager: Manager, scopes: Scopes) -> None:
        self.kind = kind
        kind.journal.is_inside = scopes.is_inside
        self.manager = manager
        self.scopes = scopes
        self._devices = devices
        self.made: list[DeviceEnd] = []

    def device(self, client_id: str = "d") -> DeviceEnd:
        made: DeviceEnd = self._devices.make(client_id, self.kind.type)
        self.made.append(made)
        return made

    def calls(self, one: DeviceEnd, client_id: str = "d") -> list[str]:
        return self.kind.journal.of(client_id, one.connection.epoch)

    def check_the_end(self) -> None:
        """Every connection has been torn down, and has left nothing behind."""
        eventually(lambda: all(one.connection.teardown_done.is_set for one in self.made))
        eventually(lambda: not self.manager.connections.all())
        assert self.manager.clients == []
        eventually(lambda: sorted(self.scopes.left) == sorted(self.scopes.entered))
        assert self.kind.journal.strays == []


@contextmanager
def world(lane: str, kind: Kind, **options: Any) -> Iterator[World]:
    manager, scopes = Manager(options=Options(**options)), Scopes()
    manager.add_type(kind)
    if lane == "threads":
        yield World(kind, ThreadDevices(manager, scopes), manager, scopes)
    else:
        with LoopDevices(manager, scopes) as devices:
            try:
                yield World(kind, devices, manager, scopes)
            finally:
                kind.gate.set()


def test_the_log_tells_who_comes_and_goes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio.connection")
    clock = Clock()
    manager = make_manager(Kind(), clock=clock)
    first = v1_device(manager, "d", Kind().type)
    clock.now += 185
    v1_device(manager, "d", Kind().type)
    first.drop()
    device = manager.devices["d"]
    clock.now += 2
    manager.remove("d")
    device.lasting.last_seen -= 7200
    third = v1_device(manager, "d", Kind().type)
    manager.close(0)
    third.drop()
    of = f"type {Kind().type!r}, protocol 1, from memory"
    assert caplog.messages == [
        f"device 'd' connected: {of}",
        "device 'd' disconnected after 3 min 5 s: a new connection with its id has taken its place",
        f"device 'd' came back before its old connection had ended: {of}",
        "device 'd' disconnected after 2.0 s: the program has closed its connection",
        f"device 'd' came back after 2 h 0 min: {of}",
        "device 'd' disconnected after 0.0 s: the server goes down",
    ]


@pytest.mark.parametrize("lane", LANES)
def test_a_life(lane: str) -> None:
    with world(lane, Kind()) as one:
        device = one.device()
        device.connect()
        eventually(lambda: one.manager.client("d") is not None)
        device.send(("work", 1), ("later", 2), ("work", 3))
        device.close()
        one.check_the_end()
        assert one.calls(device) == ["connect", "1", "2", "3", "disconnect client_close"]
        assert one.kind.journal.overlaps == []


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("kind", [Kind, LateKind])
def test_a_takeover_tears_the_earlier_one_down_first(lane: str, kind: type[Kind]) -> None:
    with world(lane, kind(pause=0.01)) as one:
        old, new = one.device(), one.device()
        old.connect()
        old.send(("work", 2), ("later", 2))
        new.connect()
        new.send(("work", 1))
        new.close()
        old.drop()
        one.check_the_end()
        calls = [what for _, what in one.kind.journal.calls["d"]]
        end = calls.index("disconnect takeover")
        assert calls[end + 1 :] == ["connect", "1", "disconnect client_close"]
        assert one.kind.journal.overlaps == []


@pytest.mark.parametrize("lane", LANES)
def test_teardown_is_claimed_once_by_many_threads(lane: str) -> None:
    with world(lane, Kind(pause=0.001)) as one:
        device = one.device()
        device.connect()
        together(
            *[device.connection.tear_down] * 4,
            *[lambda: device.connection.dismiss(DisconnectReason.REMOVED)] * 4,
        )
        device.drop()
        one.check_the_end()
        assert [call[:10] for call in one.calls(device)] == ["connect", "disconnect"]


@pytest.mark.parametrize("lane", LANES)
def test_a_handler_that_dismisses_its_own_device_ends_first(lane: str) -> None:
    class Own(Kind):
        def on_work(self, message: int, client: IoTClient) -> None:
            with self.journal.call(client, "work"):
                client.close()
                time.sleep(0.01)

        async def on_later(self, message: int, client: IoTClient) -> None:
            with self.journal.call(client, "later"):
                client.close()
                await asyncio.sleep(0.01)

    for event in ("work", "later"):
        with world(lane, Own()) as one:
            device = one.device()
            device.connect()
            device.send((event, 1), ("work", 2))
            device.drop()
            one.check_the_end()
            assert one.calls(device) == ["connect", event, "disconnect removed"]
            assert one.kind.journal.overlaps == []


@pytest.mark.parametrize("lane", LANES)
def test_a_stuck_handler_is_abandoned_and_holds_up_nobody(lane: str, caplog: pytest.LogCaptureFixture) -> None:
    with world(lane, Kind(), takeover_timeout=0.3) as one:
        old, new, other = one.device(), one.device(), one.device("other")
        old.connect()
        stuck = threading.Thread(target=old.send, args=(("stuck", 0), ("work", 1)))
        stuck.start()
        assert one.kind.entered.wait(5)
        began = time.monotonic()
        other.connect()
        other.send(("work", 1))
        eventually(lambda: one.calls(other, "other") == ["connect", "1"])
        assert time.monotonic() - began < 0.3
        new.connect()
        new.send(("work", 2))
        eventually(lambda: one.calls(new) == ["connect", "2"])
        assert one.calls(old) == ["connect", "stuck", "disconnect takeover"]
        assert caplog.text.count("it is not waited for any longer") == 1
        assert len(one.scopes.left) == 0, "the stuck handler is still inside"
        one.kind.gate.set()
        stuck.join(5)
        for device in (old, new, other):
            device.drop()
        one.check_the_end()
        assert one.calls(old) == ["connect", "stuck", "disconnect takeover"]


@pytest.mark.parametrize("lane", LANES)
def test_a_connection_that_is_abandoned_in_its_on_connect(lane: str) -> None:
    class Slow(Kind):
        def on_connect(self, client: IoTClient) -> None:
            super().on_connect(client)
            if not self.entered.is_set():
                self.entered.set()
                assert self.gate.wait(20)

    with world(lane, Slow(), takeover_timeout=0.2) as one:
        old, new = one.device(), one.device()
        thread = threading.Thread(target=old.connect)
        thread.start()
        assert one.kind.entered.wait(5)
        new.connect()
        eventually(lambda: one.calls(new) == ["connect"])
        assert one.calls(old) == ["connect", "disconnect takeover"]
        one.kind.gate.set()
        thread.join(5)
        for device in (old, new):
            device.drop()
        one.check_the_end()
        assert one.calls(old) == ["connect", "disconnect takeover"]


@pytest.mark.parametrize("lane", LANES)
def test_the_middle_one_of_three_is_never_greeted(lane: str) -> None:
    with world(lane, Kind(), takeover_timeout=5) as one:
        first, second, third = one.device(), one.device(), one.device()
        first.connect()
        threads = [threading.Thread(target=first.send, args=(("stuck", 0),))]
        threads[0].start()
        assert one.kind.entered.wait(5)
        for device in (second, third):
            thread = threading.Thread(target=device.connect)
            thread.start()
            threads.append(thread)
            eventually(lambda device=device: one.manager.client("d") is device.connection.client)
        one.kind.gate.set()
        for thread in threads:
            thread.join(5)
        eventually(lambda: one.calls(third) == ["connect"])
        assert one.calls(second) == []
        assert one.calls(first) == ["connect", "stuck", "disconnect takeover"]
        for device in (first, second, third):
            device.drop()
        one.check_the_end()


@pytest.mark.parametrize("lane", LANES)
def test_a_shutdown_before_on_connect_owes_no_on_disconnect(lane: str) -> None:
    with world(lane, Kind(), takeover_timeout=5) as one:
        old, new = one.device(), one.device()
        old.connect()
        stuck = threading.Thread(target=old.send, args=(("stuck", 0),))
        stuck.start()
        assert one.kind.entered.wait(5)
        thread = threading.Thread(target=new.connect)
        thread.start()
        eventually(lambda: one.manager.client("d") is new.connection.client)
        new.connection.close(DisconnectReason.SERVER_SHUTDOWN)
        one.kind.gate.set()
        stuck.join(5)
        thread.join(5)
        for device in (old, new):
            device.drop()
        one.check_the_end()
        assert one.calls(new) == []


# Random interleavings.


def check(one: World, sent: dict[DeviceEnd, tuple[str, int]]) -> None:
    """Check the promises of a lifecycle, for all connections of a run."""
    journal = one.kind.journal
    for device, (client_id, count) in sent.items():
        calls = one.calls(device, client_id)
        if not calls:
            continue  # never greeted: another one was quicker
        connects = [call for call in calls if call == "connect"]
        ends = [call for call in calls if call.startswith("disconnect")]
        assert len(connects) == len(ends) == 1, calls
        events = [int(call) for call in calls[1:-1]]
        assert events == list(range(len(events))), "in order, each once"
        if ends[0].split()[1] in ENDS_OF_THE_DEVICE:
            assert len(events) == count, "what came before the device's own end is handled"
    journal.check()


def live(one: World, device: DeviceEnd, client_id: str, seed: int, sent: dict[DeviceEnd, tuple[str, int]]) -> None:
    """One connection of a device: it comes, says this and that, and goes in some way."""
    choose = random.Random(seed)
    count = choose.randrange(6)
    sent[device] = client_id, count
    device.connect()
    number = 0
    while number < count:
        some = range(number, min(count, number + choose.randint(1, 3)))
        device.send(*((choose.choice(("work", "later")), each) for each in some))
        number = some.stop
    for _ in range(choose.randrange(2)):
        time.sleep(0.002)
    how = choose.random()
    if how < 0.2:
        one.manager.remove(client_id)
    elif how < 0.3:
        device.connection.close(DisconnectReason.BACKPRESSURE)
    elif how < 0.4:
        device.connection.tear_down()
    if choose.random() < 0.5:
        device.close()
    device.drop()


def both_lanes(kind: Kind, **options: Any) -> Any:
    """A manager whose devices come on either kind of lane, at random."""

    @contextmanager
    def made(seed: int) -> Iterator[World]:
        manager, scopes, choose = Manager(options=Options(**options)), Scopes(), random.Random(seed)
        manager.add_type(kind)
        threads = ThreadDevices(manager, scopes)
        with LoopDevices(manager, scopes) as loop:

            class Both:
                def make(self, client_id: str, client_type: str) -> DeviceEnd:
                    return choose.choice((threads, loop)).make(client_id, client_type)

            try:
                yield World(kind, Both(), manager, scopes)
            finally:
                kind.gate.set()

    return made


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", [Kind, LateKind])
@pytest.mark.parametrize("lane", [*LANES, "both"])
def test_promises_hold_whatever_happens_at_once(lane: str, kind: type[Kind], seed: int) -> None:
    made, options = kind(pause=0.001), {"takeover_timeout": 20.0, "refusal_delay": 0.0}
    opened = both_lanes(made, **options)(seed) if lane == "both" else world(lane, made, **options)
    with opened as one:
        sent: dict[DeviceEnd, tuple[str, int]] = {}
        plan = [(f"d{number % 2}", number) for number in range(10)]
        random.Random(seed).shuffle(plan)
        devices = [(one.device(client_id), client_id, number) for client_id, number in plan]
        together(
            *(
                lambda device=device, client_id=client_id, number=number: live(
                    one, device, client_id, 1000 * seed + number, sent
                )
                for device, client_id, number in devices
            )
        )
        one.check_the_end()
        check(one, sent)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lane", [*LANES, "both"])
def test_promises_that_hold_when_handlers_are_abandoned(lane: str, seed: int) -> None:
    """Each connection gets stuck; the next one of its id does not wait for it longer than it must."""
    made, options = Kind(), {"takeover_timeout": 0.15, "refusal_delay": 0.0}
    opened = both_lanes(made, **options)(seed) if lane == "both" else world(lane, made, **options)
    with opened as one:
        devices = [one.device() for _ in range(4)]
        threads = []
        for device in devices:
            device.connect()
            eventually(lambda device=device: one.calls(device) == ["connect"])
            made.entered.clear()
            thread = threading.Thread(target=device.send, args=(("stuck", 0), ("work", 1)))
            thread.start()
            threads.append(thread)
            assert made.entered.wait(5)
        made.gate.set()
        for thread in threads:
            thread.join(10)
        for device in devices:
            device.drop()
        one.check_the_end()
        for device in devices[:-1]:
            assert one.calls(device) == ["connect", "stuck", "disconnect takeover"]
        assert one.calls(devices[-1]) == ["connect", "stuck", "1", "disconnect transport_closed"]
