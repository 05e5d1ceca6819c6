"""Tell the kernel when to give up devices that have gone without a word."""

from __future__ import annotations

import _socket
import socket
from contextlib import suppress

from iotio_protocol.options import Options

__all__ = ["limit_silence"]

_HEAD_START = 5.0  # seconds for the ping to find out first, also when the server is held up: it knows the reason

_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux


def limit_silence(sock: _socket.socket, *options: Options) -> None:
    """Let the kernel give up a connection whose peer acknowledges nothing, a little after a ping would (RFC 5482).

    Without this a device that is sent much is found out by its ping in time, but its socket goes on retransmitting for
    a quarter of an hour. A listening socket hands the setting on to the connections that it accepts.

    Args:
        sock: the socket; one that is no TCP socket is left alone.
        options: of all device types; the longest ping interval and time-out of them count. Where one has no pings,
            nothing is set.
    """
    if _USER_TIMEOUT is None or not options or not all(one.ping_interval for one in options):
        return
    longest = max(one.ping_interval + one.ping_timeout for one in options)
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int((longest + _HEAD_START) * 1000))
