"""See the client behind a proxy that the program trusts: its address, and the scheme and host that it has asked for.

Proxies say so in `X-Forwarded-For`, `-Proto` and `-Host`, or in `Forwarded` (RFC 7239). Each adds what it sees on the
right; what a client has sent itself stands on the left. So these lines are read from the right, as long as the one who
has written there is trusted. Of others they are not looked at.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any, NamedTuple
from wsgiref.types import WSGIEnvironment

from ..core.pending import address_of

__all__ = ["Client", "TrustedProxies"]

_LINES = ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
_PAIR = re.compile(r"""\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*""")
_HOST = re.compile(r"[0-9A-Za-z._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_UNIX_PEERS = ("", "?", "<local>")  # what hosts have in the place of an address
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Hop = dict[str, str]


class Client(NamedTuple):
    """Who has asked a proxy.

    Attributes:
        address: its IP address; that of a proxy where none is told.
        port: its port, or "0".
        scheme: "http" or "https"; "" where that is not told.
        host: what it has asked for; "" where that is not told.
    """

    address: str
    port: str
    scheme: str
    host: str


class TrustedProxies:
    """The proxies that a program trusts. False if there are none.

    Args:
        trusted: IP addresses and networks, and "unix" for whoever comes over a Unix socket.
    """

    def __init__(self, trusted: Collection[str]) -> None:
        self._unix = "unix" in trusted
        self._networks = [ipaddress.ip_network(one, strict=False) for one in trusted if one != "unix"]

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def client(self, address: str, port: str, line: Callable[[str], str], *, believed: bool = False) -> Client | None:
        """Return who is behind a proxy.

        Args:
            address: the other end's.
            port: its port.
            line: returns a header line by its name in lower case, a repeated one as a list with commas; "" for none.
            believed: the server trusts the other end, which need not be asked.

        Returns:
            The client, or None: the other end is not trusted, or tells nothing.
        """
        if not believed and not self.trusts(address):
            return None
        scheme = host = ""
        hops = _hops(line)
        for hop in reversed(hops):
            scheme = _SCHEMES.get(hop.get("proto", "").lower(), scheme)
            host = _valid_host(hop.get("host", "")) or host
            found = _node(hop.get("for", ""))
            if found is None:  # "unknown", a word of the proxy's own, or nothing
                break
            address, port = found
            if not self.trusts(address):
                break
        return Client(address, port, scheme, host) if hops else None

    def device(self, peer: str, scheme: str, headers: list[tuple[str, str]]) -> tuple[str, str, list[tuple[str, str]]]:
        """See the device behind a request.

        Args:
            peer: the other end's address and port.
            scheme: of the request, "http" or "https".
            headers: of the request.

        Returns:
            The same, as the device has sent them.
        """
        if not self:
            return peer, scheme, headers
        address, _, port = peer.rpartition(":")
        found = self.client(address, port, lambda name: _joined(headers, name))
        if found is None:
            return peer, scheme, headers
        if found.host:
            headers = [(name, value) for name, value in headers if name.lower() != "host"]
            headers.append(("Host", found.host))
        return f"{found.address}:{found.port}", found.scheme or scheme, headers

    def correct(self, environ: WSGIEnvironment) -> None:
        """Put the client into the environ of a WSGI request."""
        found = self.client(
            environ.get("REMOTE_ADDR") or "",
            str(environ.get("REMOTE_PORT") or "0"),
            lambda name: environ.get("HTTP_" + name.upper().replace("-", "_"), ""),
        )
        if found is None:
            return
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = found.address, found.port
        if found.scheme:
            environ["wsgi.url_scheme"] = found.scheme
        if found.host:
            environ["HTTP_HOST"] = found.host

    def before(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> Callable[[Any, Any, Any], Awaitable[None]]:
        """Wrap an ASGI application, which then sees the clients. Returns it as it is if there are no proxies."""
        if not self:
            return app

        async def corrected(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] in ("http", "websocket"):
                address, port = scope.get("client") or ("", 0)
                # uvicorn may have put a client in the place of a proxy that it trusts itself; no socket has port 0.
                found = self.client(
                    address,
                    str(port),
                    lambda name: _joined_bytes(scope["headers"], name),
                    believed=bool(address) and port == 0,
                )
                if found is not None:
                    scope = _corrected(scope, found)
            await app(scope, receive, send)

        return corrected

    def share_of(self, peer: str) -> str:
        """Return the address whose share of places a peer takes: its own; "", which has none, if it is trusted.

        Args:
            peer: an address and a port. Behind one that is trusted are many.
        """
        address = address_of(peer)
        return "" if self and self.trusts(address) else address

    def trusts(self, address: str) -> bool:
        """Return whether an address is that of a trusted proxy; what hosts say for a Unix socket counts as "unix"."""
        if address in _UNIX_PEERS:
            return self._unix
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _hops(line: Callable[[str], str]) -> list[_Hop]:
    """Return what each proxy has added, the nearest one last.

    A proxy that writes one family of lines passes the other on as the client has sent it: they are not mixed, and the
    common one counts.
    """
    forwarded, addresses, schemes, hosts = (line(name) for name in _LINES)
    if not (addresses or schemes or hosts):
        return _elements(forwarded)
    found: list[_Hop] = [{"for": one} for one in _list_of(addresses)] or [{}]
    for name, text in (("proto", schemes), ("host", hosts)):
        values = _list_of(text)
        if len(values) == len(found):
            for hop, value in zip(found, values, strict=True):
                hop[name] = value
        elif values:  # each proxy has replaced it, or one of them only writes it
            found[-1][name] = values[-1]
    return found


def _list_of(text: str) -> list[str]:
    return [one.strip() for one in text.split(",")] if text else []


def _elements(text: str) -> list[_Hop]:
    """Return the elements of a `Forwarded` line (RFC 7239, 4); none if it is malformed."""
    found: list[_Hop] = []
    hop: _Hop = {}
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            return []
        name, quoted, token = pair.groups()
        hop[name.lower()] = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = pair.end()
        if text[at : at + 1] == ",":
            found.append(hop)
            hop = {}
        elif text[at : at + 1] not in (";", ""):
            return []
        at += 1
    return [*found, hop] if hop else found


def _node(text: str) -> tuple[str, str] | None:
    """Return address and port of a node, or None: it is no address."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    parsed = _parsed(address)
    return None if parsed is None else (str(parsed), port if port.isdecimal() else "0")


def _parsed(address: str) -> _Address | None:
    """Read an address; one of IPv4 that came over a socket of IPv6 is one of IPv4."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _valid_host(text: str) -> str:
    return text if _HOST.fullmatch(text) else ""


def _joined(headers: Iterable[tuple[str, str]], name: str) -> str:
    return ",".join(value for one, value in headers if one.lower() == name)


def _joined_bytes(headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
    wanted = name.encode()
    return b",".join(bytes(value) for one, value in headers if bytes(one).lower() == wanted).decode("latin-1")


def _corrected(scope: MutableMapping[str, Any], found: Client) -> MutableMapping[str, Any]:
    """Return the scope of a request as if the client had sent it to us."""
    scope = {**scope, "client": (found.address, int(found.port))}
    if found.scheme:
        scope["scheme"] = _WEBSOCKET_SCHEMES[found.scheme] if scope["type"] == "websocket" else found.scheme
    if found.host:
        headers = [(name, value) for name, value in scope["headers"] if bytes(name).lower() != b"host"]
        scope["headers"] = [*headers, (b"host", found.host.encode())]
    return scope
