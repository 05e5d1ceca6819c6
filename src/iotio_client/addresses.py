"""Connect to a name that has several addresses, some of which may not answer (RFC 8305, "Happy Eyeballs").

A name often has an IPv6 and an IPv4 address, and one of the ways to them may swallow packets. So the addresses are
tried side by side: the next one begins when the one before it has failed, or has not answered within `DELAY`. The first
that answers is taken, and the others are closed. TLS and the WebSocket begin on that one only.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from websockets.uri import parse_uri

try:
    from websockets.proxy import get_proxy
except ImportError:  # websockets 15
    from websockets.uri import get_proxy  # type: ignore[attr-defined, no-redef]

from .target import Target

__all__ = ["DELAY", "Address", "connect_any", "direct", "failure_of", "interleaved"]

DELAY = 0.25
"""Seconds that an address has to itself before the next one is tried, too; what RFC 8305 recommends."""

_LOOK = 0.25  # seconds between two looks at whether the client is stopped
_BEGUN = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY, getattr(errno, "WSAEWOULDBLOCK", 0)})


class Address(NamedTuple):
    """Where a socket connects to.

    Attributes:
        family: AF_INET or AF_INET6.
        address: what `socket.connect` takes.
    """

    family: int
    address: tuple[str | int, ...]


def direct(target: Target) -> tuple[str, int] | None:
    """Return the host and port to connect to; None: a proxy of the environment does that."""
    uri = parse_uri(target.uri)
    if target.proxy is not None and get_proxy(uri) is not None:
        return None
    return uri.host, uri.port


def interleaved(found: Iterable[tuple[int, int, int, str, tuple[str | int, ...]]]) -> list[Address]:
    """Sort what `getaddrinfo` has returned so that the families take turns; within one the order stays.

    The resolver puts the preferred family first. Should the way of that family be broken, all of its addresses are.
    """
    by_family: dict[int, list[Address]] = {}
    for family, _, _, _, address in found:
        one = Address(family, address)
        if family in (socket.AF_INET, socket.AF_INET6) and one not in by_family.setdefault(family, []):
            by_family[family].append(one)
    families = list(by_family.values())
    longest = max(map(len, families), default=0)
    return [family[place] for place in range(longest) for family in families if place < len(family)]


def connect_any(host: str, port: int, deadline: float, stopped: Callable[[], bool]) -> socket.socket:
    """Connect to the address of a name that answers first. Returns a blocking socket.

    Args:
        host: a name or an address.
        port: the port.
        deadline: on the monotonic clock, for all addresses together; the resolver has time-outs of its own.
        stopped: whether to end now.

    Raises:
        TimeoutError: none has answered by then.
        OSError: none takes a connection, or the name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no name of a host: {error}") from error
    waiting = interleaved(found)  # type: ignore[arg-type]  # the stub knows of addresses without a host
    failures: list[tuple[Address, int]] = []
    trying: dict[socket.socket, Address] = {}
    following = 0.0  # when the next address has its turn, whatever the others do
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or trying:
                now = time.monotonic()
                if stopped():
                    raise ConnectionAbortedError(errno.ECONNABORTED, "the client is stopped")
                if now >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "no address has answered in time")
                if waiting and (now >= following or not trying):
                    address = waiting.pop(0)
                    following = now + DELAY
                    _begin(address, selector, trying, failures)
                    continue
                for key, _ in selector.select(_pause(now, deadline, following if waiting else deadline)):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    selector.unregister(sock)
                    address = trying.pop(sock)
                    if not code:
                        sock.setblocking(True)
                        return sock
                    sock.close()
                    failures.append((address, code))
                    following = 0.0
        finally:
            for sock in trying:
                sock.close()
    raise failure_of(failures, host)


def _begin(
    address: Address,
    selector: selectors.BaseSelector,
    trying: dict[socket.socket, Address],
    failures: list[tuple[Address, int]],
) -> None:
    """Begin to connect to one address."""
    try:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
    except OSError as error:  # a kernel without IPv6
        failures.append((address, error.errno or 0))
        return
    trying[sock] = address
    sock.setblocking(False)
    try:
        code = sock.connect_ex(address.address)
    except OSError as error:  # an address that this system cannot read
        code = error.errno or errno.EADDRNOTAVAIL
    if code in _BEGUN:
        selector.register(sock, selectors.EVENT_WRITE)
        return
    del trying[sock]
    sock.close()
    failures.append((address, code))


def _pause(now: float, *ends: float) -> float:
    return max(min(min(ends) - now, _LOOK), 0.0)


def failure_of(failures: list[tuple[Address, int]], host: str) -> OSError:
    """Make one error of those of all addresses."""
    codes = {code for _, code in failures}
    if len(codes) == 1:
        code = codes.pop()
        return OSError(code, os.strerror(code))
    if not failures:
        return OSError(f"{host!r} has no address")
    return OSError("; ".join(f"{address.address[0]}: {os.strerror(code)}" for address, code in failures))
