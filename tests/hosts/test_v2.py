"""Protocol v2 on every host: which protocol it is, and calls: of views and handlers, to any device, and their end."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import iotio
from iotio_protocol import v1, v2
from tests.support.hosts import Host, host
from tests.support.v2 import PROTOCOL, V2Device, asking_for
from tests.support.wire import Opcode, v1_headers

__all__ = ["host"]  # the fixture

CALL, RESULT, FAILURE = v2.CALL, v2.RESULT, v2.FAILURE
numbers = itertools.count()
AT_ONCE = 2.0  # seconds; far below the 5 of the call and the 10 of the default


@pytest.fixture(scope="module")
def views() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def connect(host: Host, name: str, **fields: object) -> V2Device:
    """A device with an id of its own, whose `on_connect` has been called."""
    device = V2Device(host.port, f"{name}{next(numbers)}", fields=fields)
    host.log.wait(device.id, "on_connect")
    return device


def view(views: ThreadPoolExecutor, host: Host, client_id: str, data: Any = None, **kw: Any) -> Future[dict[str, Any]]:
    """A Flask view calls a device, as a plain function."""
    return views.submit(host.call, "call", client_id, "ask", data, **kw)


# -- which protocol --------------------------------------------------------------------------------------


def test_what_a_device_is_welcomed_with(host: Host) -> None:
    with host.peer() as peer:
        assert peer.upgrade(headers=PROTOCOL).headers.get("sec-websocket-protocol") == "iotio.v2"
        hello = b'{"id": "welcomed", "type": "calling"}'
        peer.send_frame(Opcode.BINARY, b"\x10\0\0\0\0\0\0" + bytes([len(hello)]) + hello)
        frame = peer.expect_frame()
        assert frame.payload[:4] == b"\x11\0\0\0"
        fields = json.loads(frame.payload[8:])
        assert fields["server"] == f"iotio {iotio.__version__}"
        assert abs(fields["time"] / 1000 - time.time()) < 5
        options = host.options
        limits = {"max_event": options.max_event, "max_payload": options.max_payload}
        pings = {"ping_interval": options.ping_interval, "ping_timeout": options.ping_timeout}
        assert {**fields, **limits, **pings} == fields


def test_the_answer_and_the_welcome_fit_a_small_board(host: Host) -> None:
    """Each is one frame, or one head, of 1024 bytes at most, whatever the streams are called."""
    name = "x" * 64
    hello: dict[str, object] = {
        "id": "small",
        "type": "calling",
        "sends": name,
        "heard": {"stream": name, "upto": v2.MAX_NUMBER},
    }
    with host.peer() as peer:
        response = peer.upgrade(headers=PROTOCOL)
        assert sum(len(key) + len(value) + 4 for key, value in response.headers.items()) < 1024 - 64
        peer.send_binary(v2.encode_json(v2.HELLO, hello))
        frame = peer.expect_frame()
        assert frame.fin
        assert isinstance(v2.decode(frame.payload), v2.Greeting)
        assert len(frame.payload) <= 1024


@pytest.mark.parametrize("names", [("iotio.v3", "iotio.v2"), ("iotio.v2", "mqtt")], ids=str)
def test_v2_is_agreed_on_among_others(host: Host, names: tuple[str, ...]) -> None:
    """And whatever other headers there are."""
    with host.peer() as peer:
        response = peer.upgrade(headers=[*asking_for(*names), *v1_headers("x", "echo")])
        assert response.headers.get("sec-websocket-protocol") == "iotio.v2"
        peer.send_binary(v2.encode_json(v2.HELLO, {"id": "among", "type": "calling"}))
        assert isinstance(v2.decode(peer.expect_frame().payload), v2.Greeting)


def test_a_newer_protocol_is_refused(host: Host) -> None:
    with host.peer() as peer:
        response = peer.upgrade(headers=asking_for("iotio.v3"))
        assert (response.status, response.headers.get("sec-websocket-protocol")) == (101, None)
        frame = peer.expect_frame()
        assert (frame.opcode, frame.close_code) == (Opcode.CLOSE, 1008)
        words = "client_incompatible_protocol_version {'asked': 'iotio.v3', 'spoken': 'iotio.v2'}"
        assert frame.close_reason == words


def test_a_newer_device_that_sends_headers_is_one_of_v1(host: Host) -> None:
    with host.peer() as peer:
        response = peer.upgrade(headers=[*asking_for("iotio.v3"), *v1_headers("newer", "echo")])
        assert (response.status, response.headers.get("sec-websocket-protocol")) == (101, None)
        peer.send_binary(v1.encode("same", "x"))
        assert v1.decode(peer.expect_frame().payload) == ("same", "x")


def test_a_first_packet_that_is_no_hello(host: Host) -> None:
    with host.peer() as peer:
        peer.upgrade(headers=PROTOCOL)
        peer.send_binary(v2.encode("same", 1))
        problem = v2.decode(peer.expect_frame().payload)
        assert isinstance(problem, v2.Problem)
        assert problem.error == "client_invalid_packet"
        assert peer.expect_frame().close_code == 1008


# -- of the device ---------------------------------------------------------------------------------------


def test_what_a_call_of_the_device_is_answered_with(host: Host) -> None:
    with connect(host, "d") as device:
        device.send("same", "x", CALL, call=7)
        assert device.expect_frame().payload == b"\x03\x02\x00\x00\x00\x07\x00\x00\x00\x00\x00\x01x"
        device.send("later", 21.5, CALL, call=0xFFFFFFFF)
        assert device.expect() == v2.Packet("", 21.5, RESULT, 0xFFFFFFFF)
        device.send("seq", 1, CALL, call=8)
        assert device.expect() == v2.Packet("", None, RESULT, 8)
        device.send("nothing", 1, CALL, call=9)
        assert device.expect() == v2.Packet("", {"error": "no_handler", "name": "", "message": ""}, FAILURE, 9)
        device.send("raise", "boom", CALL, call=10)
        failure = {"error": "exception", "name": "ValueError", "message": "boom"}
        assert device.expect() == v2.Packet("", failure, FAILURE, 10)
        device.send("unsendable", None, CALL, call=11)
        packet = device.expect()
        assert isinstance(packet, v2.Packet)
        assert isinstance(packet.value, dict)
        assert (packet.value["error"], packet.value["name"]) == ("invalid_data", "EncodeError")


# -- of a view -------------------------------------------------------------------------------------------


def test_a_view_calls(host: Host, views: ThreadPoolExecutor) -> None:
    with connect(host, "d") as device:
        asked = view(views, host, device.id, 5)
        assert device.expect_frame().payload == b"\x02\x01\0\0\0\x01\0\x03ask\0\0\0\x08" + (5).to_bytes(8, "big")
        device.send_packet(b"\x03\x02\0\0\0\x01\0\0\0\0\0\x03yes")
        assert asked.result(5) == {"ok": True, "r": "yes"}
        failed = view(views, host, device.id)
        failure = {"error": "exception", "name": "OSError", "message": "no sensor"}
        device.send("", failure, FAILURE, call=device.expect_call("ask"))
        assert failed.result(5) == {"ok": False, "exc": "RemoteError", "msg": "OSError: no sensor"}


def test_answers_come_in_any_order(host: Host, views: ThreadPoolExecutor) -> None:
    with connect(host, "d") as device:
        asked = [view(views, host, device.id, "x") for _ in range(5)]
        numbers = [device.expect_call("ask", "x") for _ in asked]
        assert len(set(numbers)) == 5
        for number in reversed(numbers):
            device.answer(number, number)
        assert sorted(one.result(5)["r"] for one in asked) == sorted(numbers)


def test_a_late_answer_is_dropped(host: Host, views: ThreadPoolExecutor) -> None:
    with connect(host, "d") as device:
        asked = view(views, host, device.id, timeout=0.05)
        late = device.expect_call("ask")
        assert asked.result(5)["exc"] == "CallTimeout"
        device.answer(late, "late")
        device.answer(12345, "never asked")
        asked = view(views, host, device.id)
        device.answer(device.expect_call("ask"), "in time")
        assert asked.result(5) == {"ok": True, "r": "in time"}


def test_who_cannot_be_called(host: Host) -> None:
    assert host.call("call", "nobody", "ask") == {
        "ok": False,
        "exc": "CallDisconnected",
        "msg": "device 'nobody' is not connected",
    }
    with host.peer() as old:
        assert old.upgrade(headers=v1_headers("old", "echo")).status == 101
        host.log.wait("old", "mgr_on_connect")
        answer = host.call("call", "old", "ask")
        assert answer["exc"] == "CallsUnsupported"
        assert "speaks protocol v1" in answer["msg"]


def test_a_value_that_breaks_the_endpoint_is_not_sent(host: Host, views: ThreadPoolExecutor) -> None:
    constraints = {"min": 0, "max": 10, "increment": None}
    endpoint = {"id": "ask", "name": "Level", "type": "integer", "specialId": None, "constraints": constraints}
    with connect(host, "d", endpoints=[endpoint]) as device:
        assert host.call("call", device.id, "ask", 11) == {
            "ok": False,
            "exc": "InvalidData",
            "msg": f"endpoint 'ask' of device {device.id!r} does not take this value: higher_than_max",
        }
        asked = view(views, host, device.id, "7")  # a form yields text
        device.answer(device.expect_call("ask", 7), True)
        assert asked.result(5) == {"ok": True, "r": True}


# -- of a handler ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["callself", "acallself", "ctxcall"])
def test_a_handler_calls_its_own_device(host: Host, event: str) -> None:
    with connect(host, "d") as device:
        for number in (1, 2):
            device.send(event, "x", CALL, call=number)
            device.answer(device.expect_call("ask", "x"), number * 10)
            assert device.expect() == v2.Packet("", number * 10, RESULT, number)


def test_on_connect_calls_its_device(host: Host) -> None:
    with connect(host, "d", data={"ask": "who"}) as device:
        device.answer(device.expect_call("ask", "who"), "me")
        host.log.wait(device.id, "asked me")


@pytest.mark.parametrize("event", ["callself", "acallself"])
def test_events_that_come_before_the_answer_are_handled_after_it_in_order(host: Host, event: str) -> None:
    with connect(host, "d") as device:
        device.send(event, None, CALL, call=1)
        number = device.expect_call("ask")
        for n in range(20):
            device.send("seq", n)
        device.send("same", "behind them", CALL, call=2)
        device.answer(number, "x")
        assert device.expect() == v2.Packet("", "x", RESULT, 1)
        assert device.expect() == v2.Packet("", "behind them", RESULT, 2)
        assert [what for what in host.log.wait(device.id, "seq 19") if what[:3] == "seq"] == [
            f"seq {n}" for n in range(20)
        ]


def test_an_answer_behind_an_event_in_one_segment(host: Host, views: ThreadPoolExecutor) -> None:
    """The handler of the event is waiting for the second device when the view's answer is there already."""
    with connect(host, "a") as a, connect(host, "b") as b:
        asked = view(views, host, a.id)
        number = a.expect_call("ask")
        frames = [v2.encode("callother", b.id, CALL, call=1), v2.encode("", "yes", RESULT, call=number)]
        a.send_bytes(b"".join(b"\x82" + bytes([0x80 | len(one)]) + b"\0\0\0\0" + one for one in frames))
        assert asked.result(5) == {"ok": True, "r": "yes"}
        b.answer(b.expect_call("ask", a.id), "done")
        assert a.expect() == v2.Packet("", "done", RESULT, 1)


@pytest.mark.parametrize("first", ["callother", "acallother"])
@pytest.mark.parametrize("second", ["callother", "acallother"])
def test_two_handlers_call_each_others_device(host: Host, first: str, second: str) -> None:
    with connect(host, "a") as a, connect(host, "b") as b:
        a.send(first, b.id, CALL, call=1)
        to_b = b.expect_call("ask", a.id)
        b.send(second, a.id, CALL, call=1)
        to_a = a.expect_call("ask", b.id)
        a.answer(to_a, "of a")
        assert b.expect() == v2.Packet("", "of a", RESULT, 1)
        b.answer(to_b, "of b")
        assert a.expect() == v2.Packet("", "of b", RESULT, 1)


@pytest.mark.parametrize("event", ["callother", "acallother"])
def test_a_view_calls_a_device_whose_handler_is_busy(host: Host, views: ThreadPoolExecutor, event: str) -> None:
    with connect(host, "a") as a, connect(host, "b") as b:
        a.send(event, b.id, CALL, call=1)
        held = b.expect_call("ask", a.id)
        for value in (1, 2):
            asked = view(views, host, a.id, value)
            a.answer(a.expect_call("ask", value), value)
            assert asked.result(5) == {"ok": True, "r": value}
        b.answer(held, "done")
        assert a.expect() == v2.Packet("", "done", RESULT, 1)


def test_the_event_loop_is_not_blocked(host: Host) -> None:
    with connect(host, "d") as device:
        device.send("callinloop", None, CALL, call=1)
        packet = device.expect()
        assert isinstance(packet, v2.Packet)
        client = "call() would block the event loop that runs in this thread: write await client.acall(...)"
        assert packet.value == [client, client.replace("client.", "manager."), client]


# -- the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end of stream", "reset", "close", "rule", "removed", "takeover"])
def test_calls_to_a_device_that_goes_fail_at_once(host: Host, views: ThreadPoolExecutor, how: str) -> None:
    """That of a view, and that of its own handler, whose thread would be the one to read the end."""
    with connect(host, "d") as device:
        client_id = device.id
        device.send("callself", "own")
        device.expect_call("ask", "own")
        asked = view(views, host, client_id, timeout=60)
        device.expect_call("ask")
        if how == "end of stream":
            device.half_close()
        elif how == "reset":
            device.reset()
        elif how == "close":
            device.send_close(1000)
        elif how == "rule":
            device.send_frame(Opcode.BINARY, b"unmasked", mask=None)
        elif how == "removed":
            host.call("remove", client_id)
        else:
            V2Device(host.port, client_id).close()
        assert asked.result(AT_ONCE)["exc"] == "CallDisconnected"
        host.log.wait(client_id, "CallDisconnected", timeout=AT_ONCE)
        host.log.wait(client_id, "on_disconnect")


# -- what a device takes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [100, 70_000])
def test_an_answer_that_the_device_does_not_take_is_not_sent(host: Host, most: int) -> None:
    with connect(host, "d", max_payload=most) as device:
        device.send("same", "x" * most)
        assert device.expect() == v2.Packet("same", "x" * most)
        device.send("same", "x" * (most + 1))
        device.send("same", "after")
        assert device.expect() == v2.Packet("same", "after")
        device.send("same", "x" * (most + 1), CALL, call=1)
        failure = device.expect()
        assert isinstance(failure, v2.Packet)
        assert (failure.flags, failure.value["error"]) == (FAILURE, "invalid_data")
