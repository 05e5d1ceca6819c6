"""What only the sync client has: threads, connect and handle, ensure_open, Ctrl-C, TLS."""

from __future__ import annotations

import logging
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from iotio_client import IoTClient, NotConnected
from iotio_client.base import Interrupted, ctrl_c
from iotio_client.errors import ClientError, ConnectFailed, ConnectionLost
from iotio_protocol import v2
from iotio_protocol.errors import EncodeError
from tests.support.wire import Opcode

from .devices import Running, SyncDevice, make
from .fake_server import TIMEOUT, FakeServer, Peer
from .test_behaviours import GOOD, serve_hello


def device(**arguments: Any) -> SyncDevice:
    made = make(SyncDevice, **arguments)
    assert isinstance(made, SyncDevice)
    return made


def wait_for_close(peer: Peer) -> None:
    peer.accept().recv_close()


def test_connect_then_handle() -> None:
    with FakeServer(serve_hello) as server:
        one = device()
        one.connect(server.domain)
        states = [one.connected]
        one.handle()
        assert [*states, one.connected] == [True, False]
        assert one.log.rest() == GOOD


def test_connect_that_fails_can_be_repeated() -> None:
    with FakeServer(lambda peer: peer.answer(503), serve_hello) as server:
        one = device()
        with pytest.raises(ConnectFailed):
            one.connect(server.domain)
        one.connect(server.domain)
        with pytest.raises(ClientError, match="already"):
            one.connect(server.domain)
        one.handle()


def test_connect_send_stop() -> None:
    got = []

    def script(peer: Peer) -> None:
        peer.accept()
        got.append(peer.recv_packet())
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        one = device()
        one.connect(server.domain)
        one.send("e", 5)
        one.stop()
        assert one.log.rest() == [("connect",), ("disconnect",)]
        with pytest.raises(NotConnected):
            one.handle()
    assert got == [("e", 5)]


def test_connect_again_after_an_end_that_nobody_handled() -> None:
    with FakeServer(lambda peer: peer.accept().close(1000), serve_hello) as server:
        one = device()
        one.connect(server.domain)
        connection = one._driver.connection
        assert connection is not None
        connection.recv_events_thread.join(TIMEOUT)
        assert not one.connected
        one.connect(server.domain)
        one.handle()
        assert one.log.rest() == [("connect",), ("disconnect",), *GOOD]


def test_handle_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iotio_client.sync_client.HANDLE_PATIENCE", 0.05)
    with pytest.raises(NotConnected, match=r"call connect\(domain\) before it, or beside it, or use run\(domain\)"):
        device().handle()


def test_handle_waits_for_a_slow_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its patience is for the beginning: what has begun has a time limit of its own."""
    monkeypatch.setattr("iotio_client.sync_client.HANDLE_PATIENCE", 0.05)
    asked, answer = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        asked.set()
        assert answer.wait(TIMEOUT)
        serve_hello(peer)

    with FakeServer(script) as server:
        one = device()
        connecting = Running(one.connect, server.domain)
        assert asked.wait(TIMEOUT)
        handling = Running(one.handle)
        handling._thread.join(0.2)
        assert handling._thread.is_alive()
        answer.set()
        assert connecting.join() is None
        assert handling.join() is None
        assert one.log.rest() == GOOD


def test_ensure_open() -> None:
    with FakeServer(wait_for_close) as server:
        one = device()
        waiting = Running(one.ensure_open)
        running = Running(one.run, server.domain)
        assert waiting.join() is None
        one.stop()
        assert running.join() is None
        with pytest.raises(NotConnected):
            one.ensure_open()
    with pytest.raises(TimeoutError):
        device().ensure_open(0.01)


def test_sends_from_many_threads_arrive_whole_and_in_order() -> None:
    got: list[tuple[str, Any]] = []

    def script(peer: Peer) -> None:
        peer.accept()
        while len(got) < 8 * 50:
            got.append(peer.recv_packet())
        peer.close(1000)

    with FakeServer(script) as server:
        one = device()
        running = Running(one.run, server.domain, reconnect=False)
        one.ensure_open(TIMEOUT)

        def sender(number: int) -> None:
            for index in range(50):
                one.send(f"t{number}", str(index) * 1000)

        senders = [threading.Thread(target=sender, args=(number,)) for number in range(8)]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join(TIMEOUT)
        assert running.join() is None
    for number in range(8):
        mine = [value for event, value in got if event == f"t{number}"]
        assert mine == [str(index) * 1000 for index in range(50)]


def test_write_that_the_server_does_not_take() -> None:
    with FakeServer(lambda peer: (peer.accept(), release.wait(TIMEOUT))) as server:
        release = threading.Event()
        one = device()
        one.connect(server.domain, timeout=0.1)
        try:
            with pytest.raises(NotConnected):
                one.send("big", bytes(50_000_000))
        finally:
            release.set()
        one.stop()


def test_send_checks_before_it_looks_at_the_connection() -> None:
    with pytest.raises(EncodeError, match="float"):
        device(protocol_version=1).send("e", 1.5)


@pytest.mark.parametrize("reconnect", ["True", "False"])
def test_ctrl_c(tmp_path: Path, reconnect: str) -> None:
    program = tmp_path / "device.py"
    program.write_text(
        textwrap.dedent(
            """
            import sys
            from iotio_client import IoTClient

            class Device(IoTClient):
                def on_connect(self): print("connect", flush=True)
                def on_disconnect(self): print("disconnect", flush=True)

            try:
                Device("d1", "t").run(sys.argv[1], reconnect=sys.argv[2] == "True")
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            """
        )
    )
    codes = []
    with FakeServer(lambda peer: codes.append(peer.accept().recv_close())) as server:
        with subprocess.Popen(
            [sys.executable, str(program), server.domain, reconnect], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "connect\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=TIMEOUT)[0] == "disconnect\ninterrupted\n"
        assert process.returncode == 0
    assert codes == [1000]


QUIET = """
import logging, sys
from iotio_client import AsyncIoTClient, IoTClient

logging.basicConfig(stream=sys.stdout, level=logging.DEBUG, format="%(message)s")
logging.getLogger("websockets").setLevel(logging.WARNING)  # of a thread of its own, at any time
client = {client}("d1", "t")
client.run(sys.argv[1])
"""


@pytest.mark.parametrize("client", ["IoTClient", "AsyncIoTClient"])
@pytest.mark.parametrize("when", ["connected", "connecting", "waiting"])
def test_ctrl_c_is_no_error(tmp_path: Path, client: str, when: str) -> None:
    """No traceback, one line, status 0, whatever the client does."""
    program = tmp_path / "device.py"
    program.write_text(QUIET.format(client=client))
    asked = threading.Event()
    ended: list[object] = []

    def script(peer: Peer) -> None:
        if when == "connected":
            ended.append(peer.accept().recv_close())
        elif when == "connecting":
            peer.read_request()
            asked.set()
            peer.wait_eof()
        else:
            peer.answer(503)

    with FakeServer(script) as server:
        with subprocess.Popen(
            [sys.executable, str(program), server.domain], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            last = {"connected": "connected to", "connecting": "connecting to", "waiting": "next attempt"}[when]
            while last not in process.stdout.readline():
                pass
            assert when != "connecting" or asked.wait(TIMEOUT)
            process.send_signal(signal.SIGINT)
            said, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, errors) == (0, "")
    assert said.splitlines()[-1] == "stopped by Ctrl-C"
    assert ended == ([1000] if when == "connected" else [])


def test_ctrl_c_at_the_prompt_leaves_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted), ctrl_c(logging.getLogger("iotio.client.d1")):
        raise KeyboardInterrupt
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(KeyboardInterrupt) as caught, ctrl_c(logging.getLogger("iotio.client.d1")):
        raise KeyboardInterrupt
    assert not isinstance(caught.value, SystemExit)


def test_stop_in_a_signal_handler(tmp_path: Path) -> None:
    program = tmp_path / "device.py"
    program.write_text(
        textwrap.dedent(
            """
            import signal, sys
            from iotio_client import IoTClient

            class Device(IoTClient):
                def on_connect(self): print("connect", flush=True)
                def on_disconnect(self): print("disconnect", flush=True)

            device = Device("d1", "t")
            signal.signal(signal.SIGTERM, lambda number, frame: device.stop())
            device.run(sys.argv[1])
            print("returned", flush=True)
            """
        )
    )
    codes = []
    with FakeServer(lambda peer: codes.append(peer.accept().recv_close())) as server:
        with subprocess.Popen(
            [sys.executable, str(program), server.domain], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "connect\n"
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=TIMEOUT)[0] == "disconnect\nreturned\n"
        assert process.returncode == 0
    assert codes == [1000]


def test_sys_exit_in_a_handler_ends_the_program_in_order() -> None:
    def script(peer: Peer) -> None:
        peer.accept().packet("exit", 3)
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        one = device()
        vars(one)["on_exit"] = lambda message: sys.exit(message)
        error = Running(one.run, server.domain).join()
        assert isinstance(error, SystemExit)
        assert one.log.rest() == [("connect",), ("disconnect",)]


# TLS.


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


def test_tls_by_sslopt(authority: trustme.CA, server_context: ssl.SSLContext) -> None:
    with FakeServer(serve_hello, context=server_context) as server, authority.cert_pem.tempfile() as ca_file:
        for sslopt in ({"ca_certs": ca_file}, {"cert_reqs": ssl.CERT_NONE}):
            one = device()
            assert Running(one.run, server.domain, sslopt=sslopt).join() is None
            assert one.log.rest() == GOOD
        assert server.connections == 2


def test_tls_by_context(authority: trustme.CA, server_context: ssl.SSLContext) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with FakeServer(serve_hello, context=server_context) as server:
        assert Running(device().run, f"wss://{server.domain}", ssl_context=context).join() is None


@pytest.mark.parametrize("arguments", [{"use_tls": True}, {"sslopt": {}}])
def test_tls_checks_the_certificate(server_context: ssl.SSLContext, arguments: dict[str, Any]) -> None:
    with FakeServer(serve_hello, context=server_context) as server:
        error = Running(device().run, server.domain, reconnect=False, **arguments).join()
        assert isinstance(error, ConnectFailed)
        assert "certificate" in str(error)


def test_plain_device_at_a_tls_port_gets_a_hint(server_context: ssl.SSLContext) -> None:
    with FakeServer(serve_hello, context=server_context) as server:
        error = Running(device().run, server.domain, reconnect=False).join()
        assert isinstance(error, ConnectFailed)


# Logging.


def test_logging_level_is_left_alone_unless_given() -> None:
    assert IoTClient("logged.one", "t").logger.name == "iotio.client.logged_one"
    assert IoTClient("logged.one", "t").logger.level == logging.NOTSET
    assert IoTClient("logged.two", "t", None, logging.INFO).logger.level == logging.INFO
    assert logging.getLogger("iotio.client").level == logging.NOTSET


@pytest.mark.parametrize("arguments", [{"timeout": 0}, {"timeout": -1}, {"reconnect_delay": -1}])
def test_wrong_times(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        device().run("localhost:1", **arguments)


def test_ping_is_answered_while_a_handler_is_busy() -> None:
    pinged = threading.Event()

    def script(peer: Peer) -> None:
        peer.accept().packet("slow", 0)
        peer.send(Opcode.PING, b"alive?")
        assert peer.recv().payload == b"alive?"
        pinged.set()
        assert peer.recv_packet() == ("slow", True)
        peer.close(1000)

    with FakeServer(script) as server:
        one = device()
        vars(one)["on_slow"] = lambda message: pinged.wait(TIMEOUT)
        assert Running(one.run, server.domain, reconnect=False).join() is None


# The thread that reads.


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "iotio-client-reader"]


def packet(peer: Peer, event: str, value: Any, flags: int = 0, **more: int) -> None:
    peer.send(Opcode.BINARY, v2.encode(event, value, flags, **more))


def test_call_is_answered_while_a_handler_of_another_thread_runs() -> None:
    release = threading.Event()
    results: list[Any] = []

    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "slow", 0)
        assert one.log.next() == ("connect",)
        assert one.log.next() == ("slow",)
        asked = Running(lambda: results.append(one.call("question", timeout=TIMEOUT)))
        assert peer.recv_v2() == v2.Packet("question", None, v2.CALL, 1)
        packet(peer, "", "yes", v2.RESULT, call=1)
        assert asked.join() is None
        release.set()
        peer.close(1000)

    def slow(message: Any) -> None:
        one.log.put("slow")
        release.wait(TIMEOUT)

    with FakeServer(script) as server:
        one = device()
        vars(one)["on_slow"] = slow
        assert Running(one.run, server.domain, reconnect=False).join() is None
    assert results == ["yes"]
    assert not readers()


def test_answer_comes_to_a_handler_behind_a_full_inbox() -> None:
    full = 600

    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "ask", 0)
        for number in range(full):
            packet(peer, "mark", number)
        assert one.log.next() == ("connect",)
        release.set()
        assert peer.recv_v2() == v2.Packet("question", 0, v2.CALL, 1)
        packet(peer, "", "yes", v2.RESULT, call=1)
        assert peer.recv_v2() == v2.Packet("ask", "yes")
        peer.close(1000)

    def ask(message: Any) -> Any:
        assert release.wait(TIMEOUT)
        return one.call("question", message, timeout=TIMEOUT)

    release = threading.Event()
    marks: list[int] = []
    with FakeServer(script) as server:
        one = device()
        vars(one).update(on_ask=ask, on_mark=marks.append)
        assert Running(one.run, server.domain, reconnect=False).join() is None
    assert marks == list(range(full))


def test_full_inbox_stops_the_reader() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "slow", 0)
        for number in range(600):
            packet(peer, "mark", number)
        sent.set()
        peer.close(1000)

    def slow(message: Any) -> None:
        assert sent.wait(TIMEOUT)
        seen.append(len(one._shell.inbox._waiting))

    sent = threading.Event()
    seen: list[int] = []
    marks: list[int] = []
    with FakeServer(script) as server:
        one = device()
        vars(one).update(on_slow=slow, on_mark=marks.append)
        assert Running(one.run, server.domain, reconnect=False).join() is None
    assert seen[0] <= 256
    assert marks == list(range(600))


def test_stop_in_another_thread_while_the_inbox_is_full() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "slow", 0)
        for number in range(600):
            packet(peer, "mark", number)
        assert one.log.next() == ("connect",)
        assert one.log.next() == ("slow",)
        one.stop()
        stopped.set()
        assert peer.recv().payload[:1] == b"\x14"  # GOODBYE
        assert peer.recv_close() == 1000

    def slow(message: Any) -> None:
        one.log.put("slow")
        stopped.wait(TIMEOUT)

    stopped = threading.Event()
    marks: list[int] = []
    with FakeServer(script) as server:
        one = device()
        vars(one).update(on_slow=slow, on_mark=marks.append)
        assert Running(one.run, server.domain).join() is None
    assert not marks
    assert not readers()


def test_error_of_the_reader_comes_out_of_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(message: object) -> Any:
        raise RuntimeError("a bug")

    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "hello", 0)
        assert peer.recv().payload[:1] == b"\x14"  # GOODBYE
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        one = device()
        monkeypatch.setattr(one._session.codec, "receive", broken)
        error = Running(one.run, server.domain).join()
        assert isinstance(error, RuntimeError)
        assert str(error) == "a bug"
        assert one.log.rest() == [("connect",), ("disconnect",)]
    assert not readers()


def test_flush_in_a_handler_ends_with_the_connection() -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        packet(peer, "keep", 0)
        peer.recv_v2()
        peer.reset()

    def keep(message: Any) -> None:
        one.send("reading", 1, durable=True)
        try:
            one.flush(1000)
        except TimeoutError:
            one.log.put("not in time")

    with FakeServer(script) as server:
        one = device()
        vars(one)["on_keep"] = keep
        assert isinstance(Running(one.run, server.domain, reconnect=False).join(), ConnectionLost)
        assert one.log.rest() == [("connect",), ("not in time",), ("disconnect",)]
