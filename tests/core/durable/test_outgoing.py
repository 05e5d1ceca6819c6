"""Messages to a device, as the bytes on the wire show them."""

from __future__ import annotations

from typing import Any

import pytest

from iotio.core.durable.delivery import DeliveryState
from iotio.core.manager import Manager
from iotio_protocol import v1, v2
from tests.core.durable.lamps import Lamp, away, connect, emit
from tests.support.memory import Clock, Device, make_manager, v0_device, v1_device
from tests.support.wire import Opcode

QUEUED, SENT, DONE = DeliveryState.QUEUED, DeliveryState.SENT, DeliveryState.DONE
ACKNOWLEDGED, EXPIRED, DROPPED = DeliveryState.ACKNOWLEDGED, DeliveryState.EXPIRED, DeliveryState.DROPPED


def test_bytes_of_a_message(manager: Manager, wall: Clock) -> None:
    device = connect(manager)
    wall.now = 1.5
    delivery = emit(manager, True)
    head = b"\x01\x18" + (1).to_bytes(8, "big") + bytes(8) + (1500).to_bytes(8, "big")
    assert device.frames() == [(Opcode.BINARY, head + b"\0\x03set" + b"\0\0\0\x01\x01")]
    assert delivery.state is SENT
    device.packet(b"\x12\0\0\0\0\0\0\x08" + (1).to_bytes(8, "big"))
    assert delivery.state is DONE
    assert manager.durable_messages.waiting == 0
    assert manager.delivery(delivery.id) is None


def test_in_order_on_resume_and_once(manager: Manager) -> None:
    stream = away(manager)
    kept = [emit(manager, number) for number in range(4)]
    assert [one.state for one in kept] == [QUEUED] * 4
    device = connect(manager)
    assert device.messages() == [(0, 1, "set", 0), (1, 2, "set", 1), (2, 3, "set", 2), (3, 4, "set", 3)]
    device.ack(2)
    device.drop()
    assert [one.state for one in kept] == [DONE, DONE, QUEUED, QUEUED]
    device = connect(manager, heard={"stream": stream, "upto": 3})  # the ACK of 3 was lost
    assert device.messages() == [(3, 4, "set", 3)]
    assert [one.state for one in kept] == [DONE, DONE, DONE, SENT]


def test_who_knows_nothing_gets_all(manager: Manager) -> None:
    away(manager)
    emit(manager, 0)
    for heard in (None, {"stream": "another", "upto": 7}):
        device = connect(manager, heard=heard)
        assert device.messages() == [(0, 1, "set", 0)]
        device.drop()


def test_at_most_1000_are_on_their_way(lamp: Lamp) -> None:
    manager = make_manager(lamp, max_queued=2000)
    device = connect(manager)
    kept = [emit(manager, number) for number in range(1002)]
    assert [number for _, number, _, _ in device.messages()] == list(range(1, 1001))
    assert [one.state for one in kept[999:]] == [SENT, QUEUED, QUEUED]
    device.ack(1)
    assert device.messages() == [(1000, 1001, "set", 1000)]


def test_ack_of_what_was_never_sent(manager: Manager) -> None:
    device = connect(manager)
    delivery = emit(manager, 1)
    device.messages()
    device.ack(2)
    (problem,) = device.decoded()
    assert isinstance(problem, v2.Problem)
    assert problem.error == "client_invalid_packet"
    assert delivery.state is SENT


YEAR = 365 * 86400.0


@pytest.mark.parametrize("jump", [0.0, YEAR, -YEAR])
def test_the_time_to_live(manager: Manager, wall: Clock, clock: Clock, jump: float) -> None:
    """The date may be set meanwhile."""
    wall.now = 10 * YEAR
    stream = away(manager)
    late, later = emit(manager, 1, ttl=5), emit(manager, 2)
    wall.now += jump
    manager.durable_messages.sweep()
    assert late.state is QUEUED
    clock.now += 5
    assert late.state is QUEUED
    device = connect(manager, heard={"stream": stream, "upto": 0})
    assert device.messages() == [(0, 2, "set", 2)]  # no gap
    assert (late.state, later.state) == (EXPIRED, SENT)
    on_its_way = emit(manager, 3, ttl=5)
    device.messages()
    clock.now += 5
    manager.durable_messages.sweep()
    assert on_its_way.state is SENT
    device.drop()
    manager.durable_messages.sweep()
    assert on_its_way.state is QUEUED
    clock.now += 5
    manager.durable_messages.sweep()
    assert on_its_way.state is EXPIRED
    assert manager.durable_messages.waiting == 1


def test_a_message_takes_the_place_of_an_earlier_one(manager: Manager) -> None:
    away(manager)
    first, other, second = (emit(manager, number, coalesce=word) for number, word in enumerate(("t", "u", "t")))
    assert (first.state, first.reason) == (DROPPED, f"replaced by {second.id}")
    device = connect(manager)
    assert device.messages() == [(0, 2, "set", 1), (2, 3, "set", 2)]
    third = emit(manager, 3, coalesce="t")  # what was sent stays
    assert device.messages() == [(3, 4, "set", 3)]
    assert [one.state for one in (other, second, third)] == [SENT] * 3


def test_what_may_wait_is_bounded(lamp: Lamp) -> None:
    manager = make_manager(lamp, max_queued=2, max_queued_bytes=20)
    away(manager)
    emit(manager, "x", coalesce="t")
    emit(manager, "x", coalesce="u")
    refused = manager.emit("set", "x", client_id="d", durable=True)
    assert not refused
    assert refused.dropped == {"d": "2 messages wait for the device already (max_queued)"}
    assert emit(manager, "y", coalesce="t").state is QUEUED  # it takes a place, and needs none
    refused = manager.emit("set", "x" * 20, client_id="d", durable=True, coalesce="t")
    assert refused.dropped == {"d": "more than 20 bytes would wait for the device (max_queued_bytes)"}
    assert [one[3] for one in connect(manager).messages()] == ["x", "y"]


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "drop_newest"])
def test_a_slow_reader_loses_nothing(lamp: Lamp, policy: str) -> None:
    manager = make_manager(lamp, max_outbox=1000, slow_reader=policy)
    device = connect(manager, room=100)
    kept = [emit(manager, "x" * 100) for _ in range(20)]
    states = [one.state for one in kept]
    assert 2 < states.count(SENT) < 6
    numbers = []
    while found := device.messages():
        numbers += [number for _, number, _, _ in found]
        manager.durable_messages.sweep()
    assert numbers == list(range(1, 21))
    assert device.connection.is_open
    assert {one.state for one in kept} == {SENT}


def test_a_full_outbox_makes_a_durable_message_wait(lamp: Lamp) -> None:
    manager = make_manager(lamp, max_outbox=1000, slow_reader="drop_newest")
    device = connect(manager, room=0)
    while manager.emit("fill", "x" * 100, client_id="d"):
        pass
    delivery = emit(manager, 1)
    assert delivery.state is QUEUED
    device.decoded()
    manager.durable_messages.sweep()
    assert device.messages() == [(0, 1, "set", 1)]
    assert device.connection.n_dropped == 1


def test_durable_ones_on_their_way_are_not_dropped_for_others(lamp: Lamp) -> None:
    """Rather the connection ends, and the next one brings them."""
    manager = make_manager(lamp, max_outbox=1000, slow_reader="drop_oldest")
    device = connect(manager, room=0)
    delivery = emit(manager, 1)
    while manager.emit("fill", "x" * 100, client_id="d"):
        pass
    assert not device.connection.is_open
    device.drop()
    assert delivery.state is QUEUED
    assert connect(manager).messages() == [(0, 1, "set", 1)]


def test_an_old_connection_cannot_take_the_queue_back(manager: Manager) -> None:
    old = connect(manager)
    delivery = emit(manager, 1)
    new = connect(manager)
    assert old.connection.durable is not None
    old.connection.durable.resume()
    old.ack(1)
    assert delivery.state is SENT
    assert new.messages() == [(0, 1, "set", 1)]
    new.ack(1)
    assert delivery.state is DONE


def test_a_number_that_no_stream_can_reach(manager: Manager) -> None:
    stream = away(manager)
    device = connect(manager, heard={"stream": stream, "upto": v2.MAX_NUMBER})
    emit(manager, 1)
    assert device.messages() == [(0, 1, "set", 1)]


def test_a_number_that_the_server_has_forgotten(manager: Manager) -> None:
    """Its store is of an older date."""
    stream = away(manager)
    device = connect(manager, heard={"stream": stream, "upto": 7})
    emit(manager, 1)
    assert device.messages() == [(7, 8, "set", 1)]


# -- v0 and v1 -------------------------------------------------------------------------------------------


def old_device(manager: Manager, version: int) -> Device:
    return v1_device(manager, "d", "lamp") if version else v0_device(manager, "d", "lamp")


def ping(number: int) -> tuple[int, bytes]:
    return Opcode.PING, number.to_bytes(4, "big")


def event(version: int, value: Any) -> tuple[int, bytes]:
    if version:
        return Opcode.BINARY, v1.encode("set", value)
    return Opcode.TEXT, b'{"event": "set", "message": ' + f'"{value}"'.encode() + b"}"


@pytest.mark.parametrize("version", [0, 1])
def test_devices_without_acknowledgements(manager: Manager, version: int) -> None:
    old_device(manager, version).drop()
    kept = [emit(manager, value) for value in ("a", "b")]
    device = old_device(manager, version)
    first = device.frames()
    assert first[-1] == ping(1)
    assert len(first) == 3
    assert [one.state for one in kept] == [SENT, SENT]
    device.drop()  # before the pong: they may have been read
    assert [one.state for one in kept] == [QUEUED, QUEUED]
    device = old_device(manager, version)
    assert device.frames() == first
    more = emit(manager, "c")
    assert device.frames()[-1] == ping(2)
    device.frame(Opcode.PONG, ping(1)[1])
    assert [one.state for one in (*kept, more)] == [ACKNOWLEDGED, ACKNOWLEDGED, SENT]
    device.frame(Opcode.PONG, ping(2)[1])
    assert more.state is ACKNOWLEDGED
    assert manager.durable_messages.waiting == 0


def test_the_bytes_of_v1(manager: Manager) -> None:
    device = v1_device(manager, "d", "lamp")
    emit(manager, "a")
    assert device.frames() == [(Opcode.BINARY, v1.encode("set", "a")), ping(1)]


def test_what_a_version_cannot_carry(manager: Manager) -> None:
    v1_device(manager, "d", "lamp").drop()
    lost, kept = emit(manager, 21.5), emit(manager, 1)
    v1_device(manager, "d", "lamp")
    assert lost.state is DROPPED
    assert "float" in lost.reason
    assert kept.state is SENT


def test_a_probe_ends_no_connection_without_pings(lamp: Lamp) -> None:
    clock = Clock()
    manager = make_manager(lamp, clock=clock, ping_interval=0)
    device = v1_device(manager, "d", "lamp")
    delivery = emit(manager, 1)
    clock.now += 1000
    manager.sweep(clock.now)
    device.connection.advance()
    assert device.connection.is_open
    device.frame(Opcode.PONG, ping(1)[1])
    assert delivery.state is ACKNOWLEDGED


def test_a_message_of_on_connect_is_sent_once(manager: Manager) -> None:
    device = v1_device(manager, "d", "lamp", "greet")
    assert device.frames() == [(Opcode.BINARY, v1.encode("hello", 1)), ping(1)]
    device.drop()
    assert connect(manager, data="greet").messages() == [(0, 1, "hello", 1), (1, 2, "hello", 1)]


# What the device takes.


def test_a_message_over_what_the_device_takes_is_not_kept(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    device = connect(manager, max_payload=8)
    kept = emit(manager, "12345678")
    for _ in ("connected", "away"):
        refused = manager.emit("set", "123456789", client_id="d", durable=True)
        assert (refused.dropped, refused.deliveries, bool(refused)) == ({"d": "too_large"}, {}, False)
        device.drop()
    assert (kept.state, manager.durable_messages.waiting) == (QUEUED, 1)
    assert "durable 'set' for device 'd' is dropped: the device takes 8 bytes for a value" in caplog.text
    device = connect(manager)  # it says nothing of it any more
    emit(manager, "123456789")
    assert [number for _, number, *_ in device.messages()] == [1, 2]


def test_what_waits_is_judged_anew_with_each_hello(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    stream = away(manager)
    large, small = emit(manager, "x" * 100), emit(manager, "x")
    device = connect(manager, heard={"stream": stream, "upto": 0}, max_payload=99)
    assert device.messages() == [(0, 2, "set", "x")]
    assert (large.state, large.reason, small.state) == (DROPPED, "too_large", SENT)
    assert len([record for record in caplog.records if "this one has 100" in record.message]) == 1
    device.ack(2)
    assert small.state is DONE


def test_an_earlier_program_of_the_device_says_nothing(manager: Manager) -> None:
    connect(manager, max_payload=1).drop()
    v1_device(manager, "d", "lamp").drop()
    assert emit(manager, "x" * 10).state is QUEUED


@pytest.mark.parametrize(("most", "sent"), [(1, 1), (3, 3), (5000, 4)])
def test_no_more_are_on_their_way_than_the_device_takes(manager: Manager, most: int, sent: int) -> None:
    device = connect(manager, max_unacknowledged=most)
    for number in range(4):
        emit(manager, number)
    numbers = [number for _, number, *_ in device.messages()]
    assert numbers == list(range(1, sent + 1))
    device.ack(1)
    assert [number for _, number, *_ in device.messages()] == [sent + 1][: 4 - sent]


def too_big(device: Device) -> None:
    """The device closes since a message was too big for it."""
    device.close(1009)
    device.drop()


def test_the_third_closing_behind_a_message_drops_it(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    away(manager)
    large = emit(manager, "large")
    for _ in range(3):
        assert large.state is QUEUED
        device = connect(manager)
        assert device.messages() == [(0, 1, "set", "large")]
        too_big(device)
    assert (large.state, large.reason) == (DROPPED, "too_large")
    assert "the device has closed 3 connections right behind it as too big" in caplog.text
    assert manager.durable_messages.waiting == 0


def test_who_is_too_big_is_found_among_many(manager: Manager) -> None:
    stream = away(manager)
    good = [emit(manager, number) for number in range(3)]
    large = emit(manager, "large")
    behind = emit(manager, "behind")
    device = connect(manager, heard={"stream": stream, "upto": 0})
    assert len(device.messages()) == 5
    too_big(device)  # at the fourth, and nobody knows it
    upto = 0
    for _ in range(3):
        device = connect(manager, heard={"stream": stream, "upto": upto})
        while (number := device.messages()[0][1]) != large.number:
            device.ack(number)
            upto = number
        assert (upto, large.state) == (3, SENT)
        too_big(device)
    assert [one.state for one in (*good, large, behind)] == [DONE, DONE, DONE, DROPPED, QUEUED]
    device = connect(manager, heard={"stream": stream, "upto": upto})
    assert device.messages() == [(3, 5, "set", "behind")]
    device.ack(5)
    for number in range(3):
        emit(manager, number)
    assert len(device.messages()) == 3, "many at a time again"


def test_what_goes_out_behind_it_may_be_what_was_too_big(manager: Manager) -> None:
    away(manager)
    kept = emit(manager, "small")
    for _ in range(5):
        device = connect(manager)
        manager.emit("big", "x" * 1000, client_id="d")
        too_big(device)
    assert kept.state is QUEUED
    for _ in range(2):
        too_big(connect(manager))
    connect(manager).close()  # no reason
    assert kept.state is QUEUED
    too_big(connect(manager))
    assert kept.state is DROPPED


def test_the_server_has_closed_before(manager: Manager) -> None:
    away(manager)
    kept = emit(manager, "small")
    for _ in range(4):
        device = connect(manager)
        manager.remove("d")
        too_big(device)
    assert kept.state is QUEUED
