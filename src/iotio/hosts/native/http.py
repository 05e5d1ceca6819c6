"""Serve HTTP by uvicorn's protocol, but within limits of size and time, which uvicorn leaves to a proxy before it.

A head that is too large is answered with 414 or 431, and the connection closed; so are the lines behind a chunked body.
Who is slow is not answered: its connection ends.
"""

from __future__ import annotations

import asyncio
import http
import logging
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from iotio_protocol.log_throttle import LogThrottle

from ..timing import LINGER
from .http_places import HttpPlaces

HttpToolsProtocol: Any
try:  # where it has a wheel for the machine
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:
    HttpToolsProtocol = None

__all__ = ["KEEP_ALIVE", "MAX_HEAD", "MAX_LINES", "PATIENCE", "H11Http", "HttpProtocol"]

MAX_HEAD = 64 * 1024  # bytes of a request's head: a v1 device says there what it is
MAX_LINES = 128  # header lines of a request
MAX_REQUEST_LINE = 8 * 1024  # bytes
PATIENCE = 30.0  # seconds for a request's head, and for its body when nothing comes
KEEP_ALIVE = 75  # seconds between two requests

_MAX_IGNORED = 1024 * 1024  # bytes that a refused peer may still have on their way
_PIECE = 4 * 1024  # bytes that are parsed at once: httptools makes objects of all requests in them
_AROUND_TARGET = len("  HTTP/1.1")
_HEADERS = b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
_WORDS = {
    400: "Invalid HTTP request received.",
    414: f"A request line may have {MAX_REQUEST_LINE} bytes.",
    431: f"A request may have {MAX_HEAD} bytes and {MAX_LINES} lines of headers.",
    503: "There are too many connections. Try again in a moment.",
}


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """uvicorn's logger for one connection. Its warnings are of requests that are wrong: peers can cause them at will.

    Attributes:
        level: the logger's.
    """

    def __init__(self, logger: logging.Logger, throttle: LogThrottle) -> None:
        super().__init__(logger)
        self.level = logger.level
        self._throttle = throttle

    def warning(self, msg: object, *args: object, **_: Any) -> None:
        self._throttle.warning("http", str(msg), *args)


class _AccessLog:
    """In the place of uvicorn's logger of requests."""

    def __init__(self, throttle: LogThrottle) -> None:
        self._throttle = throttle

    def info(self, text: str, *args: object) -> None:
        """Log a request that is answered."""
        self._throttle.info("request", text, *args)


class _TooLarge(Exception):
    """Stop a parser."""


class _Limits:
    """Extend one of uvicorn's two HTTP protocols. What comes in one read with an upgrade request is passed on as well.

    `begin` follows the constructor, whose arguments are uvicorn's.

    Attributes:
        address: the peer's IP address.
        since: when the connection has last got on, on the loop's clock; it begins with its first head.
        refusal: the status to answer with if the parser gives up.
        is_refused: what comes is not looked at any more.
    """

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    logger: Any
    access_log: bool
    access_logger: Any
    flow: Any
    cycle: Any
    scope: Any
    address: str
    since: float
    refusal = 400
    _places: HttpPlaces
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None  # looks whether the peer reads its response
    is_refused = False
    _quiet = 0  # bytes of which the parser has made nothing yet; those of a read in which it has got on are not counted
    _tail = b""
    _behind = b""  # what came behind requests that wait for the answers before their own

    def begin(
        self,
        transport: asyncio.Transport,
        data: bytes,
        *,
        address: str,
        since: float,
        places: HttpPlaces,
        log: LogThrottle,
        access_log: LogThrottle | None = None,
    ) -> None:
        """Begin with the first bytes of a head; or refuse it, where there is no place for it.

        Args:
            transport: whose protocol this becomes.
            data: what has come.
            address: see `address`.
            since: see `since`.
            places: for HTTP connections.
            log: bounds the log lines of requests that are wrong.
            access_log: takes a line for each request, if there shall be any.
        """
        self.address, self.since, self._places = address, since, places
        self.logger = _Logger(self.logger, log)
        if access_log is not None:
            self.access_log, self.access_logger = True, _AccessLog(access_log)
        self.connection_made(transport)  # type: ignore[attr-defined]  # uvicorn's
        self.flow = _Flow(transport, self)
        transport.set_protocol(self)  # type: ignore[arg-type]  # the same
        if places.enter(self):
            self.data_received(data)
        else:
            log.warning("http_places", "HTTP request of %s refused: all connections of this kind are taken", address)
            self._refuse(503)

    def data_received(self, data: bytes) -> None:
        """Take what a read brought. No more is parsed while a request waits for the answers before its own."""
        at = 0
        while at < len(data):
            if self.has_waiting and not self.is_refused:
                self._keep(data[at:])
                return
            piece, at = data[at : at + _PIECE], at + _PIECE
            self._take(piece)
            successor: Any = self.transport.get_protocol()
            if successor is not self:
                if at < len(data) and not self.transport.is_closing():
                    successor.data_received(data[at:])
                return

    def _keep(self, data: bytes) -> None:
        self._behind += data
        self.flow.pause_reading()

    def _take(self, data: bytes) -> None:
        if self.is_refused:
            self._quiet += len(data)
            if self._quiet > _MAX_IGNORED:
                self.transport.abort()
            return
        if self.cycle is not None and not self.is_awaited:
            self.since = self.loop.time()  # a head begins
        tail = self._tail
        self._tail = (tail + data)[-3:]
        self._quiet += len(data)
        self.parse(data)
        successor: Any = self.transport.get_protocol()
        if successor is not self:
            self._leave()
            rest = (tail + data).partition(b"\r\n\r\n")[2]
            if rest and not self.transport.is_closing():
                successor.data_received(rest)
            return
        if self._quiet > MAX_HEAD and not self.is_refused:
            self._refuse(431)
        self._watch()

    def parse(self, data: bytes) -> None:
        """Give data to uvicorn's protocol."""
        super().data_received(data)  # type: ignore[misc]  # it is mixed into one

    @property
    def is_awaited(self) -> bool:
        """Whether the peer has begun a head or a body, and not finished it."""
        raise NotImplementedError

    @property
    def is_answering(self) -> bool:
        """Whether the answer to the request before is not written yet. h11 reads no request before that."""
        return False

    @property
    def has_waiting(self) -> bool:
        """Whether something has been read that waits for the answer to the request before it."""
        raise NotImplementedError

    def got_on(self) -> None:
        """Note that the parser has made something of what came."""
        self._quiet = 0
        self.since = self.loop.time()

    def on_response_complete(self) -> None:
        """Go on with what has come behind the request."""
        if not self.is_refused:
            super().on_response_complete()  # type: ignore[misc]
            if not self.has_waiting and not self.transport.is_closing():
                data, self._behind = self._behind, b""
                self.data_received(data)
                self.flow.resume_reading()
            self._watch()

    def handle_websocket_upgrade(self, *request: Any) -> None:
        """Pass an upgrade on to its own protocol, unless it is not clear where the frames begin.

        That is so behind a request which is not answered yet, whose answer would come between them, and with a body.
        """
        headers = request[0].headers if request else self.scope["headers"]
        lengths = {bytes(name).lower(): value for name, value in headers}
        has_body = b"transfer-encoding" in lengths or lengths.get(b"content-length", b"0") != b"0"
        if self.is_answering or has_body:
            self._refuse(400)
        else:
            super().handle_websocket_upgrade(*request)  # type: ignore[misc]

    def send_400_response(self, msg: str) -> None:
        """Answer instead of uvicorn, which knows one status for all."""
        self._refuse(self.refusal)

    def connection_lost(self, error: Exception | None) -> None:
        """Take the end of the transport."""
        self._leave()
        super().connection_lost(error)  # type: ignore[misc]

    @property
    def is_idle(self) -> bool:
        """See `Holder.is_idle`."""
        return (self.cycle is None or self.cycle.response_complete) and not self.is_awaited

    def drop(self) -> None:
        """See `Holder.drop`."""
        self.transport.abort()

    def pause_writing(self) -> None:
        """Wait for the peer to read, for as long as it goes on with that."""
        super().pause_writing()  # type: ignore[misc]
        self._look_for_progress(self.transport.get_write_buffer_size() + 1)

    def resume_writing(self) -> None:
        """Go on to write."""
        self._stop_looking()
        super().resume_writing()  # type: ignore[misc]

    def _look_for_progress(self, before: int) -> None:
        """Abort a connection whose peer has read nothing since the last look, when so many bytes were left."""
        left = self.transport.get_write_buffer_size()
        if left < before:
            self._unread = self.loop.call_later(PATIENCE, self._look_for_progress, left)
        else:
            self.transport.abort()

    def _stop_looking(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _leave(self) -> None:
        """Give up the place, and all time limits: the connection has ended, or is another protocol's."""
        self._stop_timer()
        self._stop_looking()
        self._places.leave(self)

    def _refuse(self, status: int) -> None:
        """Answer and close. The peer gets a moment to read it: closing on unread bytes would reset the stream."""
        self.is_refused = True
        self._quiet = 0
        self._stop_timer()
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        words = _WORDS[status].encode()
        first = b"HTTP/1.1 %d %s\r\n" % (status, http.HTTPStatus(status).phrase.encode())
        self.transport.write(first + _HEADERS % len(words) + words)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self._timer = self.loop.call_later(LINGER, self.transport.abort)
        else:
            self.transport.close()

    def _watch(self) -> None:
        """Have a look when the peer's time is over, if it is the peer's turn. One timer serves many requests."""
        if self._timer is None and not self.is_refused and self.is_awaited:
            self._timer = self.loop.call_at(self.since + PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        self._timer = None
        if self.is_refused or not self.is_awaited or self.transport.is_closing():
            return
        now = self.loop.time()
        if self._is_our_turn:
            self.since = now
        if now < self.since + PATIENCE:
            self._watch()
        else:
            self.transport.abort()

    @property
    def _is_our_turn(self) -> bool:
        """Whether the peer could not, or need not, send more until the application has done something."""
        cycle = self.cycle
        if self.flow.read_paused:
            return True
        if cycle is None or cycle.response_complete:
            return False
        return bool(cycle.waiting_for_100_continue) or not cycle.more_body  # it is busy with the request before

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Flow(FlowControl):
    """uvicorn's flow control, which goes on to read whenever an application waits for a body, or for the peer's end.

    Args:
        transport: what is read.
        owner: the connection.
    """

    def __init__(self, transport: asyncio.Transport, owner: _Limits) -> None:
        super().__init__(transport)
        self._owner = owner

    def resume_reading(self) -> None:
        """Go on to read, unless requests wait for the answers before their own."""
        if self._owner.is_refused or not self._owner.has_waiting:
            super().resume_reading()


class _LimitedConnection(h11.Connection):
    """A parser that tells its protocol how it gets on, and refuses what is too large. What it keeps h11 bounds."""

    def __init__(self, owner: _Limits) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self._owner = owner

    def next_event(self) -> Any:
        begins = self.their_state is h11.IDLE
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                self._owner.refusal = 414 if begins and b"\n" not in self.trailing_data[0] else 431
            raise
        if isinstance(event, (h11.Request, h11.Data, h11.EndOfMessage)):
            self._owner.got_on()
        if isinstance(event, h11.Request):
            if len(event.method) + len(event.target) + _AROUND_TARGET > MAX_REQUEST_LINE:
                self._give_up(414)
            self._size = self._lines = 0
        if isinstance(event, (h11.Request, h11.EndOfMessage)):
            self._size += sum(len(name) + len(value) + 4 for name, value in event.headers)
            self._lines += len(event.headers)
            if self._size > MAX_HEAD or self._lines > MAX_LINES:
                self._give_up(431)
        return event

    def _give_up(self, status: int) -> None:
        self._owner.refusal = status
        raise h11.RemoteProtocolError(_WORDS[status], status)


class H11Http(_Limits, H11Protocol):
    """Serve HTTP by h11."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.conn = _LimitedConnection(self)

    @property
    def has_waiting(self) -> bool:
        """See `_Limits.has_waiting`."""
        return self.conn.their_state is h11.DONE and bool(self.conn.trailing_data[0])

    @property
    def is_awaited(self) -> bool:
        """See `_Limits.is_awaited`."""
        state = self.conn.their_state
        return state is h11.SEND_BODY or (state is h11.IDLE and bool(self.conn.trailing_data[0]))


HttpProtocol: Any = H11Http

if HttpToolsProtocol is not None:

    class HttpToolsHttp(_Limits, HttpToolsProtocol):  # type: ignore[misc]
        """Serve HTTP by httptools."""

        is_awaited = True  # the first head is

        @property
        def is_answering(self) -> bool:
            """See `_Limits.is_answering`. An application may end an answer after its last byte has arrived."""
            cycle = self.cycle
            if cycle is None or cycle.response_complete:
                return False
            return not cycle.response_started or cycle.chunked_encoding or cycle.expected_content_length > 0

        @property
        def has_waiting(self) -> bool:
            """See `_Limits.has_waiting`."""
            return bool(self.pipeline)

        _size = 0  # bytes of headers of this request
        _lines = 0
        _in_body = False

        def parse(self, data: bytes) -> None:
            """See `_Limits.parse`. What comes between two requests begins a head, if it is a line's end alone."""
            self.is_awaited = True
            super().parse(data)

        def on_message_begin(self) -> None:
            """Begin a request."""
            self._size = self._lines = 0
            self._in_body = False
            self.is_awaited = True
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            """Take a part of the request's target."""
            if len(self.parser.get_method()) + len(self.url) + len(url) + _AROUND_TARGET > MAX_REQUEST_LINE:
                self._give_up(414)
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            """Take a header line, or one behind a chunked body, which is no header of the request any more."""
            self._size += len(name) + len(value) + 4
            self._lines += 1
            if self._size > MAX_HEAD or self._lines > MAX_LINES:
                self._give_up(431)
            if not self._in_body:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            """Take the end of a head."""
            self._in_body = True
            self.got_on()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            """Take a part of a body."""
            self.got_on()
            super().on_body(body)

        def on_message_complete(self) -> None:
            """Take the end of a request."""
            self.got_on()
            self.is_awaited = False
            super().on_message_complete()

        def _give_up(self, status: int) -> None:
            self.refusal = status
            raise _TooLarge

    HttpProtocol = HttpToolsHttp
