"""What an event of a session asks for."""

from __future__ import annotations

import logging
from typing import Any, get_args
from unittest.mock import ANY

import pytest

from iotio import DisconnectReason, IoTClient
from iotio.core import dispatch
from iotio.core.dispatch import step_of
from iotio.core.durable.delivery import DeliveryState
from iotio.core.lane import Kind
from iotio.hosts.memory import connect
from iotio_protocol import v1, v2
from iotio_protocol.session import Ended, Event, Packet
from tests.support.memory import Device, make_manager, v1_device
from tests.support.memory import v2_device as greeted
from tests.support.wire import Opcode

from .log import Log

# Order of life.


def test_an_event_without_a_handler_is_counted_and_logged(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "iotio")
    device = v1_device(make_manager(log))
    for event in ("nosuch", "connect", "disconnect", "", "__class__", "event", "nosuch"):
        device.send(event)
    assert device.connection.counters["unhandled"] == 7
    assert "device 'd1' sent event 'nosuch', type 'echo' has no handler" in caplog.text
    assert log.calls == ["connect"], "on_connect and on_disconnect are nobody's to call"


def test_an_event_without_a_handler_is_named_once_for_its_type(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iotio")
    manager = make_manager(log)
    for name in ("d1", "d2"):
        device = v1_device(manager, name)
        for event in ("ecko", "ecko", "nosuch", "connect", "no such"):
            device.send(event)
    assert [line for line in caplog.messages if line.startswith("no handler")] == [
        "no handler of type 'echo' takes the event 'ecko' of device 'd1': on_echo exists; did you mean on_ecko?",
        "no handler of type 'echo' takes the event 'nosuch' of device 'd1': on_nosuch would take it",
        *(
            f"no handler of type 'echo' takes the event '{event}' of device 'd1':"
            " on_event(self, event, data, client) would take it"
            for event in ("connect", "no such")
        ),
    ]
    for number in range(200):
        device.send(f"e{number}")
    assert device.connection.handlers is not None
    assert len(device.connection.handlers.unhandled) == 100


def test_an_event_without_a_handler_costs_nothing_where_nobody_reads_of_it(log: Log) -> None:
    device = v1_device(make_manager(log))
    device.send("nosuch")
    assert device.connection.handlers is not None
    assert device.connection.handlers.unhandled == set()


def test_on_event_takes_the_rest() -> None:
    class Rest(Log):
        def on_event(self, event: str, data: Any, client: IoTClient) -> Any:
            return f"{event} of {client.id}", data

    device = v1_device(make_manager(Rest()))
    for event in ("echo", "nosuch", "connect", "event"):
        device.send(event, 1)
    assert device.packets() == [("echo", 1), ("nosuch of d1", 1), ("connect of d1", 1), ("event of d1", 1)]


def test_an_invalid_packet_is_counted_and_the_first_is_logged_as_a_warning(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    device = v1_device(make_manager(log))
    for _ in range(3):
        device.frame(Opcode.BINARY, b"\x09")
    assert device.connection.counters["invalid"] == 3
    assert [packet[1]["error"] for packet in device.packets()] == ["client_invalid_packet"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "device 'd1' sent an invalid packet: " in caplog.text


def large_json(body: bytes) -> bytes:
    return body.ljust(1000)


class AsyncToo(Log):
    async def on_aecho(self, message: Any, client: IoTClient) -> Any:
        return message


@pytest.mark.parametrize("event", ["echo", "aecho"])
def test_large_json_is_read_when_its_turn_comes(event: str, caplog: pytest.LogCaptureFixture) -> None:
    device = v1_device(make_manager(AsyncToo()))
    for body in (b"[1]", b"[1", b"[2]"):
        packet = bytes((4, 0, len(event))) + event.encode() + (1000).to_bytes(4, "big") + large_json(body)
        device.frame(Opcode.BINARY, packet)
    first, invalid, second = device.packets()
    assert [first, second] == [(event, [1]), (event, [2])]
    assert (invalid[0], invalid[1]["error"]) == ("error", "client_invalid_packet")
    assert "the value is not JSON" in invalid[1]["info"]["problem"]
    counters = device.connection.counters
    assert (counters["received"], counters["invalid"]) == (2, 1)
    assert "device 'd1' sent an invalid packet: the value is not JSON" in caplog.text


def test_a_durable_message_that_is_no_json_is_dropped_and_acknowledged(log: Log) -> None:
    device = greeted(make_manager(log), sends="s")
    for number, body in ((1, b"[1]"), (2, b"[1"), (3, b"[2]")):
        packet = v2.encode_head(4, "echo", v2.DURABLE, number=number, previous=number - 1)
        device.packet(packet + (1000).to_bytes(4, "big") + large_json(body))
    answers = [answer for answer in device.decoded() if not isinstance(answer, v2.Packet)]
    assert answers == [v2.Ack(1), v2.Problem("client_invalid_packet", ANY), v2.Ack(2), v2.Ack(3)]
    assert log.calls == ["connect", [1], [2]]


HEAVY = [[number] for number in range(10_000)]  # more than 64 KiB: what is written in pieces


class Heavy(Log):
    """Answers with what is heavy."""

    async def on_aecho(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_tuple(self, message: Any, client: IoTClient) -> Any:
        return "other", {"got": message}

    async def on_atuple(self, message: Any, client: IoTClient) -> Any:
        return "other", {"got": message}

    def on_no_json(self, message: Any, client: IoTClient) -> Any:
        return {"got": message, "set": {1}}

    def on_no_value(self, message: Any, client: IoTClient) -> Any:
        return {1, *range(5000)}


@pytest.mark.parametrize("protocol", [v1, v2])
@pytest.mark.parametrize("prefix", ["", "a"])
def test_a_heavy_answer_has_the_bytes_of_a_light_one(protocol: Any, prefix: str) -> None:
    device = (v1_device if protocol is v1 else greeted)(make_manager(Heavy()))
    told: list[Any] = []
    setattr(device.connection.manager.callbacks._source, "on_update", lambda *what: told.append(what))  # noqa: B010
    text = "\u00e9" * 20
    for event in ("echo", "tuple"):
        device.frame(Opcode.BINARY, protocol.encode(prefix + event, [text, HEAVY]))
    answers = [(f"{prefix}echo", [text, HEAVY]), ("other", {"got": [text, HEAVY]})]
    assert [payload for _, payload in device.frames()] == [protocol.encode(*answer) for answer in answers]
    assert told == [(device.connection.name, *answer) for answer in answers]


def test_a_heavy_answer_that_is_no_json_is_told_as_a_light_one(caplog: pytest.LogCaptureFixture) -> None:
    device = v1_device(make_manager(Heavy()))
    device.send("no_json", HEAVY)
    device.send("no_value", HEAVY)
    assert device.packets() == []
    assert "the answer of handler on_no_json, type 'echo', device 'd1', cannot be sent" in caplog.text
    assert "a dict must be JSON to be sent: Object of type set is not JSON serializable" in caplog.text
    assert "a value of type set cannot be sent with protocol v1" in caplog.text


def test_a_call_with_a_heavy_answer() -> None:
    device = greeted(make_manager(Heavy()))
    for event in ("echo", "aecho"):
        device.packet(v2.encode(event, HEAVY, v2.CALL, call=7))
        assert device.decoded() == [v2.Packet("", HEAVY, v2.RESULT, 7)]


@pytest.mark.parametrize("event", ["echo", "aecho"])
def test_a_durable_message_with_heavy_json(event: str) -> None:
    device = greeted(make_manager(Heavy()), sends="s")
    device.packet(v2.encode(event, HEAVY, v2.DURABLE, number=1))
    assert device.decoded() == [v2.Ack(1), v2.Packet(event, HEAVY)]


def test_a_call_with_large_json(log: Log) -> None:
    device = greeted(make_manager(log))
    device.packet(v2.encode("echo", ["x" * 1000], v2.CALL, call=7))
    assert device.decoded() == [v2.Packet("", ["x" * 1000], v2.RESULT, 7)]


# step_of, by itself.


def v2_device(log: Log, **fields: Any) -> Device:
    """A v2 device that has introduced itself."""
    device = Device(connect(make_manager(log), subprotocol=v2.SUBPROTOCOL))
    device.frame(Opcode.BINARY, v2.encode_json(v2.HELLO, {"id": "d1", "type": "echo", **fields}))
    device.frames()
    log.calls.clear()
    return device


def test_every_event_of_a_session_has_its_place() -> None:
    assert set(dispatch._BY_CLASS) == set(get_args(Event))


def test_a_step_has_the_handler_and_its_arguments(log: Log) -> None:
    device = v2_device(log)
    step = step_of(device.connection, Packet("echo", 5))
    assert step is not None
    assert (step.kind, step.is_async) == (Kind.EVENT, False)
    ((event, function, arguments, _),) = step.calls
    assert (event, function, arguments) == ("echo", log.on_echo, (5, device.connection.client))
    assert log.calls == [], "it is not run yet"


def test_a_call_of_an_async_def_is_a_step_of_the_loop() -> None:
    class Async(Log):
        async def on_wait(self, message: Any, client: IoTClient) -> Any:
            return message

    device = v2_device(Async())
    for flags in (v2.CALL, v2.TIME):
        step = step_of(device.connection, v2.Packet("wait", 1, flags, call=3))
        assert step is not None
        assert step.is_async


def test_a_call_without_a_handler_is_answered_at_once(log: Log) -> None:
    device = v2_device(log)
    assert step_of(device.connection, v2.Packet("nosuch", 1, v2.CALL, call=3)) is None
    ((_, payload),) = device.frames()
    packet = v2.decode(payload)
    assert isinstance(packet, v2.Packet)
    assert (packet.flags, packet.call) == (v2.FAILURE, 3)


def test_a_message_of_another_time_without_a_handler_is_dropped(log: Log) -> None:
    device = v2_device(log)
    assert step_of(device.connection, v2.Packet("nosuch", 1, v2.TIME, time=5)) is None
    assert device.frames() == []


def test_a_durable_message_without_a_handler_is_taken(log: Log) -> None:
    device = v2_device(log, sends="s")
    device.frame(Opcode.BINARY, v2.encode("nosuch", 1, v2.DURABLE, number=1, previous=0))
    ((_, payload),) = device.frames()
    assert v2.decode(payload) == v2.Ack(1)


def test_a_durable_message_needs_a_stream(log: Log) -> None:
    device = v2_device(log)
    assert step_of(device.connection, v2.Packet("echo", 1, v2.DURABLE, number=1)) is None
    ((_, payload),) = device.frames()
    assert isinstance(v2.decode(payload), v2.Problem)
    assert device.connection.counters["invalid"] == 1


def test_nothing_is_run_once_the_server_has_closed(log: Log) -> None:
    device = v2_device(log)
    device.connection.close(DisconnectReason.REMOVED)
    assert step_of(device.connection, Packet("echo", 5)) is None
    assert step_of(device.connection, v2.Packet("echo", 5, v2.CALL, call=1)) is None
    assert device.connection.counters["received"] == 0


def test_what_a_device_says_of_itself(log: Log) -> None:
    device = v2_device(log)
    assert device.connection.client is not None
    lasting = device.connection.client.device
    assert lasting is not None
    assert step_of(device.connection, v2.Sleep(60)) is None
    device.drop()
    assert lasting.presence == "sleeping"


def test_a_problem_is_logged(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    device = v2_device(log)
    assert step_of(device.connection, v2.Problem("bad_thing", {"why": "no idea"})) is None
    assert "device 'd1' reports the problem bad_thing: {'why': 'no idea'}" in caplog.text


def test_an_acknowledgement_of_what_was_never_sent_is_invalid(log: Log) -> None:
    device = v2_device(log, sends="s")
    assert step_of(device.connection, v2.Ack(5)) is None
    ((_, payload),) = device.frames()
    assert isinstance(v2.decode(payload), v2.Problem)
    assert device.connection.counters["invalid"] == 1
    assert device.connection.is_open


def test_an_acknowledgement_settles_what_was_sent(log: Log) -> None:
    device = v2_device(log)
    result = device.connection.manager.emit("x", 1, "d1", durable=True)
    ((_, payload),) = device.frames()
    packet = v2.decode(payload)
    assert isinstance(packet, v2.Packet)
    delivery = result.deliveries["d1"]
    before = delivery.state
    assert step_of(device.connection, v2.Ack(packet.number)) is None
    assert (before, delivery.state) == (DeliveryState.SENT, DeliveryState.DONE)


def test_an_acknowledgement_before_there_is_anything_durable_is_nothing(log: Log) -> None:
    device = v1_device(make_manager(log))
    assert step_of(device.connection, v2.Ack(5)) is None
    assert device.connection.counters["invalid"] == 0


def test_a_farewell_makes_a_device_offline_when_it_has_gone(log: Log) -> None:
    device = v2_device(log)
    assert device.connection.client is not None
    lasting = device.connection.client.device
    assert lasting is not None
    assert step_of(device.connection, v2.Goodbye("off for the winter")) is None
    before = lasting.presence
    device.drop()
    assert (before, lasting.presence) == ("online", "offline")


@pytest.mark.parametrize(("seconds", "presence"), [(60, "sleeping"), (0, "offline")])
def test_a_goodbye_behind_a_sleep_changes_nothing(log: Log, seconds: int, presence: str) -> None:
    device = v2_device(log)
    assert device.connection.client is not None
    lasting = device.connection.client.device
    assert lasting is not None
    step_of(device.connection, v2.Sleep(60))
    step_of(device.connection, v2.Sleep(seconds))
    step_of(device.connection, v2.Goodbye("sleep"))
    device.drop()
    assert lasting.presence == presence


def test_an_answer_to_no_call_is_dropped(log: Log) -> None:
    device = v2_device(log)
    for flags in (v2.RESULT, v2.FAILURE):
        assert step_of(device.connection, v2.Packet("", "late", flags, call=7)) is None
    assert device.frames() == []
    assert log.calls == []


def test_a_broken_rule_of_websocket_is_logged_and_another_end_is_not(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    device = v2_device(log)
    for reason in DisconnectReason:
        assert step_of(device.connection, Ended(reason, "a reserved bit is set")) is None
    assert [record.getMessage() for record in caplog.records] == [
        "device 'd1' broke a WebSocket rule: a reserved bit is set"
    ]


def test_a_durable_message_that_cannot_be_taken_is_acknowledged_in_its_turn(log: Log) -> None:
    device = v2_device(log, sends="s")
    flags = v2.DURABLE
    device.frame(Opcode.BINARY, v2.encode("echo", 1, flags, number=1))
    device.frame(Opcode.BINARY, v2.encode("e" * 300, 2, flags, number=2, previous=1))
    device.frame(Opcode.BINARY, b"\x07" + v2.encode("echo", 3, flags, number=3, previous=2)[1:])
    device.frame(Opcode.BINARY, b"\x05" + v2.encode("echo", b"123", flags, number=4, previous=3)[1:])
    device.frame(Opcode.BINARY, v2.encode("echo", 5, flags, number=5, previous=4))
    found = [v2.decode(payload) for _, payload in device.frames()]
    told = [
        one.error if isinstance(one, v2.Problem) else one.upto for one in found if isinstance(one, v2.Problem | v2.Ack)
    ]
    invalid = "client_invalid_packet"
    assert told == [1, invalid, 2, "unsupported_packet", 3, invalid, 4, 5]
    assert log.calls == [1, 5]
    assert device.connection.counters["invalid"] == 3


@pytest.mark.parametrize("sends", [None, "s"])
def test_it_follows_a_gap_as_any_other(log: Log, sends: str | None) -> None:
    device = v2_device(log, sends=sends)
    device.frame(Opcode.BINARY, v2.encode("e" * 300, 2, v2.DURABLE, number=2, previous=1))
    found = [v2.decode(payload) for opcode, payload in device.frames() if opcode == Opcode.BINARY]
    told = [one.error for one in found if isinstance(one, v2.Problem)]
    assert told == ["client_invalid_packet"] + ["stream_gap"] * (sends is not None)
    assert not any(isinstance(one, v2.Ack) for one in found)


def test_what_is_no_whole_packet_is_not_acknowledged(log: Log) -> None:
    device = v2_device(log, sends="s")
    device.frame(Opcode.BINARY, v2.encode("echo", 1, v2.DURABLE, number=1)[:-1])
    ((_, payload),) = device.frames()
    assert isinstance(v2.decode(payload), v2.Problem)
