"""Tell devices before the program goes.

A TCP end without a CLOSE frame ends the program of an iot.io 0.4.12 device for good, and SIGTERM's default is to
end this one on the spot. So SIGTERM is caught where nobody else does, a server's own handlers are joined, and the
end of the interpreter is a last chance.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import weakref
from types import FrameType
from typing import Any

from iotio.core.manager import Manager
from iotio.core.primitives import start_thread

__all__ = ["watch"]

_GRACE = 3.0  # seconds for devices to answer the CLOSE frame; below every supervisor's patience
_LAST_GRACE = 0.5  # seconds at the end of the interpreter, when no connection can run any more

_managers: weakref.WeakSet[Manager] = weakref.WeakSet()
_previous: dict[int, Any] = {}


def watch(manager: Manager) -> None:
    """Close this manager's connections when the program is told to end. Outside of the main thread: at its exit."""
    if not _managers:
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)
    _managers.add(manager)
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
            number = getattr(signal, name, None)
            if number is not None and _is_ours_to_join(number):
                _previous[number] = signal.signal(number, _on_signal)


def _is_ours_to_join(number: int) -> bool:
    """SIGTERM unless it is ignored; the others only where a server has a handler of its own.

    Python's own SIGINT handler raises KeyboardInterrupt, which ends the program through its exit.
    """
    current = signal.getsignal(number)
    if current is _on_signal or current is signal.default_int_handler:
        return False
    return callable(current) or (current == signal.SIG_DFL and number == signal.SIGTERM)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Step aside, close everything in a thread (the main one may hold any lock now), then signal again."""
    previous = _previous.pop(number, signal.SIG_DFL)
    signal.signal(number, previous)

    def close_and_repeat() -> None:
        try:
            _close_all(_GRACE)
        finally:
            os.kill(os.getpid(), number)

    start_thread(close_and_repeat)


def _close_all(timeout: float) -> None:
    """Get the CLOSE frames out; then run here what is owed to the program for devices that did not answer.

    Last of all, right before the program goes, tell who came in the meantime: it may be back in a millisecond.
    """
    managers = list(_managers)
    try:
        for manager in managers:
            # The connections only: a thread that goes with the program may go with it.
            manager.connections.begin_close(timeout)
            for connection in manager.connections.all():
                if not connection.lane.is_busy:
                    connection.tear_down()
    finally:
        for manager in managers:
            manager.connections.finish_close()


def _at_exit() -> None:
    """The hub or the server is gone, nobody serves any connection."""
    _close_all(_LAST_GRACE)
