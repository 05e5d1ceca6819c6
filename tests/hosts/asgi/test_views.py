"""Flask's views behind an ASGI server: bodies come before threads, and are bounded."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import flask
import pytest

from iotio import IoTManager
from iotio.hosts.asgi import views
from iotio.hosts.asgi.views import Views
from tests.support.asgi import UvicornThread
from tests.support.wire import RawPeer

LIMIT = 100_000


class Site:
    """A Flask application on a server with two threads for views, and bodies of `LIMIT` bytes."""

    def __init__(self, kind: str) -> None:
        self.app = flask.Flask("site")
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)
        self.app.post("/size", endpoint="size")(lambda: str(len(flask.request.get_data())))
        self.app.get("/query", endpoint="query")(lambda: repr(flask.request.args.get("a")))
        self.app.get("/wait")(self.wait)
        self.manager = IoTManager(self.app)
        self._stack = contextlib.ExitStack()
        if kind == "native":
            self.port = self.manager.start(view_threads=2, max_body=LIMIT)
            self._stack.callback(self.manager.stop)
        else:
            mount = self.manager.asgi_app(view_threads=2, max_body=LIMIT)
            self.port = self._stack.enter_context(UvicornThread(mount)).port

    def wait(self) -> str:
        self.begun.release()
        assert self.go_on.wait(10)
        return "waited"

    def peer(self) -> RawPeer:
        return RawPeer("127.0.0.1", self.port)

    def close(self) -> None:
        self.go_on.set()
        self._stack.close()
        self.manager.close(0)


@pytest.fixture(params=["native", "asgi"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(request.param)
    yield made
    made.close()


def post(size: int, body: bytes = b"") -> bytes:
    return b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + body


def test_slow_bodies_hold_no_threads(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(site.peer()) for _ in range(10)]
        for peer in slow:
            peer.send_bytes(post(2, b"x"))
        with site.peer() as peer:
            peer.send_bytes(post(3, b"abc"))
            assert peer.recv_response().body == b"3"
        for peer in slow:
            peer.send_bytes(b"y")
            assert peer.recv_response().body == b"2"


def test_so_many_views_run_at_a_time(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(site.peer()) for _ in range(3)]
        for peer in peers:
            peer.send_bytes(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert site.begun.acquire(timeout=5)
        assert site.begun.acquire(timeout=5)
        assert not site.begun.acquire(timeout=0.2)
        site.go_on.set()
        for peer in peers:
            assert peer.recv_response().body == b"waited"


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_size_of_a_body(site: Site, size: int, chunked: bool) -> None:
    with site.peer() as peer:
        if chunked:
            head = b"POST /size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            peer.send_bytes(head + b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n")
        else:
            peer.send_bytes(post(size, bytes(size)))
        answer = peer.recv_response()
        if size == LIMIT:
            assert (answer.status, answer.body) == (200, b"100000")
        else:
            assert (answer.status, answer.body) == (413, b"The body of a request may have 100000 bytes (max_body).")


def test_too_large_a_body_is_refused_before_it_comes(site: Site) -> None:
    with site.peer() as peer:
        peer.send_bytes(post(10**15))
        assert peer.recv_response().status == 413


def test_a_query_that_is_no_ascii(site: Site) -> None:
    with site.peer() as peer:
        peer.send_bytes("GET /query?a=ä%20b HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = peer.recv_response()
        assert (answer.status, answer.body) in [(200, repr("ä b").encode()), (400, answer.body)]  # h11 refuses it


def test_wrong_numbers() -> None:
    cases: list[dict[str, Any]] = [{"view_threads": 0}, {"max_body": -1}]
    for wrong in cases:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            IoTManager(flask.Flask("x")).asgi_app(**wrong)


# What all bodies may have, without a server.


class Request:
    """A request whose body comes in the pieces that the test puts."""

    def __init__(self, site: Views) -> None:
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[dict[str, Any]] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "query_string": b"",
            "headers": [],
            "http_version": "1.1",
        }
        self.task = asyncio.ensure_future(site(scope, self._pieces.get, self._send))

    async def _send(self, event: Any) -> None:
        self.sent.append(event)

    async def put(self, size: int, *, more: bool = True) -> None:
        """Have a piece come, and be taken."""
        self._pieces.put_nowait({"type": "http.request", "body": bytes(size), "more_body": more})
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"%d" % len(environ["wsgi.input"].read())]


def test_the_body_that_has_come_for_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_MAX_BODIES", 250)

    async def run() -> None:
        site = Views(application, 1, 100)
        first, second = Request(site), Request(site)
        await first.put(100)
        await second.put(100)
        third = Request(site)
        await third.put(100)
        assert (first.status, third.status) == (None, 503)  # they have come for a moment only
        monkeypatch.setattr(views, "_PATIENCE", 0.0)
        fourth = Request(site)
        await fourth.put(100, more=False)
        await fourth.task
        await first.task
        assert (first.status, second.status, fourth.status) == (408, None, 200)
        assert fourth.sent[1]["body"] == b"100"
        await second.put(0, more=False)
        await second.task
        assert second.status == 200
        assert site._size == 0

    asyncio.run(run())


def test_a_peer_that_goes_leaves_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        site = Views(application, 1, 100)
        gone = Request(site)
        await gone.put(50)
        gone._pieces.put_nowait({"type": "http.disconnect"})
        await gone.task
        assert (gone.sent, site._size, site._coming) == ([], 0, {})
        cancelled = Request(site)
        await cancelled.put(50)
        cancelled.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled.task
        assert (site._size, site._coming) == (0, {})

    asyncio.run(run())
