"""Serve a WSGI application, which is Flask's views, in threads behind an ASGI server.

The body of a request is read whole before a thread is taken, so that slow peers hold no threads. What all bodies may
have in memory is bounded: one that has been coming for long makes room for others.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any, cast
from urllib.parse import quote_from_bytes
from wsgiref.types import WSGIApplication

from a2wsgi import WSGIMiddleware

from .types import ASGIApp, AsgiScope, Event, Receive, Send

__all__ = ["MAX_BODY", "THREADS", "Views"]

THREADS = 32
"""Threads for views, at most."""

MAX_BODY = 8 * 1024 * 1024
"""Bytes that the body of a request may have."""

_MAX_BODIES = 64 * 1024 * 1024  # bytes of all bodies at a time
_PATIENCE = 5.0  # seconds that a body has in any case, before it may have to make room
_ASCII = bytes(range(33, 127)).decode()  # bytes of a query that are passed on as they are


class _Refused(Exception):
    """Refuse a request.

    Args:
        status: of the answer.
        text: the same in words.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class _Body:
    """The body of one request, as far as it has come."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self.loop = asyncio.get_running_loop()
        self.since = self.loop.time()
        self.reader: asyncio.Task[bool] | None = None  # while more of it is to come


class Views:
    """The application, as ASGI. Several loops may serve it.

    Args:
        app: the WSGI application.
        threads: for its views, at most.
        max_body: bytes that the body of a request may have; a larger one is answered with 413.

    Raises:
        ValueError: a number is too small.
    """

    def __init__(self, app: WSGIApplication, threads: int = THREADS, max_body: int = MAX_BODY) -> None:
        if threads < 1:
            raise ValueError("view_threads must be at least 1")
        if max_body < 0:
            raise ValueError("max_body must not be negative")
        self._serve = cast(ASGIApp, WSGIMiddleware(cast(Any, app), workers=threads))
        self._max_body = max_body
        self._max_bodies = max(_MAX_BODIES, 2 * max_body)
        self._lock = threading.Lock()  # for what follows: loops run in threads
        self._size = 0  # bytes of all bodies in memory
        self._coming: dict[_Body, None] = {}  # those that are being read; the one that has begun first is first

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._serve(scope, receive, send)
            return
        body = _Body()
        try:
            if await self._read(scope, receive, body):
                await self._serve(_as_received(scope, body), _received(body, receive), send)
        except _Refused as refused:
            await _answer(send, refused)
        finally:
            self._forget(body)

    async def _read(self, scope: AsgiScope, receive: Receive, body: _Body) -> bool:
        """Read a body. Returns whether all of it has come.

        Raises:
            _Refused: it is too large, or there is no room for it.
        """
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > self._max_body:
                raise self._too_large()
        message = await receive()
        if not self._add(body, message) or not message.get("more_body"):
            return bool(message["type"] == "http.request")
        body.reader = body.loop.create_task(self._read_rest(receive, body))
        self._coming[body] = None
        try:
            await asyncio.wait({body.reader})
            if body.reader.cancelled():
                raise _Refused(408, "The body of the request came too slowly, and others needed the room.")
            return body.reader.result()
        finally:
            body.reader.cancel()
            self._coming.pop(body, None)

    async def _read_rest(self, receive: Receive, body: _Body) -> bool:
        while True:
            message = await receive()
            if not self._add(body, message):
                return False
            if not message.get("more_body"):
                return True

    def _add(self, body: _Body, message: Event) -> bool:
        """Add a piece. Returns False for the end of the connection."""
        if message["type"] != "http.request":
            return False
        piece = message.get("body", b"")
        size = len(piece)
        if body.size + size > self._max_body:
            raise self._too_large()
        while not self._take(size):
            self._make_room(body)
        body.pieces.append(piece)
        body.size += size
        return True

    def _take(self, size: int) -> bool:
        with self._lock:
            if self._size + size > self._max_bodies:
                return False
            self._size += size
            return True

    def _make_room(self, body: _Body) -> None:
        """End the request whose body has been coming for longest; for a body that comes now."""
        oldest = next((one for one in list(self._coming) if one.loop is body.loop), body)
        if oldest is body or oldest.reader is None or body.loop.time() - oldest.since < _PATIENCE:
            raise _Refused(503, "The bodies of too many requests are coming. Try again in a moment.")
        del self._coming[oldest]
        self._forget(oldest)
        oldest.reader.cancel()

    def _forget(self, body: _Body) -> None:
        with self._lock:
            self._size -= body.size
        body.size = 0
        body.pieces.clear()

    def _too_large(self) -> _Refused:
        return _Refused(413, f"The body of a request may have {self._max_body} bytes (max_body).")


def _as_received(scope: AsgiScope, body: _Body) -> AsgiScope:
    """Return a scope that tells the size of its body: Werkzeug reads none of unknown size."""
    headers = [
        (name, value) for name, value in scope["headers"] if name not in (b"content-length", b"transfer-encoding")
    ]
    if body.size:
        headers.append((b"content-length", str(body.size).encode()))
    return {**scope, "query_string": _ascii(scope["query_string"]), "headers": headers}


def _received(body: _Body, receive: Receive) -> Receive:
    """Return a `receive` that brings a whole body, and then what the server's brings."""

    async def again() -> Event:
        if body.pieces:
            data = b"".join(body.pieces)
            body.pieces.clear()
            return {"type": "http.request", "body": data, "more_body": False}
        return await receive()

    return again


async def _answer(send: Send, refused: _Refused) -> None:
    text = str(refused).encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _ascii(query: bytes) -> bytes:
    """Return a query in which other bytes are escaped, as they should have come: a2wsgi takes ASCII only."""
    return query if query.isascii() else quote_from_bytes(query, _ASCII).encode()
