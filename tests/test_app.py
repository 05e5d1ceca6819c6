"""The manager and its application: init_app, contexts, a server in a thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar, copy_context
from http.client import HTTPConnection
from typing import Any

import flask
import pytest

import iotio
from iotio import DeviceType, IoTClient, IoTManager
from iotio.app import _scope
from iotio.core.primitives import Signal
from iotio.hosts.memory import MemoryConnection
from iotio.hosts.upgrade import NO_UPGRADE
from iotio_protocol import v1
from tests.support.hosts import Host, LocalHost, eventually, host, local_host, serve_local
from tests.support.memory import Device, v1_device
from tests.support.wire import RawPeer, v1_headers

__all__ = ["host", "local_host"]  # the fixtures


class Ctx(DeviceType):
    """Calls the module-level functions."""

    def on_emit(self, message: Any, client: IoTClient) -> None:
        iotio.emit("mine", message)

    def on_all(self, message: Any, client: IoTClient) -> None:
        result = iotio.emit("all", message, client_type="ctx", skip=client)
        client.emit("sent", result.sent)

    def on_join(self, message: Any, client: IoTClient) -> Any:
        return iotio.join(message)

    def on_join_other(self, message: Any, client: IoTClient) -> Any:
        return iotio.join("room", message)

    def on_leave(self, message: Any, client: IoTClient) -> Any:
        return iotio.leave(message)

    def on_leave_other(self, message: Any, client: IoTClient) -> Any:
        return iotio.leave("room", message)

    def on_close(self, message: Any, client: IoTClient) -> Any:
        return iotio.close_room(message)

    async def on_late(self, message: Any, client: IoTClient) -> Any:
        iotio.emit("mine", flask.current_app.name)
        return flask.request.g["client"].id  # type: ignore[attr-defined]  # iot.io put it there


class Where(DeviceType):
    """Answers with the name of the application."""

    def on_app(self, message: Any, client: IoTClient) -> Any:
        return flask.current_app.name

    async def on_app_later(self, message: Any, client: IoTClient) -> Any:
        await asyncio.sleep(0)
        return flask.current_app.name

    def on_disconnect(self, client: IoTClient) -> None:
        flask.current_app.config["LAST"] = client.id


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("ctx app")


@pytest.fixture
def manager(app: flask.Flask) -> Iterator[IoTManager]:
    found = IoTManager(app)
    found.add_type(Ctx("ctx"))
    yield found
    end(found)


def end(manager: IoTManager) -> None:
    """Leave the contexts in which devices were served."""
    for connection in manager.connections.all():
        assert isinstance(connection, MemoryConnection)
        connection.finish()


def device(manager: IoTManager, client_id: str = "a") -> Device:
    """A device in memory whose handlers have the request context of its upgrade, as on the WSGI hosts."""
    assert manager.app is not None
    environ = manager.app.test_request_context("/iot.io?x=1", headers=v1_headers(client_id, "ctx")).request.environ
    return v1_device(manager, client_id, "ctx", scope=_scope(manager.app, environ))


def test_init_app_later(app: flask.Flask) -> None:
    manager = IoTManager()
    with pytest.raises(RuntimeError, match="init_app"):
        manager.socket(None)
    before = app.wsgi_app
    manager.init_app(app)
    assert manager.app is app
    assert app.wsgi_app is not before
    assert app.test_client().get("/iot.io").status_code == 426
    assert app.test_client().get("/api/iot.io").status_code == 404, "the REST API is off until it is asked for"


def test_one_manager_for_two_apps(app: flask.Flask) -> None:
    manager, other = IoTManager(app), flask.Flask("other")
    manager.init_app(other)
    assert app.extensions["iot.io"] is other.extensions["iot.io"] is manager
    for one in (app, other):
        assert one.test_client().get("/iot.io").status_code == 426


def test_two_managers(app: flask.Flask, manager: IoTManager) -> None:
    """The functions of a handler mean the manager of its device, whatever the application's last manager is."""
    a = device(manager)
    with pytest.warns(RuntimeWarning) as caught:
        second = IoTManager(app)
    text = "<Flask 'ctx app'> has an IoTManager already, which serves no devices from now on: make one only"
    assert [(str(one.message), one.filename) for one in caught] == [(text, __file__)]
    second.add_type(Ctx("ctx"))
    b = device(second)
    a.send("join", "r")
    assert manager.rooms == {"r": ["a"]}
    assert second.rooms == {}
    assert b.packets() == []
    end(second)


def test_the_context_is_entered_once_for_a_connection(app: flask.Flask, manager: IoTManager) -> None:
    torn_down: list[Any] = []
    app.teardown_request(torn_down.append)
    a = device(manager)
    for _ in range(3):
        a.send("late")
    assert torn_down == []
    a.drop()
    assert torn_down == [None]
    assert not flask.has_request_context()


def test_a_stuck_handler_leaves_its_context_when_it_ends(
    app: flask.Flask, manager: IoTManager, caplog: pytest.LogCaptureFixture
) -> None:
    """A takeover that does not wait any longer left the Flask context from outside of it, which cannot be done."""
    torn_down: list[Any] = []
    app.teardown_request(torn_down.append)

    class Stuck(DeviceType):
        gate = threading.Event()
        entered = threading.Event()

        def on_wait(self, message: Any, client: IoTClient) -> None:
            self.entered.set()
            assert self.gate.wait(5)

    manager.add_type(stuck := Stuck("ctx"))
    a = device(manager)
    turn = threading.Thread(target=a.send, args=("wait",))
    turn.start()
    assert stuck.entered.wait(5)
    device(manager)  # in memory nobody can wait
    assert torn_down == []
    stuck.gate.set()
    turn.join(5)
    assert torn_down == [None]
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


# On real hosts.


@contextmanager
def opened(host: Host, client_id: str, path: str = "/iot.io") -> Iterator[Any]:
    with host.peer() as peer:
        assert peer.upgrade(path, headers=v1_headers(client_id, "echo")).status == 101
        yield peer
    host.log.wait(client_id, "mgr_on_disconnect")


def ask(peer: Any, event: str, value: Any = "") -> tuple[str, Any]:
    peer.send_binary(v1.encode(event, value))
    return v1.decode(peer.expect_frame().payload)


def test_handlers_see_the_upgrade_request(host: Host) -> None:
    with opened(host, "ctx-1", "/iot.io?room=kitchen") as peer, opened(host, "ctx-2") as other:
        seen = {"app": "tests.support.app", "id": "ctx-1", "query": {"room": "kitchen"}, "client": True}
        assert ask(peer, "context") == ("context", seen)
        assert ask(other, "context")[1]["id"] == "ctx-2"
        assert ask(peer, "asleep") == ("asleep", "ctx-1")
        assert ask(peer, "ctxemit", "hi") == ("ctx_reply", "hi")
        assert ask(peer, "ctxjoin", "r") == ("joined", ["r"])


def test_emit_from_a_thread_of_the_program(local_host: LocalHost) -> None:
    with opened(local_host, "threads") as peer:
        local_host.log.wait("threads", "mgr_on_connect")
        for number in range(20):
            assert local_host.manager.emit("n", number, "threads").sent == 1
        assert [v1.decode(peer.expect_frame().payload)[1] for _ in range(20)] == list(range(20))


@pytest.mark.parametrize("kind", ["gevent", "flask"])
def test_remove_from_a_thread_with_an_async_on_disconnect(kind: str) -> None:
    """`on_disconnect` then runs in the caller's thread, which is not the connection's."""

    class Late(DeviceType):
        done = threading.Event()

        async def on_disconnect(self, client: IoTClient) -> None:
            await asyncio.sleep(0.02)  # so that it has to be waited for
            self.done.set()

    with serve_local(kind) as host:
        host.manager.add_type(late := Late("late"))
        with host.peer() as peer:
            assert peer.upgrade(headers=v1_headers("late", "late")).status == 101
            host.log.wait("late", "mgr_on_connect")
            remover = threading.Thread(target=host.manager.remove, args=("late",))
            remover.start()
            remover.join(5)
            assert not remover.is_alive(), "remove does not come back"
            assert late.done.is_set()
            assert peer.expect_frame().close_code == 1000
        eventually(lambda: host.manager.clients == [])


def test_handlers_in_memory_have_the_application(app: flask.Flask) -> None:
    """With nothing but `connect`: there is no request, but there is an application."""
    manager = IoTManager()
    manager.add_type(Where("where"))
    manager.init_app(app)
    one = v1_device(manager, "one", "where")
    one.send("app")
    one.send("app_later")
    assert one.packets() == [("app", "ctx app"), ("app_later", "ctx app")]
    one.drop()
    assert app.config["LAST"] == "one"
    assert not flask.has_app_context()


# What is no application.


@pytest.mark.parametrize("wrong", [None, 5, "app", object()])
def test_what_is_no_application_is_named(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"app must be an instance of a flask application, or an ASGI application"):
        IoTManager(wrong)
    manager = IoTManager()
    with pytest.raises(ValueError, match=r"app must be an instance"):
        manager.init_app(wrong)
    assert manager.app is None


async def page(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with the same words; an ASGI application."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"page"})


def test_what_only_flask_has_is_refused_without_it() -> None:
    with pytest.raises(ValueError, match=r"^max_body is Flask's; with devices alone leave it out$"):
        IoTManager().start(max_body=5)
    with pytest.raises(ValueError, match=r"^endpoint_api serves Flask applications: call init_app\(app\) first$"):
        IoTManager(endpoint_api=True).start()
    with pytest.raises(ValueError, match="endpoint_api serves Flask applications"):
        IoTManager(page, endpoint_api=True)
    with pytest.raises(ValueError, match="request_context is Flask's"):
        IoTManager(page).start(request_context=True)
    with pytest.raises(ValueError, match="request_context is Flask's"):
        IoTManager(page).asgi_app(request_context=True)


def test_an_application_comes_before_the_devices_are_served(app: flask.Flask) -> None:
    manager = IoTManager()
    alone = manager.asgi
    assert manager.asgi is alone
    with pytest.raises(RuntimeError, match=r"^devices are served alone already: call init_app\(app\) before start\(\)"):
        manager.init_app(app)
    manager = IoTManager()
    with (
        started(manager),
        pytest.raises(RuntimeError, match=r"^devices are served alone already: call init_app\(app\) before start\(\)"),
    ):
        manager.init_app(app)
    manager.init_app(app)
    mount = manager.asgi
    assert manager.asgi is mount
    assert manager.asgi_app() is not mount
    manager.init_app(page)
    assert manager.asgi is not mount, "that of the other application"


# A server in a thread.


class Request(DeviceType):
    """Answers with the id in the request of the device's upgrade; "" where there is none."""

    def on_id(self, message: Any, client: IoTClient) -> Any:
        return flask.request.headers["IoT-IO-Id"] if flask.has_request_context() else ""


@contextmanager
def started(manager: IoTManager, **options: Any) -> Iterator[int]:
    """Serve a manager; the port."""
    port = manager.start(**options)
    try:
        yield port
    finally:
        manager.stop()


def read(port: int, path: str) -> bytes:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


@pytest.mark.parametrize("request_context", [False, True])
def test_start_serves_devices_and_pages(app: flask.Flask, request_context: bool) -> None:
    app.add_url_rule("/page", view_func=lambda: "page")
    manager = IoTManager(app)
    manager.add_type(Request("request"))
    with started(manager, request_context=request_context) as port, RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade("/iot.io?x=1", headers=v1_headers("d", "request")).status == 101
        assert ask(peer, "id") == ("id", "d" if request_context else "")
        assert read(port, "/page") == b"page"
        with pytest.raises(RuntimeError, match="the server runs already"):
            manager.start()
        manager.stop()
        assert peer.expect_frame().close_code == 1001
    manager.stop()  # harmless


class Lost(DeviceType):
    """Looks for a request that is not there."""

    def on_address(self, message: Any, client: IoTClient) -> Any:
        return flask.request.remote_addr

    async def on_address_later(self, message: Any, client: IoTClient) -> Any:
        return flask.request.remote_addr

    def on_there(self, message: Any, client: IoTClient) -> Any:
        return message


@pytest.mark.parametrize("event", ["address", "address_later"])
def test_flask_request_without_a_request_is_explained(
    app: flask.Flask, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    manager = IoTManager(app)
    manager.add_type(Lost("lost"))
    with started(manager) as port, RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(headers=v1_headers("d", "lost")).status == 101
        peer.send_binary(v1.encode(event, ""))
        assert ask(peer, "there", 1) == ("there", 1)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        f"handler on_{event} of type 'lost' failed for device 'd': flask.request needs"
        " manager.run(request_context=True), or iotio run --request-context"
    ]
    assert manager.explain(RuntimeError("another")) == IoTManager().explain(RuntimeError("x")) == ""


def test_start_serves_an_asgi_application() -> None:
    manager = IoTManager(page)
    manager.add_type(Request("request"))
    with started(manager) as port, RawPeer("127.0.0.1", port) as peer:
        assert peer.upgrade(headers=v1_headers("d", "request")).status == 101
        assert ask(peer, "id") == ("id", "")
        assert read(port, "/") == b"page"


def test_start_serves_devices_alone() -> None:
    manager = IoTManager()
    manager.add_type(Request("request"))
    words = b"There is nothing here: this server has devices only, at the WebSocket path /iot.io.\n"
    with started(manager) as port, RawPeer("127.0.0.1", port) as peer, RawPeer("127.0.0.1", port) as lost:
        assert peer.upgrade(headers=v1_headers("d", "request")).status == 101
        assert ask(peer, "id") == ("id", "")
        for path, status, body in (("/", 404, words), ("/iot.io", 426, NO_UPGRADE.encode())):
            with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request("GET", path)
                answer = connection.getresponse()
                assert (answer.status, answer.read()) == (status, body)
        refused = lost.upgrade("/devices", headers=v1_headers("d", "request"))
        assert (refused.status, refused.headers["iotio-error"]) == (404, "no_such_path")


def test_start_says_where_it_cannot(app: flask.Flask) -> None:
    manager = IoTManager(app)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(RuntimeError, match=r"the server could not start: port \d+ is in use"):
            manager.start(port=taken.getsockname()[1])
        with pytest.raises(OSError, match=r"port \d+ is in use"):
            manager.run("127.0.0.1", taken.getsockname()[1])
    with started(manager) as port:
        assert port > 0, "it is no worse for that"


# Without a host.


def test_an_awaitable_runs_on_a_thread_of_the_managers_own() -> None:
    manager = IoTManager()
    number: ContextVar[int] = ContextVar("number", default=0)
    context = copy_context()
    context.run(number.set, 5)

    async def where() -> tuple[int, str]:
        await asyncio.sleep(0)
        return number.get(), threading.current_thread().name

    found, name = manager.run_awaitable(where(), context)
    assert found == 5
    assert name != threading.current_thread().name

    async def fails() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        manager.run_awaitable(fails(), context)
    manager.close()


def test_wait_here_waits_in_this_thread() -> None:
    manager = IoTManager()
    signal = Signal()
    assert manager.wait_here(signal, 0.01) is False
    setter = threading.Thread(target=signal.set)
    setter.start()
    assert manager.wait_here(signal, 10) is True
    setter.join(5)
