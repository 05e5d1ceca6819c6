"""What decides which devices come in."""

from __future__ import annotations

import pytest

from iotio import DeviceType
from iotio.core.storage.records import DeviceState
from iotio.endpoints import FloatEndpoint, IntegerEndpoint
from iotio.hosts.memory import connect
from iotio_protocol import v1, v2
from iotio_protocol.errors import ErrorCode
from tests.support.memory import Clock, Device, make_manager, v0_device, v1_device, v2_device
from tests.support.wire import Opcode, encode_frame, v1_headers

from .log import Log


def test_a_refused_device_never_reaches_user_code(log: Log) -> None:
    clock = Clock()
    manager = make_manager(log, clock=clock)
    device = v1_device(manager, client_type="nosuch")
    device.send("echo", 1)
    assert device.packets() == [v1.decode(v1.error_packet(ErrorCode.CLIENT_INVALID_TYPE))]
    assert manager.clients == []
    clock.now += 2.9
    device.connection.advance()
    assert device.frames() == []
    clock.now += 0.1
    device.connection.advance()
    assert device.close_code() == 1008
    clock.now += 3
    device.connection.advance()
    assert log.calls == []
    assert manager.connections.all() == []


def test_wrong_endpoints_do_not_evict_the_device_that_has_the_id(log: Log) -> None:
    manager = make_manager(log)
    good = v1_device(manager)
    bad = v1_device(manager, endpoints=[{"id": "x"}])
    assert [packet[0] for packet in bad.packets()] == ["error"]
    good.send("echo", 1)
    assert good.packets() == [("echo", 1)]
    assert manager.client("d1") is good.connection.client


def test_a_v0_device_has_its_time(log: Log) -> None:
    clock = Clock()
    manager = make_manager(log, clock=clock, handshake_timeout=30)
    device = Device(connect(manager))
    clock.now += 30
    manager.sweep(clock.now)
    assert device.close_code() == 1008
    clock.now += 3
    device.connection.advance()
    assert manager.connections.all() == []
    assert log.calls == []


def test_a_closing_manager_turns_devices_away(log: Log) -> None:
    manager = make_manager(log)
    manager.close(0)
    assert v1_device(manager).close_code() == 1001
    assert v0_device(manager).close_code() == 1001
    assert log.calls == []


def test_the_log_names_who_was_refused_and_why(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    v1_device(make_manager(log), client_type="nosuch")
    assert caplog.messages == [
        "device at memory refused: client_invalid_type; it calls itself 'd1' of type 'nosuch'."
        " Add the type by manager.add_type(), or change client_type on the device"
    ]


@pytest.mark.parametrize(
    ("headers", "subprotocol", "code", "advice"),
    [
        ([("Origin", "https://example.org"), ("Host", "hub.local")], "iotio.v2", ErrorCode.ORIGIN_NOT_ALLOWED,
         "Options(allowed_origins=['https://example.org'])"),
        ([("Sec-WebSocket-Protocol", "iotio.v9")], None, ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION, ""),
        ([("Sec-WebSocket-Protocol", "x, iotio.v2")], None, ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION,
         "give it the same attribute app_protocol"),
    ],
)  # fmt: skip
def test_the_upgrade_is_checked_before_the_device_says_anything(
    log: Log,
    headers: list[tuple[str, str]],
    subprotocol: str | None,
    code: ErrorCode,
    advice: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    manager = make_manager(log)
    connection = connect(manager, headers, subprotocol=subprotocol)
    assert not connection.is_open
    assert manager.refusals == {code.value: 1}
    assert f"device at memory refused: {code.value}" in caplog.text
    assert advice in caplog.text
    assert log.calls == []


def test_a_connection_is_checked_once(log: Log) -> None:
    manager = make_manager(log, max_connections=1)
    connection = connect(manager, v1_headers("d1", "echo"))
    connection.start()
    assert connection.is_open
    assert log.calls == ["connect"]
    connection.deliver(b"")
    assert v1_device(manager, "d2").connection.is_open, "counted once"


def test_limits_are_checked_before_the_type(log: Log) -> None:
    manager = make_manager(log, max_connections=1)
    v1_device(manager)
    v1_device(manager, "d2", client_type="nosuch")
    assert manager.refusals == {ErrorCode.SERVER_BUSY.value: 1}


def test_a_v2_device_with_the_headers_of_v1_introduces_itself_by_hello(log: Log) -> None:
    """A device that also speaks v1 sends them in case that v2 is not agreed on."""
    manager = make_manager(log)
    connection = connect(manager, v1_headers("d1", "echo"), subprotocol=v2.SUBPROTOCOL)
    assert log.calls == []
    hello = v2.encode_json(v2.HELLO, {"id": "d2", "type": "echo", "sends": "s"})
    connection.deliver(encode_frame(Opcode.BINARY, hello))
    assert manager.clients == ["d2"]
    assert connection.durable is not None
    assert connection.durable.stream == "s"


# Endpoints.


class Meter(DeviceType):
    endpoints = (FloatEndpoint("kwh", "Energy", unit="kWh"), IntegerEndpoint("limit", "Limit"))


def names_of_endpoints(device: Device) -> list[str]:
    client = device.connection.client
    assert client is not None
    assert client.declared is not None
    return [endpoint.name for endpoint in client.declared.values()]


def test_a_device_that_declares_nothing_has_the_endpoints_of_its_type() -> None:
    manager = make_manager(Meter("meter"))
    devices = [v0_device(manager, "a", "meter"), v1_device(manager, "b", "meter"), v2_device(manager, "c", "meter")]
    assert [names_of_endpoints(device) for device in devices] == [["Energy", "Limit"]] * 3
    declared = [manager.devices[name].client.declared for name in "abc"]  # type: ignore[union-attr]  # it is there
    assert declared[0] is declared[1] is declared[2], "thousands of devices share them"


def test_what_a_device_declares_itself_counts() -> None:
    manager = make_manager(Meter("meter"))
    own = [{"id": "kwh", "name": "Own", "type": "float"}, {"id": "on", "name": "On", "type": "boolean"}]
    device = v1_device(manager, "a", "meter", endpoints=own)
    assert names_of_endpoints(device) == ["Own", "Limit", "On"]
    known = manager.devices["a"]
    there = known.endpoints
    device.drop()
    assert {name: one.describe() for name, one in known.endpoints.items()} == {
        name: one.describe() for name, one in there.items()
    }
    for name in ("kwh", "limit", "on"):
        assert known.endpoint(name) is known.endpoints[name]
    assert known.endpoint("nosuch") is None
    written = known.lasting.declaration
    assert written is not None
    assert b"limit" not in written, "only its own is stored"


def test_endpoints_of_a_type_hold_for_devices_that_are_away() -> None:
    manager = make_manager()
    manager.presence.restore([DeviceState("a", "meter", b"null")])
    assert manager.devices["a"].endpoints == {}
    manager.add_type(Meter("meter"))
    assert list(manager.devices["a"].endpoints) == ["kwh", "limit"]


def test_too_many_endpoints(caplog: pytest.LogCaptureFixture) -> None:
    manager = make_manager(Meter("meter"))
    manager.types.max_endpoints = 3
    switches = [{"id": f"e{number}", "name": "E", "type": "boolean"} for number in range(3)]
    assert v1_device(manager, "a", "meter", endpoints=switches[:1]).packets() == []
    caplog.clear()
    refused = v1_device(manager, "b", "meter", endpoints=switches)
    info = {"endpointId": "", "endpointProblem": "too_many_endpoints", "most": 3, "size": 5}
    assert refused.packets() == [("error", {"error": "client_invalid_endpoints", "info": info})]
    assert "b" not in manager.devices
    (record,) = caplog.records
    assert record.getMessage().endswith("Have the device declare fewer endpoints, or its DeviceType list fewer")


def test_400_endpoints_are_let_in() -> None:
    manager = make_manager(DeviceType("echo"))
    switches = [{"id": f"e{number}", "name": "E", "type": "boolean"} for number in range(401)]
    assert len(names_of_endpoints(v1_device(manager, "a", endpoints=switches[:400]))) == 400
    ((_, error),) = v1_device(manager, "b", endpoints=switches).packets()
    assert error["info"]["most"] == 400
