"""One test for each defect of the original server: S1 to S39 of iot.io 0.4, V1 to V7 of 0.1 to 0.3.

The first line of each docstring says what the original did. In memory where that shows it; over a real socket
where the defect was in the transport.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import logging
import pkgutil
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import flask
import pytest

import iotio
from iotio import DeviceType, EncodeError, IoTClient, IoTManager, Options
from iotio.hosts.memory import connect
from iotio_protocol import v1
from iotio_protocol.endpoints import ValidationResponse, parse_endpoint
from iotio_protocol.frames import encode_close
from tests.support.hosts import FAST, KINDS, Host, LocalHost, eventually, local_host, serve, serve_local
from tests.support.memory import Clock, Device, make_manager, v0_device, v1_device
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

__all__ = ["local_host"]  # the fixture


class Echo(DeviceType):
    """A device type whose handlers do what users do."""

    def __init__(self, type_name: str = "echo") -> None:
        super().__init__(type_name)
        self.calls: list[str] = []

    def on_connect(self, client: IoTClient) -> None:
        self.calls.append(f"+{client.id}")

    def on_disconnect(self, client: IoTClient) -> None:
        self.calls.append(f"-{client.id}")

    def on_echo(self, message: Any, client: IoTClient) -> Any:
        return message

    def on_raise(self, message: Any, client: IoTClient) -> Any:
        raise ValueError("boom")

    def on_attribute(self, message: Any, client: IoTClient) -> Any:
        return client.nothing  # type: ignore[attr-defined]  # that is the point

    def on_give(self, message: Any, client: IoTClient) -> Any:
        return {"one": ("only",), "number": (5, "b"), "three": ("a", "b", "c"), "none": None}[message]

    def on_leave(self, message: Any, client: IoTClient) -> Any:
        return client.leave(message)


def alive(device: Device) -> bool:
    """Whether the device is served as if nothing had been."""
    device.frames()
    device.send("echo", "alive")
    return device.packets() == [("echo", "alive")]


def opened(host: Host, client_id: str, client_type: str = "echo") -> RawPeer:
    peer = host.peer()
    assert peer.upgrade(headers=v1_headers(client_id, client_type)).status == 101
    host.log.wait(client_id, "on_connect")
    return peer


def echoes(peer: RawPeer) -> bool:
    peer.send_binary(v1.encode("echo", "alive"))
    return peer.expect_frame().payload == v1.encode("echo_response", "alive")


# iot.io 0.4.


def test_s1_a_room_keeps_no_other_device_from_leaving() -> None:
    """As soon as one room existed, devices outside of it were never removed, and could not come back."""
    manager = make_manager(echo := Echo())
    v1_device(manager, "a")
    manager.join("a", "lobby")
    for _ in range(3):
        v1_device(manager, "b").drop()
        assert manager.clients == ["a"]
    assert echo.calls == ["+a", *["+b", "-b"] * 3]
    assert manager.rooms == {"lobby": ["a"]}


def test_s2_the_end_of_an_old_connection_leaves_the_new_one_alone() -> None:
    """The old socket went on being served, and its end removed the new client."""
    manager = make_manager(echo := Echo())
    old = v1_device(manager, "a")
    new = v1_device(manager, "a")
    assert old.close_code() == 1008
    old.send("echo", "too late")
    assert old.frames() == []
    old.drop()
    assert manager.emit("x", 1, "a").sent == 1
    assert new.packets() == [("x", 1)]
    new.drop()
    assert echo.calls == ["+a", "-a", "+a", "-a"]


def test_s3_a_refused_handshake_evicts_nobody() -> None:
    """A wrong endpoint list evicted the live device of that id, and then failed."""
    manager = make_manager(echo := Echo())
    live = v1_device(manager, "a")
    refused = v1_device(manager, "a", endpoints=[{"id": "x", "name": "n", "type": "nonsense"}])
    assert refused.packets()[0][1]["error"] == "client_invalid_endpoints"
    assert alive(live)
    assert echo.calls == ["+a"]


def test_s4_a_refusal_is_a_packet_and_a_close_frame(local_host: LocalHost) -> None:
    """A raw HTTP 400 was written into the WebSocket, which went on as HTTP: GET /hello was answered."""
    with local_host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("s4", "nosuch")).status == 101
        assert peer.expect_frame().opcode == Opcode.BINARY
        close = peer.expect_frame()
        assert (close.opcode, close.close_code) == (Opcode.CLOSE, 1008)
        peer.send_close(1008)
        peer.send_bytes(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):  # the server had closed before the request came
            assert peer.recv_all_until_eof() == b""


@pytest.mark.parametrize("data", [(2, b"\x09nonsense"), (2, b""), (1, b"text"), (2, v1.encode("raise", "x"))])
def test_s5_no_packet_and_no_handler_ends_the_connection(data: tuple[int, bytes]) -> None:
    """An HTTP 500 with a Python traceback went to the device, and the connection was over."""
    device = v1_device(make_manager(Echo()))
    device.frame(*data)
    answer = device.connection.read()
    assert b"Traceback" not in answer
    assert b"boom" not in answer
    assert (b"client_invalid_packet" in answer) is (data[1] != v1.encode("raise", "x"))
    assert alive(device)


def test_s6_an_attribute_error_in_a_handler_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It was taken for "no such handler", and swallowed."""
    device = v1_device(make_manager(Echo()))
    device.send("attribute")
    assert "handler on_attribute of type 'echo' failed" in caplog.text
    assert "no attribute 'nothing'" in caplog.text


def test_s7_a_device_cannot_call_on_connect_and_on_disconnect() -> None:
    """Its events of these names did, with a wrong number of arguments, which ended the connection."""
    device = v1_device(make_manager(echo := Echo()))
    for event in ("connect", "disconnect"):
        device.send(event, "x")
    assert echo.calls == ["+d1"]
    assert alive(device)


@pytest.mark.parametrize("which", ["one", "number", "three"])
def test_s8_a_wrong_tuple_is_logged(which: str, caplog: pytest.LogCaptureFixture) -> None:
    """One item: IndexError. No str: TypeError. Both ended the connection. Three items lost the third."""
    device = v1_device(make_manager(Echo()))
    device.send("give", which)
    assert device.frames() == []
    assert "must return (event, value)" in caplog.text
    assert alive(device)


def test_s9_leave_takes_a_client() -> None:
    """`manager.leave(client)` and `client.leave(room)` were always a TypeError."""
    device = v1_device(manager := make_manager(Echo()))
    client = device.connection.client
    assert client is not None
    client.join("a")
    client.join("b")
    assert manager.leave(client, "a")
    assert client.leave("b")
    assert client.rooms == []


def test_s10_leaving_a_room_one_is_not_in_does_nothing() -> None:
    """It was a ValueError, which ended the connection."""
    device = v1_device(make_manager(Echo()))
    device.send("leave", "nosuch")
    assert device.packets() == [("leave", False)]


def test_s11_joining_twice_is_being_in_once() -> None:
    """The device was sent everything twice, and its id remained after it had gone."""
    device = v1_device(manager := make_manager(Echo()))
    manager.join("d1", "r")
    manager.join("d1", "r")
    manager.emit("x", 1, room="r")
    assert device.packets() == [("x", 1)]
    assert manager.leave("d1", "r")
    assert manager.rooms == {}


def test_s12_empty_rooms_go() -> None:
    """They stayed for ever, and devices choose their names."""
    manager = make_manager(Echo())
    device = v1_device(manager)
    for number in range(100):
        manager.join("d1", f"r{number}")
        manager.leave("d1", f"r{number}")
    assert manager.registry._rooms == {}
    manager.join("d1", "last")
    device.drop()
    assert (manager.registry._rooms, manager.rooms) == ({}, {"last": ["d1"]})
    manager.leave("d1", "last")
    assert (manager.registry._away, manager.rooms) == ({}, {})


def test_s13_a_type_knows_its_manager() -> None:
    """`DeviceType.context` was None."""
    manager = make_manager(echo := Echo())
    assert echo.context is manager


@pytest.mark.parametrize("form", [str.lower, str.upper, str.title])
def test_s14_header_names_in_any_case(form: Any) -> None:
    """Only the spelling of the Python client was known; HTTP/2 proxies write lower case."""
    headers = [(form(name), value) for name, value in v1_headers("d1", "echo")]
    assert alive(Device(connect(make_manager(Echo()), headers)))


def test_s15_header_values_are_utf8(local_host: LocalHost) -> None:
    """They were read as latin-1: an id "dév" became four characters."""
    with opened(local_host, "dév-漢") as peer:
        assert echoes(peer)
        assert "dév-漢" in local_host.manager.clients
    as_latin1 = [("IoT-IO-Id", "d\xe9v"), *v1_headers("", "echo")[1:]]
    manager = make_manager(Echo())
    connect(manager, as_latin1)
    assert manager.clients == ["dév"]


# A foreign ASGI server has limits of its own: tests/hosts/test_asgi_servers.py.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "asgi"])
def test_s16_a_device_may_declare_many_endpoints(kind: str) -> None:
    """A header line of more than 8192 bytes, 60 integer endpoints, was an HTTP 400, which killed the device."""
    constraints = {"min": 0, "max": 10, "increment": 1}
    endpoints = [
        {"id": f"e{n}", "name": f"Endpoint {n}", "type": "integer", "constraints": constraints} for n in range(300)
    ]
    with serve(kind) as host, host.peer() as peer:
        headers = v1_headers("many", "echo", endpoints=endpoints)
        assert len(dict(headers)["IoT-IO-Endpoints"]) > 32000
        assert peer.upgrade(headers=headers).status == 101
        peer.send_binary(v1.encode("info", ""))
        _, info = v1.decode(peer.expect_frame().payload)
        assert isinstance(info, dict)
        assert len(info["endpoints"]) == 300


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("IoT-IO-Data", "[" * 5000 + "]" * 5000, "client_invalid_data"),
        ("IoT-IO-Data", "NaN", "client_invalid_data"),
        ("IoT-IO-Endpoints", "[" * 5000 + "]" * 5000, "client_invalid_endpoints"),
        ("IoT-IO-Endpoints", "null", "client_invalid_endpoints"),
        ("IoT-IO-Endpoints", "5", "client_invalid_endpoints"),
        ("IoT-IO-Endpoints", "[1]", "client_invalid_endpoints"),
        ("IoT-IO-Endpoints", '[{"id":"x","name":"n","type":"integer","constraints":[1]}]', "client_invalid_endpoints"),
    ],
)
def test_s17_odd_json_is_refused_in_words(header: str, value: str, code: str) -> None:
    """RecursionError, TypeError: HTTP 500 and a traceback."""
    headers = [(name, value if name == header else old) for name, old in v1_headers("d1", "echo")]
    device = Device(connect(make_manager(Echo()), headers))
    assert device.packets()[0][1]["error"] == code


def test_s18_a_device_may_connect_during_a_broadcast() -> None:
    """RuntimeError: dictionary changed size during iteration; the rest was sent nothing."""

    class Meddling(IoTManager):
        def on_update(self, client_id: str, event: str, data: Any) -> None:
            v1_device(self, f"new-{client_id}")

    manager = Meddling()
    manager.add_type(Echo())
    devices = [v1_device(manager, f"d{number}") for number in range(5)]
    assert manager.emit("x", 1, client_type="echo").sent == 5
    assert [device.packets() for device in devices] == [[("x", 1)]] * 5
    assert len(manager.clients) == 10


@pytest.mark.parametrize("kind", ["gevent", "flask"])
def test_s19_a_slow_reader_holds_up_nobody(kind: str) -> None:
    """Two of twenty broadcasts of 1 MB went out, then the caller was blocked for good."""
    options = Options(max_outbox=4 * 1024 * 1024, close_timeout=0.5)
    with serve_local(kind, options) as host:
        slow, fast = opened(host, "slow"), opened(host, "fast")
        received: list[int] = []
        reader = threading.Thread(target=lambda: received.extend(len(fast.expect_frame(10).payload) for _ in range(20)))
        reader.start()
        results = []
        for _ in range(20):
            started = time.monotonic()
            results.append(host.manager.emit("big", b"x" * 1_000_000, client_type="echo"))
            assert time.monotonic() - started < 1, "emit does not wait for the network"
            while len(received) < len(results):  # so that only one of them is slow
                assert reader.is_alive()
                time.sleep(0.001)
        reader.join(10)
        assert received == [len(v1.encode("big", b"x" * 1_000_000))] * 20
        assert {"slow": "backpressure"} in [result.dropped for result in results]
        assert "reason:backpressure" in host.log.wait("slow", "reason:backpressure")
        slow.close()
        fast.close()


def test_s20_a_dead_device_does_not_stop_a_broadcast(local_host: LocalHost) -> None:
    """OSError for the first dead one; the rest was sent nothing."""
    peers = [opened(local_host, f"s20-{number}", "other") for number in range(3)]
    peers[0].reset()
    result = local_host.manager.emit("x", 1, client_type="other")
    assert result.sent + len(result.offline) in (2, 3)
    for peer in peers[1:]:
        assert peer.expect_frame().payload == v1.encode("x", 1)
        peer.close()
        local_host.log.wait(f"s20-{peers.index(peer)}", "mgr_on_disconnect")


@pytest.mark.parametrize("kind", ["gevent", "flask"])
def test_s21_a_dead_device_is_noticed(kind: str) -> None:
    """No ping in 65 s, no time-out: half-open devices stayed for ever."""
    options = Options(ping_interval=0.2, ping_timeout=0.2, handshake_timeout=0.2, close_timeout=0.2)
    with serve_local(kind, options) as host:
        with opened(host, "silent") as peer:
            assert [frame.opcode for frame in peer.recv_frames_until_eof()] == [Opcode.PING, Opcode.CLOSE]
            assert "reason:ping_timeout" in host.log.wait("silent", "mgr_on_disconnect")
        with host.peer() as never:
            assert never.upgrade().status == 101
            (close,) = never.recv_frames_until_eof()
            assert close.close_reason == "handshake_timeout"
        eventually(lambda: host.manager.connections.all() == [])


def test_s22_many_connections_that_say_nothing_stop_nobody() -> None:
    """With 1024 connections, or 1030 half-sent requests, everything stopped, HTTP too."""
    with serve("gevent-patched") as host:
        half: list[RawPeer] = []
        try:
            for _ in range(1100):
                peer = host.peer()
                peer.send_bytes(b"GET /iot.io HTTP/1.1\r\nHost: x\r\n")
                half.append(peer)
            with opened(host, "s22") as device:
                assert echoes(device)
            assert host.request("GET", "/hello") == (200, b"hello")
        finally:
            for peer in half:
                peer.close()


def test_s23_sizes_are_checked_before_memory_is_taken() -> None:
    """MemoryError for a length of eight bytes; 434 MiB for a frame of 16; fragments without any bound."""
    manager = make_manager(Echo(), max_payload=1000)
    for data in (b"\x82\xff" + bytes([0x80]) + bytes(7), b"\x82\xff" + (2**40).to_bytes(8, "big")):
        device = v1_device(manager)
        device.connection.deliver(data)
        assert device.close_code() == 1009
    device = v1_device(manager)
    device.connection.deliver(encode_frame(Opcode.BINARY, b"x" * 900, fin=False))
    device.connection.deliver(encode_frame(Opcode.CONTINUATION, b"x" * 900, fin=False))
    assert device.close_code() == 1009
    assert device.connection.over


def test_s24_the_rest_api_is_closed_by_default() -> None:
    """Everybody could send values to every endpoint by POST /api/iot.io. (Tokens for devices come later.)"""
    app = flask.Flask("s24")
    IoTManager(app)
    assert app.test_client().post("/api/iot.io", json={}).status_code == 404


def test_s25_debug_logging_is_well_formed(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    """Each emit at level DEBUG printed "--- Logging error ---"."""
    caplog.set_level(logging.DEBUG)
    device = v1_device(manager := make_manager(Echo()))
    manager.emit("x", {"a": 1}, "d1")
    device.send("nosuch")
    device.drop()
    assert "Logging error" not in capsys.readouterr().err
    assert caplog.records


def test_s26_loggers_are_part_of_the_hierarchy(caplog: pytest.LogCaptureFixture) -> None:
    """They were detached Logger objects, which no configuration reached."""
    manager = make_manager(Echo())
    client = v1_device(manager).connection.client
    assert client is not None
    for one in (manager.logger, client.logger):
        assert logging.getLogger(one.name) is one
        assert one.name.startswith("iotio.")
        assert one.handlers == []
    v1_device(manager, client_type="nosuch")
    assert [record.name for record in caplog.records] == ["iotio.connection"]


@pytest.mark.parametrize("value", [None, 1.5, (1,), {1}, object(), memoryview(b"x")])
def test_s27_what_cannot_be_sent_is_a_value_error_that_names_it(value: Any) -> None:
    """TypeError: can only concatenate str (not "type") to str."""
    manager = make_manager(Echo())
    v1_device(manager)
    with pytest.raises(ValueError, match=type(value).__name__):
        manager.emit("x", value, "d1")


@pytest.mark.parametrize(
    "packet",
    [
        "05000161000000016a",
        "03000161000000026a",
        "03000161000000006a",
        "0300016100000001ff",
        "04000161000000034e614e",
    ],
)
def test_s28_packets_are_read_strictly(packet: str) -> None:
    """Unknown types, wrong lengths, bad UTF-8 and NaN went through to the handlers."""
    device = v1_device(make_manager(Echo()))
    device.frame(Opcode.BINARY, bytes.fromhex(packet))
    ((event, value),) = device.packets()
    assert (event, value["error"]) == ("error", "client_invalid_packet")


def integer(**constraints: int) -> Any:
    return parse_endpoint({"id": "i", "name": "I", "type": "integer", "constraints": constraints})


def test_s29_the_increment_counts() -> None:
    """It was never looked at."""
    assert integer(min=1, max=10, increment=3).check(7) == (ValidationResponse.VALID, 7)
    assert integer(min=1, max=10, increment=3).check(6)[0] is ValidationResponse.INVALID_INCREMENT
    assert integer(increment=5).check(10)[0] is ValidationResponse.VALID


@pytest.mark.parametrize("value", [None, [], {}, 2**63, float("inf"), True])
def test_s30_no_integer_is_no_error_of_ours(value: Any) -> None:
    """TypeError and OverflowError became HTTP 500; True passed as an integer."""
    assert integer().check(value)[0] is not ValidationResponse.VALID


def test_s31_the_rest_api_keeps_the_type_of_a_json_value() -> None:
    """Everything was made text first: false became "False", and a list its first item."""
    app = flask.Flask("s31")
    manager = IoTManager(app, endpoint_api=True)
    manager.add_type(Echo())
    declarations = [{"id": "b", "name": "B", "type": "boolean"}, {"id": "s", "name": "S", "type": "string"}]
    device = v1_device(manager, endpoints=declarations)
    post = app.test_client().post
    assert post("/api/iot.io", json={"clientId": "d1", "endpointId": "b", "data": False}).status_code == 200
    assert device.packets() == [("b", False)]
    assert post("/api/iot.io", json={"clientId": "d1", "endpointId": "s", "data": ["x"]}).status_code == 400
    assert device.packets() == []


def run(code: str) -> str:
    """Run code in a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def test_s32_flask_restful_is_optional() -> None:
    """Without it the import failed, or endpoint_api=True was a TypeError."""
    code = """
import sys
sys.modules["flask_restful"] = None
import flask
from iotio import IoTManager
app = flask.Flask("s32")
IoTManager(app, endpoint_api=True)
IoTManager(flask.Flask("other"), endpoint_api=False)
print(app.test_client().post("/api/iot.io", json={}).status_code)
"""
    assert run(code).strip() == "400"


def test_s33_nothing_is_imported_that_python_no_longer_has() -> None:
    """The module cgi, which Python 3.13 does not have, was imported for nothing."""
    modules = {"cgi", "imp", "distutils", "asyncore", "asynchat", "pipes", "telnetlib"}
    code = f"import sys\nfor name in {modules}: sys.modules[name] = None\nfrom iotio import *\nprint('ok')"
    assert run(code).strip() == "ok"


@pytest.mark.parametrize("path", ["/iot.iofoo", "/iot.io/x", "/iot.io.html", "/x/iot.io"])
def test_s34_only_one_path_is_ours(path: str) -> None:
    """Every path that begins with /iot.io was taken from the application."""
    app = flask.Flask("s34")
    IoTManager(app)

    @app.get("/<path:anything>")
    def anything(anything: str) -> str:
        return f"/{anything}"

    assert app.test_client().get(path).text == path
    assert app.test_client().get("/iot.io").status_code == 426


def test_s35_clients_is_a_snapshot() -> None:
    """It was a live view of the dictionary: iterating it while devices came and went raised."""
    manager = make_manager(Echo())
    for number in range(5):
        v1_device(manager, f"d{number}")
    for client_id in manager.clients:
        v1_device(manager, f"new-{client_id}")
        manager.remove(client_id)
    assert len(manager.clients) == 5


def test_s36_removing_a_device_ends_its_connection(local_host: LocalHost) -> None:
    """The socket stayed open, and was served."""
    with opened(local_host, "s36") as peer:
        local_host.log.wait("s36", "mgr_on_connect")
        assert local_host.manager.remove("s36") is True
        assert peer.expect_frame().close_code == 1000
        peer.send_close(1000)
        assert peer.recv_frame() is None
    assert "reason:removed" in local_host.log.wait("s36", "mgr_on_disconnect")


@pytest.mark.parametrize("kind", KINDS)
def test_s37_devices_are_told_when_the_server_stops(kind: str) -> None:
    """A stop without CLOSE frame ended the program of every 0.4.12 device."""
    host = serve(kind)
    with opened(host, "s37") as peer:
        host.log.wait("s37", "mgr_on_connect")
        stopper = threading.Thread(target=host.stop)
        stopper.start()
        close = peer.expect_frame()
        assert (close.opcode, close.close_code) == (Opcode.CLOSE, 1001)
        peer.send_close(1001)
        assert peer.recv_frame() is None
        stopper.join(10)
        assert not stopper.is_alive()
    assert "reason:server_shutdown" in host.log.wait("s37", "mgr_on_disconnect")


@pytest.mark.parametrize("kind", ["flask", "gunicorn"])
def test_s38_ordinary_wsgi_servers_serve_devices(kind: str) -> None:
    """HTTP 500: No eventlet.input or gunicorn.socket present."""
    with serve(kind) as host, opened(host, "s38") as peer:
        assert echoes(peer)
        assert host.request("GET", "/hello") == (200, b"hello")


def modules_of(package: Any) -> Iterator[str]:
    yield package.__name__
    for one in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield one.name


def test_s39_what_is_installed_is_what_is_needed() -> None:
    """gevent and flask-sockets were required and not used; eventlet was needed and not named."""
    base = [one for one in importlib.metadata.requires("iotio") or [] if "extra ==" not in one]
    assert sorted(re.split("[>=]", one)[0] for one in base) == [
        "a2wsgi",
        "alembic",
        "click",
        "flask",
        "httptools",
        "iotio-client",
        "sqlalchemy",
        "uvicorn",
        "uvloop",
        "websockets",
    ]
    names = [name for name in modules_of(iotio) if name != "iotio.hosts.blocking.greenlets"]  # that one is the extra's
    code = (
        "import sys, importlib\nfor name in ('gevent', 'geventwebsocket', 'eventlet', 'flask_restful'):"
        f" sys.modules[name] = None\nfor name in {names}: importlib.import_module(name)\nprint('ok')"
    )
    assert run(code).strip() == "ok"


# iot.io 0.1 to 0.3.


def v0_opened(host: Host, client_id: str) -> RawPeer:
    peer = host.peer()
    assert peer.upgrade().status == 101
    peer.send_text(f'[/"{client_id}"/][/"echo"/][/"{{}}"/]')
    host.log.wait(client_id, "mgr_on_connect")
    return peer


def test_v1_a_device_that_drops_its_tcp_connection_costs_nothing(local_host: LocalHost) -> None:
    """One drop made the whole server spin at 100 % CPU, for ever."""
    for number in range(3):
        v0_opened(local_host, f"drop-{number}").close()
        assert "reason:transport_closed" in local_host.log.wait(f"drop-{number}", "mgr_on_disconnect")
    before = time.process_time()
    threading.Event().wait(0.3)  # the time in which a spinning server would be seen
    assert time.process_time() - before < 0.15
    assert local_host.request("GET", "/hello") == (200, b"hello")


@pytest.mark.parametrize(("value", "text"), [(None, None), (5, "5"), (True, "True"), ({"a": 1}, '{"a": 1}')])
def test_v2_a_handler_may_return_what_it_likes(value: Any, text: str | None) -> None:
    """A leftover print made everything but a str end the connection, and left a ghost behind."""

    class Returns(DeviceType):
        def on_give(self, message: Any, client: IoTClient) -> Any:
            return value

    device = v0_device(make_manager(Returns("echo")))
    device.send_v0("give")
    assert device.frames() == ([] if text is None else [(Opcode.TEXT, f'[/"give"/][/"{text}"/]'.encode())])
    assert device.connection.is_open


def test_v3_text_frames_of_utf8() -> None:
    """BINARY frames of ASCII, with all else left out: no device library of the time could read them."""
    device = v0_device(make_manager(Echo()))
    device.send_v0("echo", "é漢")
    assert device.frames() == [(Opcode.TEXT, '[/"echo"/][/"é漢"/]'.encode())]


def test_v4_a_device_that_never_introduces_itself_is_closed() -> None:
    """AttributeError after 30 s."""
    clock = Clock()
    manager = make_manager(Echo(), clock=clock)
    device = Device(connect(manager))
    clock.now += 30
    manager.sweep(clock.now)
    assert device.connection.read() == encode_close(1008, "handshake_timeout")


def test_v5_takeover() -> None:
    """As S2, among v0 devices."""
    manager = make_manager(echo := Echo())
    old, new = v0_device(manager, "a"), v0_device(manager, "a")
    assert old.close_code() == 1008
    old.drop()
    assert manager.emit("x", 1, "a").sent == 1
    assert new.frames() == [(Opcode.TEXT, b'[/"x"/][/"1"/]')]
    assert echo.calls == ["+a", "-a", "+a"]


def test_v6_devices_that_are_gone_are_gone() -> None:
    """0.2.0 never removed one; a broadcast to its type then raised."""
    manager = make_manager(Echo())
    v0_device(manager, "gone").drop()
    stays = v0_device(manager, "stays")
    assert manager.clients == ["stays"]
    assert manager.emit("x", 1, client_type="echo").sent == 1
    assert stays.frames() == [(Opcode.TEXT, b'[/"x"/][/"1"/]')]


@pytest.mark.parametrize("value", ["a[b]c", '[/"x"/]', "]", "[1, 2]"])
def test_v7_text_with_brackets_arrives_whole(value: str) -> None:
    """It disappeared, or became an argument of its own. A list cannot travel, which raises."""
    manager = make_manager(Echo())
    device = v0_device(manager)
    manager.emit("x", value, "d0")
    ((_, payload),) = device.frames()
    head, tail = b'[/"x"/][/"', b'"/]'
    assert payload.startswith(head)
    assert json.loads(payload[len(head) : -len(tail)]) == value
    with pytest.raises(EncodeError):
        manager.emit("x", [value], "d0")


def test_fast_options_differ_from_production_in_two_times_only() -> None:
    """What the tests above run with."""
    assert Options(refusal_delay=FAST.refusal_delay, close_timeout=FAST.close_timeout) == FAST
