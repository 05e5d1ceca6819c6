"""What is missing is named, with what to do about it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import flask
import pytest

from iotio import DeviceType, IoTManager
from tests.support.wire import RawPeer, v1_headers

ADVICE = "Use gevent's pywsgi with handler_class=WebSocketHandler, Flask's app.run(), or gunicorn"


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
