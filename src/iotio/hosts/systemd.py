"""Tell systemd when the server is ready and when it ends, for units with `Type=notify`.

The protocol is that of sd_notify(3): one datagram to the Unix socket that NOTIFY_SOCKET names. Nothing here raises: a
server that cannot tell serves all the same.
"""

from __future__ import annotations

import os
import socket

from iotio_protocol.logs import get_logger

__all__ = ["tell_ready", "tell_stopping"]

logger = get_logger("iotio.server")

_SECONDS = 1.0  # for systemd to make room in its queue; nothing is served in the meantime

_told_ready = False


def tell_ready() -> None:
    """Say that the server listens."""
    global _told_ready
    _told_ready = _notify("READY=1")


def tell_stopping() -> None:
    """Say that the program ends, if it was this process that has said that it is ready.

    For the end of the program only: systemd kills what still runs after TimeoutStopSec. A worker of gunicorn says
    nothing, as its end is not that of the service.
    """
    global _told_ready
    if _told_ready:
        _told_ready = False
        _notify("STOPPING=1")


def _notify(state: str) -> bool:
    """Send one state, if anybody waits for it. Returns whether it was sent."""
    name = os.environ.get("NOTIFY_SOCKET")
    if not name:
        return False
    try:
        if name[0] not in "@/":
            raise OSError("it is no Unix socket")
        # A leading @ stands for the null byte of a name that is in no file system.
        address = b"\0" + os.fsencode(name[1:]) if name[0] == "@" else os.fsencode(name)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_SECONDS)
            sock.connect(address)
            sock.send(state.encode())
    except (AttributeError, OSError) as error:  # there is no AF_UNIX on Windows
        logger.debug("NOTIFY_SOCKET=%s could not be told %s: %s", name, state, error)
        return False
    return True
