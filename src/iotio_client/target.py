"""Where a device connects to, and with which protection."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

__all__ = ["Target", "context_from_sslopt"]

_SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f#?]")

# The keys of websocket-client's `sslopt`; the last two change nothing here.
_SSLOPT_KEYS = frozenset(
    {"context", "ssl_version", "cert_reqs", "check_hostname", "ca_certs", "ca_cert_path", "ca_cert"}
    | {"certfile", "keyfile", "password", "cert_chain", "ciphers", "ecdh_curve", "server_hostname"}
    | {"suppress_ragged_eofs", "do_handshake_on_connect"}
)


class Target(NamedTuple):
    """One server.

    Attributes:
        uri: the address for the WebSocket library; may hold a password.
        where: the address for logs and errors.
        context: None: no TLS.
        server_hostname: the name to check the certificate against, if not the one of the address.
        proxy: True: as the environment says (HTTP_PROXY, NO_PROXY, ...); None: never.
    """

    uri: str
    where: str
    context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: Literal[True] | None

    @classmethod
    def parse(
        cls,
        domain: str,
        *,
        sslopt: Mapping[str, Any] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        use_tls: bool | None = None,
    ) -> Target:
        """Read what `run`, `connect` and `begin` are given.

        TLS is used if the domain starts with ``wss://``, if `sslopt` or `ssl_context` is given, or if
        `use_tls` is True; with `use_tls` or ``wss://`` alone, the certificate is checked against the system's
        authorities. There is one connection, with TLS or without, never both.

        Args:
            domain: host, host:port, or either behind ``ws://`` or ``wss://``; a path goes before ``/iot.io``. An IPv6
                address with a port stands in brackets.
            sslopt: keys as websocket-client takes them.
            ssl_context: a context of your own.
            use_tls: None: the other arguments decide.

        Raises:
            ValueError: not an address, or arguments that contradict each other.
        """
        secure, rest = _split_scheme(domain)
        rest = _with_brackets(rest)
        if sslopt is not None and ssl_context is not None:
            raise ValueError("give sslopt or ssl_context, not both")
        wants_tls = sslopt is not None or ssl_context is not None or bool(use_tls)
        if secure is False and wants_tls:
            raise ValueError(f"the address {domain!r} says no TLS, the other arguments ask for it")
        if secure and use_tls is False:
            raise ValueError(f"the address {domain!r} says TLS, use_tls=False forbids it")
        tls = secure or wants_tls
        context, server_hostname = ssl_context, None
        if tls and context is None:
            context = context_from_sslopt(sslopt) if sslopt else ssl.create_default_context()
            server_hostname = sslopt.get("server_hostname") if sslopt else None
        host, where = _check(domain, rest)
        return cls(
            uri=f"{'wss' if tls else 'ws'}://{rest}/iot.io",
            where=where,
            context=context,
            server_hostname=server_hostname,
            # As iot.io-client 0.4.12 had it: a proxy on the way to this very machine makes no sense.
            proxy=None if _is_loopback(host) else True,
        )


def context_from_sslopt(sslopt: Mapping[str, Any]) -> ssl.SSLContext:
    """Make a TLS context from the options of websocket-client, which iot.io-client 0.4.12 handed through.

    Raises:
        ValueError: an option that does not exist.
        OSError: a file that cannot be read (ssl.SSLError: with no certificate or key in it).
    """
    unknown = sorted(set(sslopt) - _SSLOPT_KEYS)
    if unknown:
        raise ValueError(f"unknown sslopt: {', '.join(map(str, unknown))}")
    given = sslopt.get("context")
    if isinstance(given, ssl.SSLContext):
        return given
    context = ssl.SSLContext(sslopt.get("ssl_version", ssl.PROTOCOL_TLS_CLIENT))
    _set_checks(context, sslopt)
    certfile, keyfile, password = sslopt.get("cert_chain") or (
        sslopt.get("certfile"),
        sslopt.get("keyfile"),
        sslopt.get("password"),
    )
    if certfile is not None:
        context.load_cert_chain(certfile, keyfile, password)
    if sslopt.get("ciphers") is not None:
        context.set_ciphers(sslopt["ciphers"])
    if sslopt.get("ecdh_curve") is not None:
        context.set_ecdh_curve(sslopt["ecdh_curve"])
    return context


def _set_checks(context: ssl.SSLContext, sslopt: Mapping[str, Any]) -> None:
    mode = ssl.VerifyMode(sslopt.get("cert_reqs", ssl.CERT_REQUIRED))
    # Without a check of the certificate there is nothing that its host name could be checked in.
    context.check_hostname = mode is not ssl.CERT_NONE and bool(sslopt.get("check_hostname", True))
    context.verify_mode = mode
    if mode is ssl.CERT_NONE:
        return
    files = sslopt.get("ca_certs"), sslopt.get("ca_cert_path"), sslopt.get("ca_cert")
    if any(file is not None for file in files):
        context.load_verify_locations(*files)
    else:
        context.load_default_certs()


def _split_scheme(domain: str) -> tuple[bool | None, str]:
    if not isinstance(domain, str):
        raise ValueError(f"domain must be a str, not {type(domain).__name__}")
    scheme, separator, rest = domain.partition("://")
    if not separator:
        return None, domain.rstrip("/")
    if scheme.lower() not in _SCHEMES:
        raise ValueError(f"the address {domain!r} must start with ws:// or wss://, or with the host")
    return _SCHEMES[scheme.lower()], rest.rstrip("/")


def _with_brackets(rest: str) -> str:
    """Put the brackets around an IPv6 address that lacks them."""
    host, slash, path = rest.partition("/")
    try:
        IPv6Address(host)
    except ValueError:
        return rest
    return f"[{host}]{slash}{path}"


def _check(domain: str, rest: str) -> tuple[str, str]:
    """Host, and the address without a password."""
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{domain!r} is not an address: {error}") from None
    if not host or port == 0 or _FORBIDDEN.search(rest):
        raise ValueError(f"{domain!r} is not an address; write 'example.com', 'localhost:5000' or '192.168.1.10'")
    return host, rest.rpartition("@")[2]


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
