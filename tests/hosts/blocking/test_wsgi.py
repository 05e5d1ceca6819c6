"""The WSGI application: devices at their path, everything else to the application."""

from __future__ import annotations

import logging
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import flask
import pytest
import werkzeug.serving

from iotio import DeviceType, IoTClient, IoTManager
from iotio.core.manager import Manager
from iotio.core.primitives import wait
from iotio.hosts.blocking import wsgi
from iotio.hosts.blocking.wsgi import DeviceEnd, IoTManagerMiddleware, waiting_here
from iotio_protocol import v1, v2
from tests.support.hosts import QuietHandler, eventually, serve_local
from tests.support.processes import START_SECONDS, Program
from tests.support.v2 import V2Device
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

KINDS = ["gevent", "flask"]
ADVICE = "Use gevent's pywsgi with handler_class=WebSocketHandler, Flask's app.run(), or gunicorn"


def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """An application that has nothing to do with devices."""
    start_response("200 OK", [("Content-Length", "4")])
    return [b"page"]


@contextmanager
def serve_by_werkzeug(manager: Manager, **options: Any) -> Iterator[int]:
    """The middleware without Flask, and with a loop thread of its own. Gives the port."""
    middleware = IoTManagerMiddleware(None, page, manager, **options)
    server = werkzeug.serving.make_server("127.0.0.1", 0, middleware, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_port
    finally:
        manager.close(2.0)
        server.shutdown()
        server.server_close()
        thread.join(10)
        middleware._loop_thread.stop()
        assert not thread.is_alive()


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve_by_wsgiref() -> Iterator[tuple[int, IoTManager]]:
    """The standard library's WSGI server, which keeps its sockets to itself."""
    app = flask.Flask("wsgiref")
    manager = IoTManager(app)
    manager.add_type(DeviceType("echo"))
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port, manager
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serve_by_pywsgi_without_handler() -> Iterator[tuple[int, IoTManager]]:
    """gevent's server without `WebSocketHandler`: what is left out of the quickstart first."""
    import gevent
    from gevent import pywsgi

    app = flask.Flask("pywsgi")
    manager = IoTManager(app)
    manager.add_type(DeviceType("echo"))
    ready = threading.Event()
    found: dict[str, Any] = {}

    def run() -> None:
        hub = gevent.get_hub()
        server = pywsgi.WSGIServer(("127.0.0.1", 0), app, log=None)
        server.start()
        ended = gevent.event.Event()
        watcher = hub.loop.async_()
        watcher.start(ended.set)
        found.update(port=server.server_port, end=watcher.send)
        ready.set()
        ended.wait()
        server.stop(timeout=1)
        watcher.close()
        hub.destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(10)
    try:
        yield found["port"], manager
    finally:
        found["end"]()
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("serve", [serve_by_wsgiref, serve_by_pywsgi_without_handler])
def test_a_server_that_hands_out_no_sockets_says_so(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serve() as (port, manager), RawPeer("127.0.0.1", port) as peer:
        answer = peer.upgrade(headers=v1_headers("d1", "echo"))
        assert answer.status == 501
        assert "does not hand its sockets to applications" in answer.body.decode()
        assert ADVICE in answer.body.decode()
        assert manager.clients == []
    (record,) = [one for one in caplog.records if one.name == "iotio.hosts"]
    assert record.levelno == logging.ERROR
    assert "a device at 127.0.0.1:" in record.getMessage()
    assert ADVICE in record.getMessage()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_path_of_devices_is_taken(kind: str) -> None:
    with serve_local(kind) as host:
        assert host.request("GET", "/state")[0] == 200
        assert host.request("GET", "/iot.io/elsewhere")[0] == 404
        status, body = host.request("GET", "/iot.io")
        assert (status, b"connect by WebSocket" in body) == (426, True)


def test_any_application_and_any_manager() -> None:
    manager = Manager()
    manager.add_type(DeviceType("echo"))
    with serve_by_werkzeug(manager) as port:
        with RawPeer("127.0.0.1", port) as browser:
            browser.send_bytes(browser.request_bytes("/page"))
            assert browser.recv_response().body == b"page"
        with RawPeer("127.0.0.1", port) as browser:
            browser.send_bytes(b"GET /iot.io HTTP/1.1\r\nHost: here\r\n\r\n")
            answer = browser.recv_response()
            assert (answer.status, answer.headers["upgrade"]) == (426, "websocket")
        with RawPeer("127.0.0.1", port) as device:
            assert device.upgrade(headers=v1_headers("d", "echo")).status == 101
            eventually(lambda: manager.clients == ["d"])
        eventually(lambda: manager.clients == [])


def test_the_scope_is_made_of_the_environ() -> None:
    seen: list[str] = []

    def scope_of(environ: WSGIEnvironment) -> Callable[[Any], Any]:
        seen.append(environ["QUERY_STRING"])
        return lambda client: nullcontext()

    manager = Manager()
    manager.add_type(DeviceType("echo"))
    with serve_by_werkzeug(manager, scope_of=scope_of) as port, RawPeer("127.0.0.1", port) as device:
        assert device.upgrade("/iot.io?room=5", headers=v1_headers("d", "echo")).status == 101
        eventually(lambda: manager.clients == ["d"])
    assert seen == ["room=5"]


@pytest.mark.parametrize(
    ("method", "connection", "status", "headers"),
    [
        ("POST", "Upgrade", 405, {"allow": "GET"}),
        ("GET", "close", 426, {"upgrade": "websocket"}),
    ],
)
def test_a_wrong_upgrade_is_told_what_would_be_right(
    method: str, connection: str, status: int, headers: dict[str, str]
) -> None:
    with serve_local("flask") as host, host.peer() as peer:
        lines = [
            f"{method} /iot.io HTTP/1.1",
            "Host: here",
            f"Connection: {connection}",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
            "Sec-WebSocket-Version: 13",
        ]
        peer.send_bytes("\r\n".join([*lines, "", ""]).encode())
        answer = peer.recv_response()
        assert answer.status == status
        assert {name: answer.headers.get(name) for name in headers} == headers


@pytest.mark.parametrize("kind", KINDS)
def test_frames_in_the_segment_of_the_upgrade_request_are_handled(kind: str) -> None:
    with serve_local(kind) as host, host.peer() as peer:
        leftover = encode_frame(Opcode.BINARY, v1.encode("same", "early"))
        assert peer.upgrade(headers=v1_headers("d", "echo"), leftover=leftover).status == 101
        assert v1.decode(peer.expect_frame().payload) == ("same", "early")


@pytest.mark.parametrize("kind", KINDS)
def test_a_subprotocol_is_agreed_on(kind: str) -> None:
    with serve_local(kind) as host, V2Device(host.port, "d") as device:
        device.send("same", 5, v2.CALL, call=7)
        assert device.expect() == v2.Packet("", 5, v2.RESULT, 7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_a_device_is_no_error_of_the_server(kind: str) -> None:
    with serve_local(kind) as host:
        with host.peer() as peer:
            assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
            host.log.wait("d", "mgr_on_connect")
            peer.send_close()
            peer.recv_frames_until_eof()
        eventually(lambda: host.manager.connections.all() == [])
        assert host.request("GET", "/state")[0] == 200
        assert host.errors == ""


def test_the_end_of_a_device_is_that_of_its_client() -> None:
    """What Werkzeug and gunicorn catch."""
    assert isinstance(DeviceEnd(), ConnectionError)


class Choosing(DeviceType):
    """Its handler chooses how to wait, and answers with the name of that."""

    def on_choose(self, message: Any, client: IoTClient) -> Any:
        return f"{waiting_here().__module__}.{waiting_here().__name__}"


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [("flask", "iotio.core.primitives.wait"), ("gevent", "iotio.hosts.blocking.greenlets.wait_in_greenlet")],
)
def test_a_thread_blocks_and_a_hub_that_serves_runs_on(kind: str, chosen: str) -> None:
    with serve_local(kind) as host, V2Device(host.port, "warm up"):
        host.manager.add_type(Choosing("choosing"))
        with V2Device(host.port, "d", "choosing") as device:
            device.send("choose", None, v2.CALL, call=1)
            assert device.expect() == v2.Packet("", chosen, v2.RESULT, 1)
        assert waiting_here() is wait


def test_eventlet_is_told_once_what_serves_devices(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start, if its server is loaded by then; else with the first device."""
    monkeypatch.setattr(wsgi, "_told_of_eventlet", False)
    wsgi.tell_of_eventlet()
    wsgi.tell_of_eventlet({})
    assert not caplog.records
    for _ in range(2):
        wsgi.tell_of_eventlet({"eventlet.input": None})
    monkeypatch.setattr(wsgi, "_told_of_eventlet", False)
    server = types.ModuleType("eventlet.wsgi")
    server.HttpProtocol = object  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "eventlet.wsgi", server)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/srv/shop.py")
    for _ in range(2):
        IoTManager(flask.Flask("x"))
    assert len(caplog.records) == 2
    assert caplog.messages[1] == (
        "eventlet.wsgi cannot serve devices, as it hands its sockets to no application; start this program with:"
        " iotio run shop.py"
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            "--worker-class gthread --workers 2 --threads 4",
            "the server has several processes, and the devices of one are unknown in the others:"
            " use gunicorn --worker-class gthread --workers 1 --threads 100",
        ),
        (
            "--worker-class sync --workers 1",
            "a sync worker of gunicorn does one thing at a time, and one device would hold it for ever:"
            " use gunicorn --worker-class gthread --workers 1 --threads 100",
        ),
    ],
)
def test_gunicorn_with_workers_that_serve_no_devices(options: str, why: str) -> None:
    command = [sys.executable, "-m", "gunicorn", *options.split(), "-b", "127.0.0.1:0", "tests.support.serve:app()"]
    with Program(command) as server:
        line = server.wait_line("Listening at: http://127.0.0.1:", START_SECONDS)
        port = int(line.split("127.0.0.1:")[1].split()[0])
        for _ in range(2):
            with RawPeer("127.0.0.1", port, timeout=START_SECONDS) as peer:
                answer = peer.upgrade(headers=v1_headers("d", "echo"))
            assert (answer.status, answer.body) == (503, b"This process serves no devices.\n")
        server.wait_line(why)
        server.terminate()
    said = [line for line in server.lines if why in line]
    assert 1 <= len(said) <= (2 if "2" in options else 1), "one for each process"
