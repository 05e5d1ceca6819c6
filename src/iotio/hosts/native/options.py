"""The keyword arguments of `IoTManager.run` and of its other ways to serve."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from iotio_protocol.near_names import near_name

if TYPE_CHECKING:
    import ssl

__all__ = ["THREADS", "ServerOptions", "check_options"]

THREADS = 32
"""Threads for `def` handlers, at most."""

_OF_PROXIES = ("proxy_headers", "forwarded_allow_ips")


class ServerOptions(TypedDict, total=False):
    """The options of the native server, each with its default.

    Attributes:
        uds: a Unix socket to listen on, in the place of host and port.
        fd: a socket that listens already, by its descriptor.
        backlog: connections that may wait to be accepted; the most that the kernel allows.
        ssl_certfile: serve by TLS with this certificate (PEM, with its chain).
        ssl_keyfile: its private key, if it is in a file of its own.
        ssl_keyfile_password: of the key, if it is encrypted.
        ssl_ca_certs: the authorities whose client certificates are taken (PEM).
        ssl_cert_reqs: whether peers must have one, such as `ssl.CERT_REQUIRED`; CERT_NONE.
        ssl_ciphers: in OpenSSL's form; "TLSv1".
        threads: threads for `def` handlers, at most; 32.
        slow_handler: seconds after which a handler that still runs is named in the log; 0 for never; 1.
        http_connections: HTTP connections at a time; beyond, an idle one makes room; 1024.
        timeout_keep_alive: seconds that an HTTP connection is kept without a request; 75.
        root_path: the prefix under which a proxy has the application; "".
        lifespan: whether the ASGI application is told of start and end; "auto".
        server_header: whether responses have `Server: uvicorn`; True.
        date_header: whether they have `Date`; True.
        loop: whose event loop the server makes; "auto" is uvloop's where it is installed. Not for `serve`.
        request_context: whether handlers get the request context of the device's upgrade request (`flask.request`), as
            on the WSGI hosts; False. Flask only, as are the next two.
        view_threads: threads for views, at most; 32.
        max_body: bytes that the body of a request may have; 8 MiB. A larger one is answered with 413.
        access_log: whether HTTP requests are logged, by the logger "iotio.access" at INFO; False.
        workers: the old name of `threads`.
    """

    uds: str | None
    fd: int | None
    backlog: int
    ssl_certfile: str | None
    ssl_keyfile: str | None
    ssl_keyfile_password: str | None
    ssl_ca_certs: str | None
    ssl_cert_reqs: ssl.VerifyMode
    ssl_ciphers: str
    threads: int
    slow_handler: float
    http_connections: int
    timeout_keep_alive: int
    root_path: str
    lifespan: Literal["auto", "on", "off"]
    server_header: bool
    date_header: bool
    loop: Literal["auto", "asyncio", "uvloop"]
    request_context: bool
    view_threads: int | None
    max_body: int | None
    access_log: bool
    workers: int


_NAMES = tuple(ServerOptions.__annotations__)


def check_options(function: str, options: Mapping[str, Any]) -> None:
    """Refuse options that there are not. Warns, where its caller was called, of the old name of one.

    Args:
        function: which was given them, for the error.
        options: by name.

    Raises:
        TypeError: there is no option of a name; the text has one like it, or all.
    """
    for name in options:
        if name in _OF_PROXIES:
            raise TypeError(
                f"{function} has no option {name!r}: for devices, too, give"
                " IoTManager(..., options=Options(trusted_proxies=[...])) instead"
            )
        if name not in _NAMES:
            near = near_name(name, ("host", "port", *_NAMES))
            hint = f"there are host, port, {', '.join(_NAMES[:-1])}" if near is None else f"did you mean {near!r}?"
            raise TypeError(f"{function} has no option {name!r}; {hint}")
    if options.get("workers") is not None:
        warnings.warn(f"workers= of {function} has the name threads= now", DeprecationWarning, stacklevel=3)
