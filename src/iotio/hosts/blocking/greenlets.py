"""Wait in greenlets of gevent's `pywsgi` with gevent-websocket's `WebSocketHandler`, as the quickstart has it.

The handler answers the upgrade; its own WebSocket object would lose close codes, take unmasked frames and send
broken CLOSE frames, so the stream behind it is taken over.
"""

from __future__ import annotations

import _thread
import socket
import threading
import weakref
from collections.abc import Callable
from typing import Any

try:
    import gevent
    import gevent.event
    from gevent._hub_local import get_hub_if_exists
    from gevent.monkey import get_original
except ImportError as error:
    raise ImportError("this server needs gevent: pip install 'iotio[gevent]'") from error

from iotio.core.primitives import Signal, allocate_lock, get_ident, wait

from .stream import read_buffered

__all__ = ["GreenletWaits", "hub_here", "serves_here", "spawn", "take_over", "wait_in_greenlet"]


_here = get_original("_thread", "_local")()
"""Of each real thread: `serves`, its hub serves devices. The number of a thread would be another one's later."""

_SIGNAL_CHECK = 0.25  # seconds; how late a signal may be noticed
_checks: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # hub -> its timer


def _notice_signals(hub: Any) -> None:
    """Wake a hub now and then.

    Python handles a signal when the main thread runs again. One that comes just before the loop begins to wait does
    not interrupt the wait: an idle server would be deaf to SIGTERM until the next byte from a device.
    """
    if hub not in _checks:
        _checks[hub] = timer = hub.loop.timer(_SIGNAL_CHECK, _SIGNAL_CHECK, ref=False)
        timer.start(_nothing)


def _nothing() -> None:
    """Do nothing: to run any Python code is enough for a signal to be handled."""


def wait_in_greenlet(signal: Signal, timeout: float | None) -> bool:
    """Wait for a signal while this thread's hub runs. Returns False after the time-out (seconds)."""
    event = gevent.event.Event()
    watcher = gevent.get_hub().loop.async_()
    watcher.start(event.set)
    lock = allocate_lock()  # the signal may come from another thread at the moment of the time-out
    open_for_calls = [True]

    def wake() -> None:
        with lock:
            if open_for_calls:
                watcher.send()

    signal.add_callback(wake)
    try:
        event.wait(timeout)
    finally:
        with lock:
            open_for_calls.clear()
        watcher.stop()
        watcher.close()
    return signal.is_set


def hub_here() -> Any:
    """Return this thread's hub, which serves here, or will; None if there is none: gevent does not serve here."""
    hub = get_hub_if_exists()
    if hub is not None:
        _here.serves = True
    return hub


def spawn(hub: Any, function: Callable[[], None]) -> None:
    """Run a function in a greenlet of a hub soon; from any thread."""
    hub.loop.run_callback_threadsafe(gevent.spawn, function)


def serves_here() -> bool:
    """Return whether this thread's hub serves devices, so that nothing may block it."""
    return getattr(_here, "serves", False)


class GreenletWaits:
    """Wait so that other greenlets run meanwhile.

    Args:
        sock: the connection's socket.
    """

    ends: tuple[type[BaseException], ...] = (gevent.GreenletExit,)

    def __init__(self, sock: socket.socket) -> None:
        if _thread.get_native_id() == threading.main_thread().native_id:
            self.ends += (KeyboardInterrupt,)  # of a second Ctrl-C, which ends a server whose handler is stuck
        self._thread = get_ident()
        _here.serves = True
        self._hub = gevent.get_hub()
        _notice_signals(self._hub)
        self._watcher = self._hub.loop.io(sock.fileno(), 1)

    def readable(self, timeout: float | None = None) -> bool:
        """See `Waits.readable`."""
        if timeout is None:
            self._hub.wait(self._watcher)
            return True
        timer = gevent.Timeout(timeout)
        try:
            with timer:
                self._hub.wait(self._watcher)
        except gevent.Timeout as caught:
            if caught is not timer:
                raise
            return False
        return True

    def signal(self, signal: Signal, timeout: float | None) -> bool:
        """See `Waits.signal`. The signal may come from any thread: an async watcher wakes this one's hub."""
        if signal.is_set:
            return True
        if get_ident() != self._thread:  # a thread of the program's own dismissed the device
            return wait(signal, timeout)
        return wait_in_greenlet(signal, timeout)

    def let_others(self) -> None:
        """See `Waits.let_others`."""
        gevent.sleep(0)

    def close(self) -> None:
        """See `Waits.close`."""
        self._watcher.close()


def take_over(websocket: Any) -> tuple[socket.socket, bytes, list[tuple[str, str]], str | None]:
    """Take the stream from a gevent-websocket WebSocket, which is of no use afterwards.

    Returns:
        The socket, now non-blocking; what came behind the upgrade request; the request's headers, repeated ones
        included (a WSGI environ folds them into one); the subprotocol that the handler has agreed on.
    """
    handler = websocket.handler
    sock: socket.socket = handler.socket
    websocket.closed = True  # so that the handler does not send a CLOSE frame of its own at the end
    websocket.stream = websocket.raw_read = websocket.raw_write = None
    sock.setblocking(False)
    answered = {name.lower(): value for name, value in handler.response_headers}  # bytes by now
    subprotocol = answered.get(b"sec-websocket-protocol", b"").decode() or None
    first = read_buffered(handler.rfile)
    handler.rfile.close()  # or it would hold the socket for as long as somebody keeps the request
    return sock, first, list(handler.headers.items()), subprotocol
