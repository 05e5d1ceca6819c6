"""Serve a program in this process, from the options of `iotio run` on."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import click

from iotio_protocol.logs import get_logger

from ..hosts.listen import CannotServe, address, check_files, listen
from .left_out import leaving_out
from .logs import configure, read_config
from .old_programs import Asked, standing_in
from .settings import Settings
from .slow_import import watching
from .target import Failure, Target

if TYPE_CHECKING:
    from ..app import IoTManager
    from ..hosts.native.server import NativeServer

__all__ = ["open_sockets", "serve"]

logger = get_logger("iotio.server")

_HOST = "0.0.0.0"
_PORT = 5000
_ANYWHERE = ("192.0.2.1", 9)  # RFC 5737: an address that is nobody's, to ask which of ours would be used


def serve(
    settings: Settings,
    sockets: list[socket.socket] | None = None,
    *,
    on_start: Callable[[NativeServer], None] | None = None,
) -> None:
    """Load the target and serve it, in this thread.

    Args:
        settings: what to serve, and how.
        sockets: already listening; None opens them.
        on_start: is given the server before it runs.

    Raises:
        click.ClickException: it cannot be served.
    """
    read_config(settings)
    with standing_in() as asked, leaving_out(), watching(settings.target):
        name, manager = Target.parse(settings.target).load(asked)
    settings = _as_asked(settings, asked)
    configure(settings)
    with _told():
        server = manager._server(
            threads=settings.threads,
            view_threads=settings.view_threads,
            slow_handler=settings.slow_handler,
            access_log=settings.access_log,
            request_context=settings.request_context,
            ssl_certfile=settings.ssl_certfile,
            ssl_keyfile=settings.ssl_keyfile,
        )
        server.load()
    with server.capture_signals():  # also one that comes before it runs
        if sockets is None:
            sockets = open_sockets(settings)
        banner = _banner(name, manager, sockets, tls=server.config.is_ssl)
        if settings.log_format == "json":
            logger.info("%s", banner)
        else:
            click.echo(banner, err=True)
        if on_start is not None:
            on_start(server)
        server.run(sockets)


def _as_asked(settings: Settings, asked: Asked) -> Settings:
    """Add what a program has asked eventlet for, where the command line does not say anything else."""
    if asked.app is None:
        return settings
    if asked.certfile and not settings.ssl_certfile:
        settings = dataclasses.replace(settings, ssl_certfile=asked.certfile, ssl_keyfile=asked.keyfile)
    return dataclasses.replace(
        settings,
        host=(asked.host or None) if settings.host is None else settings.host,
        port=asked.port if settings.port is None else settings.port,
    )


def open_sockets(settings: Settings) -> list[socket.socket]:
    """Listen where the options say. Raises click.ClickException where that cannot be."""
    with _told():
        check_files(ssl_certfile=settings.ssl_certfile, ssl_keyfile=settings.ssl_keyfile)
        return listen(
            _HOST if settings.host is None else settings.host,
            _PORT if settings.port is None else settings.port,
            settings.uds,
        )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn the errors of what cannot be served into one line for the terminal."""
    try:
        yield
    except CannotServe as error:
        raise Failure(f"{error.problem}; choose another with --{error.option.replace('_', '-')}") from error
    except (RuntimeError, ValueError) as error:
        raise Failure(str(error)) from error


def _banner(name: str, manager: IoTManager, sockets: Sequence[socket.socket], *, tls: bool) -> str:
    types = ", ".join(manager.device_types) or "none yet"
    scheme = "https" if tls else "http"
    places = " and ".join(dict.fromkeys(place for sock in sockets for place in _places(sock, scheme)))
    return f"Serving {name} (device types: {types}) on {places}, devices at the WebSocket path /iot.io; Ctrl-C ends it"


def _places(sock: socket.socket, scheme: str) -> list[str]:
    """Return the URLs under which a socket can be reached."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return [f"the Unix socket {name}"]
    if name[0] not in ("0.0.0.0", "::"):
        return [f"{scheme}://{address(sock)}"]
    hosts = ["localhost", _own_address() if name[0] == "0.0.0.0" else None]
    return [f"{scheme}://{host}:{name[1]}" for host in hosts if host]


def _own_address() -> str | None:
    """Return the address under which this machine is known in its network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANYWHERE)
        except OSError:
            return None
        return str(probe.getsockname()[0])
