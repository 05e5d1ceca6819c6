"""The conversations of v2_session.json, over a real socket with the native server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask

from iotio import CallError, DeviceHandle, DeviceType, IoTClient, IoTManager, Options
from iotio_protocol import v2
from tests.protocol.vectors import V2_TYPES, load, revive, v2_fields
from tests.support.hosts import eventually
from tests.support.wire import Frame, Opcode, RawPeer

VECTORS = load("v2_session.json")
KINDS: dict[str, Any] = {"text": str, "integer": int, "object": dict}
POLICY = 1008
WIDE = Options(max_event=0xFFFF)  # what the server sends is not judged by the limits of a device's packets


class Lamp(DeviceType):
    """The server that the file describes."""

    def on_echo(self, value: Any, client: IoTClient) -> tuple[str, Any]:
        return "echo", value

    def on_fail(self, value: Any, client: IoTClient) -> None:
        raise ValueError("no bulb")

    def on_bad(self, value: Any, client: IoTClient) -> Any:
        return {"what": object()}

    async def on_ask(self, value: Any, client: IoTClient) -> None:
        try:
            result = await client.acall("state", value)
        except CallError as error:
            result = type(error).__name__
        client.emit("asked", result)

    def on_leave(self, value: Any, client: IoTClient) -> None:
        client.close()

    def on_keep(self, value: Any, client: IoTClient) -> None:
        client.emit("kept", value, durable=True)

    def on_keep_briefly(self, value: Any, client: IoTClient) -> None:
        client.emit("kept", value, durable=True, ttl=0.3)


@pytest.fixture(scope="module")
def manager() -> Iterator[IoTManager]:
    server = VECTORS["server"]
    options = Options(max_event=server["max_event"], max_payload=server["max_payload"], refusal_delay=0.02)
    manager = IoTManager(Flask(__name__), options=options)
    manager.add_type(Lamp(server["device_type"]))
    yield manager
    manager.stop()


@pytest.fixture(scope="module")
def port(manager: IoTManager) -> int:
    return manager.start()


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_conversations(manager: IoTManager, port: int, case: dict[str, Any]) -> None:
    for steps in connections(case):
        with connect(port, case) as peer:
            calls: dict[int, int] = {}
            for step in steps:
                if "presence" not in step:
                    take(step, peer, calls)
            assert peer.recv_frames_until_eof() == []
        for step in steps:
            if "presence" in step:
                device = manager.device(step["id"])
                assert device is not None
                eventually(partial(is_away, device, step["presence"]))


def is_away(device: DeviceHandle, presence: str) -> bool:
    """Whether the connection of a device is over, with this presence."""
    return not device.connected and device.presence == presence


def connections(case: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The steps of a case by the connections that they are done on."""
    found: list[list[dict[str, Any]]] = [[]]
    for step in case["steps"]:
        if "connect" in step:
            found.append([])
        else:
            found[-1].append(step)
    return found


def connect(port: int, case: dict[str, Any]) -> RawPeer:
    """A connection for a case, whose upgrade is done."""
    offered = case.get("subprotocols", [v2.SUBPROTOCOL])
    peer = RawPeer("127.0.0.1", port)
    response = peer.upgrade(headers=[("Sec-WebSocket-Protocol", ", ".join(offered))])
    assert response.status == 101
    assert response.headers.get("sec-websocket-protocol") == case.get("agreed", v2.SUBPROTOCOL)
    return peer


def take(step: dict[str, Any], peer: RawPeer, calls: dict[int, int]) -> None:
    """Do one step of a conversation."""
    match step:
        case {"to_server": data}:
            peer.send_binary(outgoing(bytes.fromhex(data), step, calls))
        case {"to_server_text": text}:
            peer.send_text(text)
        case {"to_server_close": {"code": code, "reason": reason}}:
            peer.send_close(code, reason)
        case {"from_server": pattern}:
            frame = peer.expect_frame()
            assert frame.opcode == Opcode.BINARY, frame
            assert_alike(frame.payload, pattern, calls)
        case {"from_server_close": {"code": code, "reason": reason}}:
            assert_closed(peer.expect_frame(), code, reason)
            if code == POLICY or reason == "removed":  # nobody has closed before; after 1009 nobody reads
                peer.send_close(code)
        case {"wait": seconds}:
            time.sleep(seconds)  # for a time to live to pass
        case _:
            pytest.fail(f"unknown step {step}")


def outgoing(data: bytes, step: dict[str, Any], calls: dict[int, int]) -> bytes:
    """The message of a step, with the number that the server has chosen where there is one."""
    if "call" not in step:
        return data
    return data[:2] + calls[step["call"]["$call"]].to_bytes(4, "big") + data[6:]


def assert_closed(frame: Frame, code: int, reason: Any) -> None:
    assert frame.opcode == Opcode.CLOSE, frame
    assert frame.close_code == code
    assert_value(frame.close_reason, reason, {})


def assert_alike(data: bytes, pattern: dict[str, Any], calls: dict[int, int]) -> None:
    assert data[0] == V2_TYPES[pattern["type"]]
    found = {"type": pattern["type"], **v2_fields(v2.decode(data, WIDE))}
    if pattern["type"] == "WELCOME":  # it may have more fields
        found["fields"] = {name: item for name, item in found["fields"].items() if name in pattern["fields"]}
    assert_value(found, pattern, calls)


def assert_value(found: Any, pattern: Any, calls: dict[int, int]) -> None:
    """Compare with a pattern that may hold placeholders."""
    match pattern:
        case {"$any": kind}:
            assert type(found) is KINDS[kind], found
        case {"$call": name}:
            assert calls.setdefault(name, found) == found
        case {"$b64": _}:
            assert found == revive(pattern)
        case dict():
            assert set(found) == set(pattern)
            for key, item in pattern.items():
                assert_value(found[key], item, calls)
        case _:
            assert (type(found), found) == (type(pattern), pattern)


def test_what_a_client_may_do_is_right() -> None:
    """No packet of the device is invalid, and the server complains of none."""
    marked = [case for case in VECTORS["cases"] if case.get("client")]
    assert len(marked) > 30
    for step in itertools.chain.from_iterable(case["steps"] for case in marked):
        assert step.get("from_server", {}).get("type") != "PROBLEM"
        assert "to_server_text" not in step
        if "to_server" in step:
            v2.decode(bytes.fromhex(step["to_server"]))


def test_the_examples_are_alike() -> None:
    """`for_example` is what a client in another language may be fed with."""
    for step in itertools.chain.from_iterable(case["steps"] for case in VECTORS["cases"]):
        if "from_server" in step:
            assert_alike(bytes.fromhex(step["for_example"]), step["from_server"], {})
