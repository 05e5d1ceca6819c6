"""What both clients do with what a server does: the behaviours of client_behaviour.json, and more."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from iotio_client import EndpointInfo, EndpointType
from iotio_client.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    ConnectTimeout,
    DeviceRejected,
    UpgradeRefused,
)
from iotio_client.failures import TAKES_UNICODE
from iotio_protocol import v1, v2
from iotio_protocol.errors import ErrorCode
from iotio_protocol.options import Options
from tests.protocol.vectors import load
from tests.support.wire import Opcode, encode_frame

from .devices import AsyncDevice, Kind, Running, SyncDevice, make
from .fake_server import TIMEOUT, FakeServer, Peer, Script

PASSING_CODES = (
    ErrorCode.CLIENT_INVALID_PACKET,
    ErrorCode.UNSUPPORTED_PACKET,
    ErrorCode.SERVER_BUSY,
    ErrorCode.STREAM_GAP,
)
FATAL = [code for code in ErrorCode if code not in PASSING_CODES]


@pytest.fixture(params=[SyncDevice, AsyncDevice], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """No thread outlives a test."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), thread
    gc.collect()


def serve_hello(peer: Peer) -> None:
    """A good connection: the device stops after an exchange."""
    peer.accept()
    peer.packet("hello", "x")
    assert peer.recv_packet() == ("reply", "x")
    peer.packet("quit", 0)
    assert peer.recv_packet() == ("quit", "bye")
    assert peer.recv_close() == 1000


GOOD = [("connect",), ("hello", "x"), ("disconnect",)]


# What is before the exchange does not matter to it.


def text_frame(peer: Peer) -> None:
    peer.send(Opcode.TEXT, b"plain words")


def empty_packet(peer: Peer) -> None:
    peer.send(Opcode.BINARY)


def short_packet(peer: Peer) -> None:
    peer.send(Opcode.BINARY, b"\x03\x00\x05he")


def bad_json_packet(peer: Peer) -> None:
    peer.send(Opcode.BINARY, b"\x04\x00\x05hello\x00\x00\x00\x01{")


def unknown_type(peer: Peer) -> None:
    peer.send(Opcode.BINARY, b"\x09\x00\x05hello\x00\x00\x00\x01x")


def unknown_event(peer: Peer) -> None:
    peer.packet("nobody_listens", 1)


def event_connect(peer: Peer) -> None:
    peer.packet("connect", "")


def event_disconnect(peer: Peer) -> None:
    peer.packet("disconnect", "")


def handler_raises(peer: Peer) -> None:
    peer.packet("raises", 1)


def handler_attribute_error(peer: Peer) -> None:
    peer.packet("attribute", 1)


def ping(peer: Peer) -> None:
    peer.send(Opcode.PING, b"pp")
    frame = peer.recv()
    assert (frame.opcode, frame.payload) == (Opcode.PONG, b"pp")


def fragmented(peer: Peer) -> None:
    packet = v1.encode("echo", "frag")
    peer.send(Opcode.BINARY, packet[:3], fin=False)
    peer.send(Opcode.PING, b"between")
    peer.send(Opcode.CONTINUATION, packet[3:])
    assert peer.recv().payload == b"between"
    assert peer.recv_packet() == ("echo", "frag")


@pytest.mark.parametrize(
    "first",
    [
        text_frame,
        empty_packet,
        short_packet,
        bad_json_packet,
        unknown_type,
        unknown_event,
        event_connect,
        event_disconnect,
        handler_raises,
        handler_attribute_error,
        ping,
        fragmented,
    ],
)
def test_connection_lives_on(kind: Kind, first: Script) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        first(peer)
        peer.packet("hello", "x")
        assert peer.recv_packet() == ("reply", "x")
        peer.packet("quit", 0)
        assert peer.recv_packet() == ("quit", "bye")
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        device = make(kind)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == GOOD


def test_packet_in_the_same_segment_as_the_upgrade(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.accept(encode_frame(Opcode.BINARY, v1.encode("quit", 0), mask=None))
        assert peer.recv_packet() == ("quit", "bye")
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        assert Running(make(kind).run, server.domain).join() is None


@pytest.mark.parametrize("value", ["client_invalid_packet", {"error": "client_invalid_packet", "info": None}])
def test_error_invalid_packet_is_told_and_passes(kind: Kind, value: object) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.packet("error", value)
        peer.packet("quit", 0)
        assert peer.recv_packet() == ("quit", "bye")
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        device = make(kind)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == [("connect",), ("error", "client_invalid_packet"), ("disconnect",)]


# The server refuses the device: the program ends, and says what to change.


def refuse_1008(peer: Peer) -> None:
    peer.accept()
    peer.send(Opcode.BINARY, v1.error_packet(ErrorCode.CLIENT_INVALID_TYPE))
    peer.close(1008)


def refuse_1000(peer: Peer) -> None:
    peer.accept()
    peer.send(Opcode.BINARY, v1.error_packet(ErrorCode.CLIENT_INVALID_TYPE))
    peer.close(1000)


def refuse_4000(peer: Peer) -> None:
    peer.accept()
    peer.send(Opcode.BINARY, v1.error_packet(ErrorCode.CLIENT_INVALID_TYPE))
    peer.close(4000)


def refuse_string(peer: Peer) -> None:
    peer.accept()
    peer.packet("error", "client_invalid_type")
    peer.close(1008)


def refuse_and_hold(peer: Peer) -> None:
    peer.accept()
    peer.packet("error", "client_invalid_type")
    assert peer.recv_close() == 1000


def refuse_dict_then_hello(peer: Peer) -> None:
    """What comes after the refusal is not heard."""
    peer.accept()
    packets = [v1.error_packet(ErrorCode.CLIENT_INVALID_TYPE), v1.encode("hello", "x")]
    peer.socket.sendall(b"".join(encode_frame(Opcode.BINARY, packet, mask=None) for packet in packets))
    assert peer.recv_close() == 1000


def refuse_as_the_original(peer: Peer) -> None:
    """iot.io 0.4.10 writes raw HTTP into the upgraded stream, and holds TCP."""
    peer.accept()
    peer.send(Opcode.BINARY, v1.error_packet(ErrorCode.CLIENT_INVALID_TYPE))
    peer.socket.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    peer.wait_eof()


@pytest.mark.parametrize(
    "script",
    [
        refuse_1008,
        refuse_1000,
        refuse_4000,
        refuse_string,
        refuse_and_hold,
        refuse_dict_then_hello,
        refuse_as_the_original,
    ],
)
@pytest.mark.parametrize("reconnect", [True, False])
def test_rejection_ends_the_program(kind: Kind, script: Script, reconnect: bool) -> None:
    with FakeServer(script) as server:
        device = make(kind)
        error = Running(device.run, server.domain, reconnect=reconnect).join()
        assert isinstance(error, DeviceRejected)
        assert error.code is ErrorCode.CLIENT_INVALID_TYPE
        assert "'t'" in str(error)
        assert "client_type" in str(error)
        assert device.log.rest() == [("connect",), ("error", "client_invalid_type"), ("disconnect",)]
        assert server.connections == 1
        assert not device.connected


@pytest.mark.parametrize("code", FATAL)
def test_every_rejection(kind: Kind, code: ErrorCode) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.send(Opcode.BINARY, v1.error_packet(code, {"endpointId": "e"}))
        peer.close(1008)

    with FakeServer(script) as server:
        error = Running(make(kind).run, server.domain).join()
        assert isinstance(error, DeviceRejected)
        assert (error.code, error.info) == (code, {"endpointId": "e"})


# The connection ends: the device comes back.


def close_1000(peer: Peer) -> None:
    peer.accept().close(1000)


def close_1001(peer: Peer) -> None:
    peer.accept().close(1001, "server shutdown")


def close_1008(peer: Peer) -> None:
    peer.accept().close(1008, "two devices have this id")


def close_1012(peer: Peer) -> None:
    peer.accept().close(1012)


def close_empty(peer: Peer) -> None:
    peer.accept().close(None)


def fin(peer: Peer) -> None:
    peer.accept()


def rst(peer: Peer) -> None:
    peer.accept().reset()


def masked_frame(peer: Peer) -> None:
    peer.accept().send(Opcode.BINARY, v1.encode("hello", "m"), mask=b"\x01\x02\x03\x04")
    peer.wait_eof()


def http_400_in_the_stream(peer: Peer) -> None:
    peer.accept().socket.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    peer.wait_eof()


def too_large(peer: Peer) -> None:
    peer.accept().send(Opcode.BINARY, bytes(5000), fin=True)
    peer.wait_eof()


ENDS = [close_1000, close_1001, close_1008, close_1012, close_empty, fin, rst, masked_frame]
ENDS += [http_400_in_the_stream, too_large]


@pytest.mark.parametrize("script", ENDS)
def test_comes_back(kind: Kind, script: Script) -> None:
    options = Options(max_payload=1000, close_timeout=0.2, ping_interval=0.2, ping_timeout=0.2)
    with FakeServer(script, script, serve_hello) as server:
        device = make(kind, options=options)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == [("connect",), ("disconnect",)] * 2 + GOOD
        assert server.connections == 3


@pytest.mark.parametrize("script", ENDS)
def test_without_reconnect(kind: Kind, script: Script) -> None:
    options = Options(max_payload=1000, close_timeout=0.2, ping_interval=0.2, ping_timeout=0.2)
    clean = script in (close_1000, close_1001, close_empty)
    with FakeServer(script) as server:
        device = make(kind, options=options)
        error = Running(device.run, server.domain, reconnect=False).join()
        assert error is None if clean else isinstance(error, ConnectionLost)
        assert device.log.rest() == [("connect",), ("disconnect",)]
        assert server.connections == 1


# The upgrade fails.


def status(code: int) -> Script:
    return lambda peer: peer.answer(code)


def end_before_answer(peer: Peer) -> None:
    peer.read_request()


def end_at_once(peer: Peer) -> None:
    pass


def no_http(peer: Peer) -> None:
    peer.read_request()
    peer.socket.sendall(b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n")


UNAVAILABLE = status(503)
PASSING = [status(500), status(502), UNAVAILABLE, status(408), status(429), end_before_answer, end_at_once]


@pytest.mark.parametrize("script", [*PASSING, no_http])
def test_tries_again(kind: Kind, script: Script) -> None:
    with FakeServer(script, script, serve_hello) as server:
        device = make(kind)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == GOOD
        assert server.connections == 3


@pytest.mark.parametrize("script", [*PASSING, no_http])
def test_tries_once_without_reconnect(kind: Kind, script: Script) -> None:
    with FakeServer(script) as server:
        device = make(kind)
        error = Running(device.run, server.domain, reconnect=False).join()
        assert isinstance(error, ConnectFailed)
        assert server.domain in str(error)
        assert device.log.rest() == []


def says_no(code: int, word: str = "no_such_path") -> Script:
    """Answer with a status, and the header of a server of ours."""

    def answer(peer: Peer) -> None:
        peer.read_request()
        peer.socket.sendall(f"HTTP/1.1 {code} No\r\niotio-error: {word}\r\nContent-Length: 0\r\n\r\n".encode())
        peer.wait_eof()

    return answer


@pytest.mark.parametrize("code", [401, 403, 404])
def test_status_that_does_not_pass(kind: Kind, code: int) -> None:
    with FakeServer(says_no(code)) as server:
        device = make(kind)
        error = Running(device.run, server.domain).join()
        assert isinstance(error, UpgradeRefused)
        assert error.status == code
        assert str(code) in str(error)
        assert server.connections == 1
        assert device.log.rest() == []


BAD_REQUEST, PAGE = status(400), status(200)
WITHOUT_HEADERS = [BAD_REQUEST, status(431)]  # these are tried without v1's headers at once
LOGIN_PAGES = [PAGE, *map(status, (204, 302, 401, 403, 404, 421, 426)), says_no(426)]


@pytest.mark.parametrize("script", [*LOGIN_PAGES, *WITHOUT_HEADERS])
def test_what_proxies_and_login_pages_say_is_tried_again(
    kind: Kind, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeServer(script, script, serve_hello) as server:
        device = make(kind)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == GOOD
    told = [record.levelname for record in caplog.records if "HTTP status" in record.getMessage()]
    at_once = script in WITHOUT_HEADERS  # of the two answers one attempt tells
    assert told == (["ERROR"] if at_once else ["ERROR", "WARNING"])


class Heads:
    """Serve as a script does, and keep the head of each request."""

    def __init__(self) -> None:
        self.all: list[bytes] = []

    def __call__(self, script: Script) -> Script:
        def serve(peer: Peer) -> None:
            script(peer)
            self.all.append(peer.head)

        return serve


def test_a_large_header_is_sent_to_a_server_of_v1_only(kind: Kind) -> None:
    """Which lets the device in without endpoints first, and closes in order before it comes with them."""
    heads = Heads()

    def let_go(peer: Peer) -> None:
        peer.accept()
        assert peer.recv_close() == 1000

    async def nothing(message: object) -> None:
        pass

    handler = nothing if kind is AsyncDevice else print
    with FakeServer(heads(let_go), heads(serve_hello)) as server:
        device = make(kind)
        for number in range(200):
            device.on(f"e{number}", EndpointInfo("x" * 30, EndpointType.BOOLEAN))(handler)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == GOOD
    assert [b"IoT-IO-Endpoints" in head for head in heads.all] == [False, True]
    assert [b"IoT-IO-Id" in head for head in heads.all] == [True, True]


def test_a_status_that_comes_after_a_connection_is_tried_again(kind: Kind) -> None:
    with FakeServer(close_1001, says_no(404), serve_hello) as server:
        device = make(kind)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest()[-len(GOOD) :] == GOOD


def test_hang_before_upgrade(kind: Kind) -> None:
    def hang(peer: Peer) -> None:
        peer.read_request()
        peer.wait_eof()

    with FakeServer(hang, serve_hello) as server:
        device = make(kind)
        assert Running(device.run, server.domain, timeout=0.2).join() is None
        assert device.log.rest() == GOOD
    with FakeServer(hang) as server:
        error = Running(make(kind).run, server.domain, timeout=0.2, reconnect=False).join()
        assert isinstance(error, ConnectTimeout)
        assert isinstance(error, TimeoutError)


def test_refused_port_and_unknown_host(kind: Kind) -> None:
    with FakeServer(end_at_once) as server:
        pass
    for domain in (server.domain, "no-such-host.invalid"):
        error = Running(make(kind).run, domain, reconnect=False).join()
        assert type(error) is ConnectFailed
        assert error.retry
        assert isinstance(error, ConnectionError)


# Silence.


def test_idle_server_is_pinged_and_kept(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        for _ in range(3):
            frame = peer.recv()
            assert frame.opcode == Opcode.PING
            peer.send(Opcode.PONG, frame.payload)
        peer.packet("quit", 0)
        while peer.recv().opcode == Opcode.PING:
            pass
        assert peer.recv_close() == 1000

    options = Options(ping_interval=0.05, ping_timeout=5)
    with FakeServer(script) as server:
        device = make(kind, options=options)
        assert Running(device.run, server.domain, timeout=0.1).join() is None
        assert device.log.rest() == [("connect",), ("disconnect",)]


def test_dead_server_is_noticed(kind: Kind) -> None:
    options = Options(ping_interval=0.05, ping_timeout=0.05, close_timeout=0.05)

    def dead(peer: Peer) -> None:
        peer.accept().wait_eof()

    with FakeServer(dead) as server:
        device = make(kind, options=options)
        error = Running(device.run, server.domain, reconnect=False).join()
        assert isinstance(error, ConnectionLost)
        assert "ping" in str(error)
        assert device.log.rest() == [("connect",), ("disconnect",)]


def test_the_server_says_how_often_it_is_pinged(kind: Kind) -> None:
    """And anything that comes answers, be it one byte of a frame."""

    def script(peer: Peer) -> None:
        peer.greet(ping_interval=0.05, ping_timeout=TIMEOUT)
        frame = encode_frame(Opcode.BINARY, v2.encode("quit", 0), mask=None)
        for number in range(3):
            assert peer.recv().opcode == Opcode.PING
            peer.socket.sendall(frame[number : number + 1])
        peer.socket.sendall(frame[3:])
        while (last := peer.recv()).opcode in (Opcode.PING, Opcode.BINARY):
            pass
        assert last.close_code == 1000
        peer.send(Opcode.CLOSE, last.payload)

    with FakeServer(script) as server:
        device = make(kind)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == [("connect",), ("disconnect",)]


def test_the_server_says_how_long_it_may_take_to_answer(kind: Kind) -> None:
    def dead(peer: Peer) -> None:
        peer.greet(ping_interval=0.05, ping_timeout=0.05)
        peer.wait_eof()

    with FakeServer(dead) as server:
        error = Running(make(kind).run, server.domain, reconnect=False).join()
        assert isinstance(error, ConnectionLost)
        assert str(error).endswith("nothing came for 0.05 s after a ping")


def test_close_without_end_of_tcp_is_bounded(kind: Kind) -> None:
    options = Options(ping_interval=0.1, close_timeout=0.1)

    def hold(peer: Peer) -> None:
        peer.accept().send(Opcode.CLOSE, b"\x03\xe9")
        peer.wait_eof()

    with FakeServer(hold) as server:
        device = make(kind, options=options)
        assert Running(device.run, server.domain, reconnect=False).join() is None


# stop().


def test_stop_from_another_thread(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        assert peer.accept().recv_close() == 1000

    with FakeServer(script) as server:
        device = make(kind)
        running = Running(device.run, server.domain)
        assert device.log.next() == ("connect",)
        device.stop()
        assert running.join() is None
        assert device.log.rest() == [("disconnect",)]
        device.stop()  # does nothing


def test_stop_while_waiting_to_reconnect(kind: Kind) -> None:
    from iotio_client import Backoff

    with FakeServer(fin) as server:
        device = make(kind, backoff=Backoff(base=1000, cap=1000, random=lambda: 1.0))
        running = Running(device.run, server.domain, reconnect_delay=1000)
        assert device.log.next() == ("connect",)
        assert device.log.next() == ("disconnect",)
        device.stop()
        assert running.join() is None


def test_stop_while_connecting(kind: Kind) -> None:
    arrived = threading.Event()

    def hang(peer: Peer) -> None:
        peer.read_request()
        arrived.set()
        peer.wait_eof()

    with FakeServer(hang) as server:
        device = make(kind)
        running = Running(device.run, server.domain)
        assert arrived.wait(5)
        device.stop()
        assert running.join() is None
        assert device.log.rest() == []


def test_stop_before_run(kind: Kind) -> None:
    with FakeServer(end_at_once) as server:
        device = make(kind)
        device.stop()
        assert Running(device.run, server.domain).join() is None
        assert server.connections == 0


def test_stop_in_on_connect(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        assert peer.accept().recv_close() == 1000

    with FakeServer(script) as server:
        device = make(kind)
        device.on_connect = device.stop  # type: ignore[method-assign]
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == [("disconnect",)]


def test_runs_again_after_the_end(kind: Kind) -> None:
    with FakeServer(serve_hello) as server:
        device = make(kind)
        for _ in range(2):
            assert Running(device.run, server.domain).join() is None
            assert device.log.rest() == GOOD


def test_one_run_at_a_time(kind: Kind) -> None:
    with FakeServer(lambda peer: peer.accept().wait_eof()) as server:
        device = make(kind)
        running = Running(device.run, server.domain)
        assert device.log.next() == ("connect",)
        assert isinstance(Running(device.run, server.domain).join(), ClientError)
        assert device.connected
        device.stop()
        assert running.join() is None


# What travels.


def test_request_of_v1(kind: Kind) -> None:
    lines: list[bytes] = []
    name = "küche 漢" if TAKES_UNICODE else "küche"

    def script(peer: Peer) -> None:
        peer.accept()
        lines.extend(peer.device_lines())
        lines.append(peer.head)

    with FakeServer(script) as server:
        device = make(kind, client_id=name, client_type="té", client_data={"k": "é", "n": [1, None]})
        assert isinstance(Running(device.run, server.domain, reconnect=False).join(), ConnectionLost)
    head = lines.pop()
    assert head.startswith(b"GET /iot.io HTTP/1.1\r\n")
    assert b"Sec-WebSocket-Extensions" not in head
    assert lines == [
        f"IoT-IO-Id: {name}".encode(),
        "IoT-IO-Type: té".encode(),
        b'IoT-IO-Data: {"k": "\\u00e9", "n": [1, null]}',
        b"IoT-IO-Endpoints: []",
        b"IoT-IO-ProtocolVersion: 1",
    ]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_v0(kind: Kind, binary: bool) -> None:
    """Servers up to 0.2.0 send text frames, 0.2.1 to 0.3.1 binary ones."""

    def script(peer: Peer) -> None:
        peer.accept()
        assert peer.device_lines() == []
        assert peer.recv().payload == b'[/"d1"/][/"t"/][/"{"a": 1}"/]'
        peer.send(Opcode.BINARY if binary else Opcode.TEXT, b'[/"echo"/][/"7"/]')
        frame = peer.recv()
        assert (frame.opcode, frame.payload) == (Opcode.TEXT, b'[/"echo"/][/"7"/]')
        peer.send(Opcode.TEXT, b'[/"quit"/][/""/]')
        assert peer.recv().payload == b'[/"quit"/][/"bye"/]'
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        device = make(kind, protocol_version=0, client_data={"a": 1})
        assert Running(device.run, server.domain).join() is None


def test_exception_is_logged_with_all_that_helps(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.packet("raises", 1)
        peer.packet("attribute", 1)
        peer.packet("quit", 0)
        assert peer.recv_packet() == ("quit", "bye")
        assert peer.recv_close() == 1000

    with caplog.at_level(logging.ERROR, "iotio.client"), FakeServer(script) as server:
        assert Running(make(kind).run, server.domain).join() is None
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "the handler on_raises of device 'd1' of type 't' has failed",
        "the handler on_attribute of device 'd1' of type 't' has failed",
    ]
    kinds: list[Any] = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert kinds == [ValueError, AttributeError]


def test_answer_that_cannot_be_sent_is_logged(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        peer.packet("number", 1)
        peer.packet("quit", 0)
        assert peer.recv_packet() == ("quit", "bye")
        assert peer.recv_close() == 1000

    device = make(kind)
    vars(device)["on_number"] = lambda message: 1.5
    with caplog.at_level(logging.ERROR, "iotio.client"), FakeServer(script) as server:
        assert Running(device.run, server.domain).join() is None
    assert "float" in str(caplog.records[0].exc_info)


def test_on_disconnect_may_raise(kind: Kind) -> None:
    device = make(kind)

    def fails() -> None:
        raise RuntimeError("in on_disconnect")

    device.on_disconnect = fails  # type: ignore[method-assign]
    with FakeServer(fin, serve_hello) as server:
        assert Running(device.run, server.domain).join() is None


def test_a_server_cannot_fill_the_log(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """Of each kind of line the first 10 pass; the others are kept back, to DEBUG, and counted later."""
    caplog.set_level(logging.DEBUG, "iotio")

    def flood(peer: Peer) -> None:
        peer.accept()
        for _ in range(300):
            peer.send(Opcode.BINARY, b"\x09")
            peer.packet("raises", "x")
            peer.packet("error", {"error": "client_invalid_packet", "info": None})
        peer.packet("quit", 0)
        while peer.recv_packet() != ("quit", "bye"):
            pass

    with FakeServer(flood) as server:
        assert Running(make(kind).run, server.domain).join() is None
    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 30
    assert sum(line.getMessage().startswith("ignored an invalid packet") for line in lines) == 10
    assert sum(line.getMessage().startswith("the handler on_raises") for line in lines) == 10
    assert sum(line.getMessage().startswith("the server reports the error") for line in lines) == 10
    kept = [record for record in caplog.records if record.getMessage().startswith("the handler on_raises")]
    assert len(kept) == 300


# Case of client_behaviour.json -> the test that does the same to our clients, and its parameter if it has several.
COVERED: dict[str, tuple[Any, Any]] = {
    "orig_reject: error packet + raw HTTP 400": (test_rejection_ends_the_program, refuse_as_the_original),
    "error packet + close 1008": (test_rejection_ends_the_program, refuse_1008),
    "error packet + close 1000": (test_rejection_ends_the_program, refuse_1000),
    "error packet + close 4000": (test_rejection_ends_the_program, refuse_4000),
    "error packet as STRING + close 1008": (test_rejection_ends_the_program, refuse_string),
    "error STRING then hold": (test_rejection_ends_the_program, refuse_and_hold),
    "error STRING client_invalid_packet then hello": (
        test_error_invalid_packet_is_told_and_passes,
        "client_invalid_packet",
    ),
    "error dict then hello": (test_rejection_ends_the_program, refuse_dict_then_hello),
    "close 1000": (test_comes_back, close_1000),
    "close 1001": (test_comes_back, close_1001),
    "close 1012": (test_comes_back, close_1012),
    "close empty": (test_comes_back, close_empty),
    "fin without close": (test_comes_back, fin),
    "rst": (test_comes_back, rst),
    "http 400": (test_what_proxies_and_login_pages_say_is_tried_again, BAD_REQUEST),
    "http 401": (test_status_that_does_not_pass, 401),
    "http 403": (test_status_that_does_not_pass, 403),
    "http 503": (test_tries_again, UNAVAILABLE),
    "http 200": (test_what_proxies_and_login_pages_say_is_tried_again, PAGE),
    "tcp close before response": (test_tries_again, end_before_answer),
    "text frame ignored then hello": (test_connection_lives_on, text_frame),
    "ping then hello": (test_connection_lives_on, ping),
    "empty binary then hello": (test_connection_lives_on, empty_packet),
    "short packet then hello": (test_connection_lives_on, short_packet),
    "bad json packet then hello": (test_connection_lives_on, bad_json_packet),
    "unknown type then hello": (test_connection_lives_on, unknown_type),
    "hello (handler returns tuple)": (test_runs_again_after_the_end, None),
    "unknown event": (test_connection_lives_on, unknown_event),
    "handler raises": (test_connection_lives_on, handler_raises),
    "handler AttributeError": (test_connection_lives_on, handler_attribute_error),
    "event connect from server": (test_connection_lives_on, event_connect),
    "event disconnect from server": (test_connection_lives_on, event_disconnect),
    "fragmented packet": (test_connection_lives_on, fragmented),
    "masked frame from server": (test_comes_back, masked_frame),
    "hang after upgrade (idle)": (test_idle_server_is_pinged_and_kept, None),
    "hang after upgrade +timeout=2": (test_idle_server_is_pinged_and_kept, None),
    "hang before upgrade": (test_hang_before_upgrade, None),
    "hang before upgrade +timeout=2": (test_hang_before_upgrade, None),
}


@pytest.mark.parametrize("stack", ["0.4.12", "0.4.12_wsclient_1.9.2", "0.4.1"])
def test_no_behaviour_of_the_vectors_is_left_out(stack: str) -> None:
    names = {name.rpartition(" | ")[0] for name in load("client_behaviour.json")[stack]}
    assert names == set(COVERED)


@pytest.mark.parametrize("name", COVERED)
def test_what_covers_a_behaviour_has_that_case(name: str) -> None:
    test, parameter = COVERED[name]
    values = [value for mark in getattr(test, "pytestmark", []) for value in mark.args[1]]
    assert values == [] if parameter is None else parameter in values
