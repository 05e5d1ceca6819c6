"""Read the request by which a device asks for its WebSocket, and make the answer to it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from typing import NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from iotio.core.manager import Manager
from iotio_protocol.origins import foreign, is_by_browser
from iotio_protocol.v2 import SUBPROTOCOL

__all__ = [
    "NO_UPGRADE",
    "PATH",
    "PATHS",
    "UpgradeRequest",
    "agreed",
    "judge",
    "read_again",
    "read_usual",
    "subprotocol_at",
    "turn_away",
    "welcome",
]

PATH = "/iot.io"
PATHS = (PATH, PATH + "/")
NO_UPGRADE = "This is where iot.io devices connect by WebSocket; there is nothing for a browser to see here.\n"

_USUAL = re.compile(
    rb"GET (/iot\.io/?) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n"
)
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_UNUSUAL = frozenset(("content-length", "transfer-encoding", "expect"))


def _choose(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


_checker = ServerProtocol(select_subprotocol=_choose)  # one for all: `accept` keeps nothing but a failure, see `judge`


class UpgradeRequest(NamedTuple):
    """What a device asks for.

    Attributes:
        path: with the query.
        headers: names in any case, values as latin-1.
        scheme: "http" or "https".
    """

    path: str
    headers: list[tuple[str, str]]
    scheme: str = "http"


def read_usual(data: bytes) -> tuple[UpgradeRequest, bytes, int] | None:
    """Read a device's request without an HTTP parser, if it is one that `judge` would welcome and looks as usual.

    All that is doubtful is left to an HTTP parser and to `judge`: a name that occurs twice, a body, other subprotocols,
    a browser.

    Args:
        data: the bytes of a connection's first read.

    Returns:
        The request, the answer, and where in the data that ends which belongs to it; None for any other data.
    """
    found = _USUAL.match(data)
    if found is None:
        return None
    path, lines = found.group(1).decode(), found.group(2).decode("latin-1").split("\r\n")
    lines.pop()  # empty: the text behind the last CRLF
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")  # RFC 9110, 5.5; of itself `strip` takes 0x85 and 0xA0, too
    if (
        len(headers) != len(lines)
        or headers.get("upgrade", "").lower() != "websocket"
        or headers.get("connection", "").lower() != "upgrade"
        or headers.get("sec-websocket-version") != "13"
        or not _KEY.fullmatch(headers.get("sec-websocket-key", ""))
        or "host" not in headers
        or not _UNUSUAL.isdisjoint(headers)
        or is_by_browser(headers)
        or headers.get("sec-websocket-protocol", SUBPROTOCOL) != SUBPROTOCOL
    ):
        return None
    answer = welcome(headers["sec-websocket-key"], headers.get("sec-websocket-protocol"))
    return UpgradeRequest(path, list(headers.items())), answer, found.end()


def welcome(key: str, subprotocol: str | None = None) -> bytes:
    """Make the answer to a request that is right (RFC 6455, 4.2.2).

    Args:
        key: its `Sec-WebSocket-Key`.
        subprotocol: the one agreed on, or None.
    """
    chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nDate: {_date()}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n{chosen}\r\n"
    ).encode()


def agreed(answer: bytes) -> str | None:
    """Return the subprotocol in an answer of `welcome` or `judge`."""
    return SUBPROTOCOL if b"\r\nSec-WebSocket-Protocol: " in answer else None


def subprotocol_at(path: str) -> str:
    """Return the subprotocol that a device at a path may ask for; "" elsewhere. gevent-websocket asks this."""
    return SUBPROTOCOL if path in PATHS else ""


def read_again(data: bytes) -> Request:
    """Parse a request that uvicorn has parsed, checked and written again."""
    lines = data.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ")
    headers = Headers()
    for line in lines[1:-2]:
        name, _, value = line.partition(":")
        headers[name] = value.strip(" \t")
    request = Request(path, headers)
    request.method = method
    return request


def judge(request: Request) -> Response:
    """Make the answer to a request: 101, or an error after which the connection is to be closed."""
    try:
        return _checker.accept(request)
    finally:
        _checker.handshake_exc = None  # its traceback holds all of the request, down to the socket


def turn_away(manager: Manager, headers: Iterable[tuple[str, str]], peer: str) -> Response | None:
    """Make the answer to a request that is for a server of another name, and have the gate count and log it.

    Where its host has answered already, the gate closes the connection; so it does with pages of other hosts.

    Args:
        manager: whose options apply.
        headers: names in any case.
        peer: the other end's address.

    Returns:
        The answer, or None: the request may pass here.
    """
    stranger = foreign(list(headers), manager.options)
    if stranger is None or stranger.option != "allowed_hosts":
        return None
    manager.gate.turn_away(stranger, peer)
    return _checker.reject(421, stranger.advice + "\n")


_now = (0, "")  # the second that was written last, and how


def _date() -> str:
    global _now
    second = int(time.time())
    if _now[0] != second:
        _now = (second, formatdate(second, usegmt=True))
    return _now[1]
