"""Limits: how many may come, how much each may send, how many lines the log gets."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from iotio import DeviceType, Options
from iotio.core.limits import Bucket
from iotio.core.manager import Manager
from iotio.hosts.memory import connect
from iotio_protocol import v2
from iotio_protocol.reasons import DisconnectReason
from tests.support.memory import Clock, Device, make_manager, v0_device, v1_device, v2_device
from tests.support.wire import Opcode, encode_frame, v1_headers


class Echo(DeviceType):
    def __init__(self, name: str = "echo", **options: Any) -> None:
        super().__init__(name, **options)
        self.reasons: list[DisconnectReason] = []

    def on_echo(self, message: Any, client: Any) -> Any:
        return message

    def on_disconnect(self, client: Any, reason: DisconnectReason) -> None:
        self.reasons.append(reason)


def make(**options: Any) -> tuple[Manager, Echo, Clock]:
    clock, echo = Clock(), Echo()
    return make_manager(echo, clock=clock, **options), echo, clock


def error_of(device: Device) -> dict[str, Any]:
    ((event, value),) = device.packets()
    assert event == "error"
    assert isinstance(value, dict)
    return value


def is_open(device: Device) -> bool:
    return device.connection.is_open


def test_too_many_connections_are_told_so_and_held_back() -> None:
    manager, _, clock = make(max_connections=2)
    first, _ = v1_device(manager, "a"), v1_device(manager, "b")
    late = v1_device(manager, "c")
    assert error_of(late) == {"error": "server_busy", "info": {"limit": "max_connections", "most": 2}}
    assert manager.clients == ["a", "b"]
    assert manager.refusals == {"server_busy": 1}
    clock.now += 3.0
    late.connection.advance()
    assert late.close_code() == 1008
    first.drop()
    assert is_open(v1_device(manager, "c"))


def test_a_device_that_comes_back_takes_its_own_place() -> None:
    manager, echo, _ = make(max_connections=1, max_connections_per_address=1)
    v1_device(manager, "a")
    again = v1_device(manager, "a")
    assert is_open(again)
    assert echo.reasons == [DisconnectReason.TAKEOVER]


def test_one_address_has_a_share() -> None:
    manager, _, _ = make(max_connections_per_address=1)
    v1_device(manager, "a")
    assert error_of(v1_device(manager, "b"))["info"] == {"limit": "max_connections_per_address", "most": 1}


def test_handshakes_a_second() -> None:
    manager, _, clock = make(max_handshakes_per_second=2)
    assert is_open(v1_device(manager, "a"))
    assert is_open(v1_device(manager, "b"))
    assert error_of(v1_device(manager, "c"))["info"] == {"limit": "max_handshakes_per_second", "most": 2}
    clock.now += 1.0
    assert is_open(v1_device(manager, "c"))


def test_a_v0_device_is_told_in_the_close_frame() -> None:
    manager, _, _ = make(max_connections=1)
    v1_device(manager, "a")
    ((opcode, payload),) = v0_device(manager, "b").frames()
    assert opcode == Opcode.CLOSE
    assert payload.startswith((1008).to_bytes(2, "big") + b"server_busy")


def test_who_has_not_said_who_it_is_holds_no_place() -> None:
    manager, _, _ = make(max_connections=1)
    for _ in range(3):
        connect(manager)
        connect(manager, subprotocol=v2.SUBPROTOCOL)
    assert v2_device(manager, "a").welcome
    assert v2_device(manager, "a").welcome, "it has come back"
    assert is_open(v0_device(manager, "a"))
    late = v2_device(manager, "b")
    assert late.decoded() == [v2.Problem("server_busy", {"limit": "max_connections", "most": 1})]


def test_refused_devices_give_their_place_back() -> None:
    manager, _, _ = make(max_connections=1)
    for _ in range(3):
        refused = v1_device(manager, "a", "unknown")
        assert error_of(refused)["error"] == "client_invalid_type"
        refused.drop()
    assert is_open(v1_device(manager, "a"))


def test_messages_a_second_are_averaged_over_ten() -> None:
    manager, echo, clock = make(max_messages_per_second=1)
    device = v1_device(manager, "a")
    for _ in range(10):
        device.send("echo")
    clock.now += 1.0
    device.send("echo")
    assert len(device.packets()) == 11
    device.send("echo")
    assert device.frames() == [(Opcode.CLOSE, (1008).to_bytes(2, "big") + b"rate_limit")]
    device.drop()
    assert echo.reasons == [DisconnectReason.RATE_LIMIT]


@pytest.mark.parametrize(
    "frame",
    [
        encode_frame(Opcode.PING, b""),
        encode_frame(Opcode.PONG, b""),
        encode_frame(Opcode.CONTINUATION, b"", fin=False),
    ],
    ids=["ping", "pong", "fragment"],
)
def test_control_frames_and_fragments_count_as_messages(frame: bytes) -> None:
    manager, echo, _ = make(max_messages_per_second=1)
    device = v1_device(manager, "a")
    device.connection.deliver(encode_frame(Opcode.BINARY, b"", fin=False))
    for _ in range(9):
        device.connection.deliver(frame)
    assert is_open(device)
    device.connection.deliver(frame)
    assert device.frames()[-1] == (Opcode.CLOSE, (1008).to_bytes(2, "big") + b"rate_limit")
    device.drop()
    assert echo.reasons == [DisconnectReason.RATE_LIMIT]


def test_bytes_a_second() -> None:
    manager, echo, _ = make(max_bytes_per_second=100)
    device = v1_device(manager, "a")
    device.send("echo", "x" * 1200)
    assert device.close_code() == 1008
    device.drop()
    assert echo.reasons == [DisconnectReason.RATE_LIMIT]


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "refused"),
    [
        ("https://evil.example", "pi.local:5000", [], True),
        ("null", "pi.local:5000", [], True),
        ("http://pi.local:5001", "pi.local:5000", [], True),
        ("http://pi.example", "pi.local:5000", [], True),
        ("http://pi.local:5000", "pi.local:5000", [], False),
        ("http://PI.local", "pi.LOCAL:80", [], False),
        ("https://pi.local", "pi.local:443", [], False),
        ("https://good.example", "pi.local", ["https://good.example"], False),
        ("https://evil.example", "pi.local", ["https://good.example"], True),
        ("https://evil.example", "pi.local", ["*"], False),
        ("", "pi.local", [], False),
    ],
)
def test_web_pages_of_other_hosts(
    origin: str, host: str, allowed: list[str], refused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    manager, _, _ = make(allowed_origins=allowed)
    device = Device(connect(manager, [("Origin", origin), ("Host", host), ("Cookie", "a=b")]))
    assert device.close_code() == (1008 if refused else None)
    assert (f"Options(allowed_origins=[{origin!r}])" in caplog.text) is refused


def test_a_device_may_have_any_origin() -> None:
    """No page can send the headers of v1, and proxies rewrite Host."""
    manager, _, _ = make()
    headers = [*v1_headers("a", "echo"), ("Origin", "http://outside.example"), ("Host", "10.0.0.7:5000")]
    assert connect(manager, headers).is_open


def test_timings_of_a_type() -> None:
    manager, _, clock = make(ping_interval=20, ping_timeout=10)
    manager.add_type(Echo("sleepy", ping_interval=300, ping_timeout=60))
    usual, sleepy = v1_device(manager, "usual"), v1_device(manager, "sleepy", "sleepy")
    assert usual.connection.session.deadline - clock() == 20
    assert sleepy.connection.session.deadline - clock() == 300
    clock.now += 300
    sleepy.connection.advance()
    assert sleepy.connection.session.deadline - clock() == 60


def test_a_wrong_timing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Options\.ping_timeout must be more than 0 seconds"):
        make()[0].add_type(Echo("x", ping_timeout=0))


def test_what_a_client_tells_of_its_connection() -> None:
    manager, _, clock = make()
    device = v1_device(manager, "a")
    client = manager.client("a")
    assert client is not None
    assert client.rtt is None
    clock.now += 20
    device.connection.advance()
    ((_, payload),) = device.frames()
    clock.now += 0.25
    device.frame(Opcode.PONG, payload)
    assert client.rtt == pytest.approx(0.25)
    clock.now += 5
    now = datetime.now(UTC)
    assert abs(client.last_seen - (now - timedelta(seconds=5))) < timedelta(seconds=1)
    assert abs(client.connected_since - (now - timedelta(seconds=25.25))) < timedelta(seconds=1)


def test_a_flood_of_refusals_is_no_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    manager, _, clock = make(max_connections=1)
    v1_device(manager, "a")
    caplog.set_level(logging.WARNING)
    for number in range(50):
        v1_device(manager, f"b{number}")
    assert len(caplog.records) == 10
    clock.now += 11
    v1_device(manager, "c")
    assert "(and 40 more like this)" in caplog.text
    assert manager.refusals == {"server_busy": 51}


class Rival:
    """A device that comes back at once, as the 0.4.1 library does."""

    def __init__(self, manager: Manager, client_id: str = "one") -> None:
        self.manager, self.id = manager, client_id
        self.connects = 0
        self.come()

    def come(self) -> None:
        self.connects += 1
        self.device = v1_device(self.manager, self.id)

    def step(self) -> None:
        self.device.connection.advance()
        if self.device.close_code() == 1008:
            self.device.close(1008)
            self.come()


def test_a_bucket_fills_up_to_its_room() -> None:
    bucket = Bucket(2.0, 1.0, 0.0)
    assert bucket.take(2, 0.0)
    assert not bucket.take(1, 0.4)
    assert bucket.take(1, 0.5)
    assert bucket.take(2, 100.0)
    assert not bucket.take(1, 100.0)


def test_origins_are_a_list() -> None:
    with pytest.raises(ValueError, match="allowed_origins must be a list"):
        Options(allowed_origins="https://example.org")
