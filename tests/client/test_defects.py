"""None of the defects C1 to C12 and V8 of the original clients is left: one test names each.

The behaviours themselves are tried at length in the other files; here stands the short proof.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from iotio_client import AsyncIoTClient, Backoff, IoTClient
from iotio_client.errors import ConnectFailed, ConnectionLost, DeviceRejected, NotConnected
from iotio_protocol.errors import ErrorCode
from tests.support.wire import Opcode

from .devices import AsyncDevice, Kind, Running, SyncDevice, make
from .fake_server import FakeServer, Peer
from .test_behaviours import GOOD, refuse_1008, serve_hello

BOTH = pytest.mark.parametrize("kind", [SyncDevice, AsyncDevice], ids=["sync", "async"])


@BOTH
def test_c1_return_value_goes_back(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.accept().packet("greet", "incoming")
        assert peer.recv_packet() == ("greet_ack", "RESPONSE-VALUE")
        peer.close(1000)

    device = make(kind)
    vars(device)["on_greet"] = lambda message: ("greet_ack", "RESPONSE-VALUE")
    with FakeServer(script) as server:
        assert Running(device.run, server.domain, reconnect=False).join() is None


@BOTH
def test_c2_error_as_dict_is_seen_and_stops(kind: Kind) -> None:
    with FakeServer(refuse_1008) as server:
        device = make(kind)
        error = Running(device.run, server.domain).join()
        assert isinstance(error, DeviceRejected)
        assert error.code is ErrorCode.CLIENT_INVALID_TYPE
        assert ("error", "client_invalid_type") in device.log.rest()


@BOTH
def test_c3_one_connection_and_never_a_plain_one_where_tls_is_asked_for(kind: Kind) -> None:
    heads = []
    with FakeServer(lambda peer: heads.append(peer.socket.recv(5))) as server:
        error = Running(make(kind).run, server.domain, use_tls=True, reconnect=False).join()
        assert isinstance(error, ConnectFailed)
    assert len(heads) == 1
    assert heads[0][0] == 0x16  # a TLS handshake record


def test_c4_ensure_open_does_not_burn() -> None:
    device = IoTClient("d", "t")
    before = time.thread_time()
    with pytest.raises(TimeoutError):
        device.ensure_open(0.3)
    assert time.thread_time() - before < 0.1


def test_c4_connection_that_ends_before_handle() -> None:
    with FakeServer(lambda peer: peer.accept().close(1000)) as server:
        device = make(SyncDevice)
        assert isinstance(device, SyncDevice)
        device.connect(server.domain)
        assert Running(device.handle).join() is None


@BOTH
def test_c5_fin_and_bad_status_are_survived(kind: Kind) -> None:
    def fin(peer: Peer) -> None:
        peer.accept()

    with FakeServer(fin, lambda peer: peer.answer(503), serve_hello) as server:
        device = make(kind)
        assert Running(device.run, server.domain).join() is None
        assert device.log.rest() == [("connect",), ("disconnect",), *GOOD]


@BOTH
def test_c6_nothing_breaks_the_log(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    def script(peer: Peer) -> None:
        peer.accept().send(Opcode.BINARY)
        peer.packet("raises", "%s %d {}")
        peer.close(1000)

    with FakeServer(script) as server:
        assert Running(make(kind).run, server.domain, reconnect=False).join() is None
    assert "Logging error" not in capsys.readouterr().err


@BOTH
def test_c7_timeout_is_not_a_limit_for_silence(kind: Kind) -> None:
    silence = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept()
        silence.wait(0.3)
        peer.packet("hello", "x")
        assert peer.recv_packet() == ("reply", "x")
        peer.close(1000)

    with FakeServer(script) as server:
        device = make(kind)
        assert Running(device.run, server.domain, timeout=0.1, reconnect=False).join() is None
        assert device.log.rest() == GOOD


def test_c8_send_without_a_connection_is_a_clear_error() -> None:
    device = make(SyncDevice)
    assert isinstance(device, SyncDevice)
    with pytest.raises(NotConnected, match="before the client has connected") as caught:
        device.send("e", 1)
    assert isinstance(caught.value, ConnectionError)
    with FakeServer(lambda peer: peer.accept().close(1000)) as server:
        assert Running(device.run, server.domain, reconnect=False).join() is None
    with pytest.raises(NotConnected, match="ended"):
        device.send("e", 1)


@BOTH
def test_c9_reserved_events_do_not_drive_callbacks(kind: Kind) -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        for event in ("connect", "disconnect", "connect"):
            peer.packet(event, "")
        peer.packet("attribute", 1)
        peer.packet("hello", "x")
        assert peer.recv_packet() == ("reply", "x")
        peer.close(1000)

    with FakeServer(script) as server:
        device = make(kind)
        assert Running(device.run, server.domain, reconnect=False).join() is None
        assert device.log.rest() == GOOD


@pytest.mark.parametrize("kind", [IoTClient, AsyncIoTClient])
@pytest.mark.parametrize("wrong", ["a\r\nX-Injected: yes", "\ud800"])
def test_c10_headers_cannot_be_injected(kind: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match="client_id"):
        kind(wrong, "t")
    with pytest.raises(ValueError, match="client_type"):
        kind("d", wrong)


@BOTH
def test_c11_without_reconnect_run_raises_what_happened(kind: Kind) -> None:
    """Ctrl-C: test_ctrl_c in test_sync_client.py, with reconnect True and False."""
    with FakeServer(lambda peer: peer.accept()) as server:
        error = Running(make(kind).run, server.domain, reconnect=False).join()
        assert isinstance(error, ConnectionLost)
        assert error.code == 1006


@BOTH
def test_c12_jitter_stop_and_on(kind: Kind) -> None:
    drawn = []

    def draw() -> float:
        drawn.append(0)
        return 0.0

    def fin(peer: Peer) -> None:
        peer.accept()

    with FakeServer(fin, fin, fin, serve_hello) as server:
        device = make(kind, backoff=Backoff(random=draw))
        assert Running(device.run, server.domain).join() is None
    assert len(drawn) == 3

    async def handler(message: Any) -> None: ...

    def plain(message: Any) -> None: ...

    chosen: Any = handler if kind is AsyncDevice else plain
    assert device.on("x")(chosen) is chosen


def test_c12_rejected_device_can_run_again() -> None:
    with FakeServer(refuse_1008, serve_hello) as server:
        device = make(SyncDevice)
        assert isinstance(Running(device.run, server.domain).join(), DeviceRejected)
        assert Running(device.run, server.domain).join() is None


def test_v8_return_value_binary_frame_and_reconnect() -> None:
    def script(peer: Peer) -> None:
        peer.accept()
        assert peer.recv().payload.startswith(b'[/"d1"/]')
        peer.send(Opcode.BINARY, b'[/"echo"/][/"kept"/]')
        assert peer.recv().payload == b'[/"echo"/][/"kept"/]'
        if peer.number == 2:
            peer.send(Opcode.TEXT, b'[/"quit"/][/"1"/]')
            peer.recv()
            assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        device = make(AsyncDevice, protocol_version=0)
        assert Running(device.run, server.domain).join() is None
        assert server.connections == 2


def test_v8_refused_connection_does_not_burn() -> None:
    with FakeServer(serve_hello) as server:
        pass
    used = []

    def run() -> None:
        before = time.thread_time()
        try:
            AsyncIoTClient("d", "t", {}).run(server.domain, reconnect=False)
        finally:
            used.append(time.thread_time() - before)

    assert isinstance(Running(run).join(), ConnectFailed)
    assert used[0] < 1
