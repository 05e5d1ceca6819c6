"""Close the connections of devices before the program ends.

A TCP end without a CLOSE frame ends the program of an iot.io 0.4.12 device for good, and the default of SIGTERM, and of
SIGHUP when the terminal is closed, is to end this one on the spot. So these are handled where they have no handler, a
server's own handlers run after this one, and the end of the interpreter is a last chance.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from iotio.core.manager import Manager
from iotio.core.primitives import start_thread

from .systemd import tell_stopping

__all__ = ["forget", "handling", "is_repeated", "watch"]

_GRACE = 3.0  # seconds for devices to answer the CLOSE frame; below every supervisor's patience
_LAST_GRACE = 0.5  # seconds at the end of the interpreter, when no connection can run any more

_SIGHUP: int | None = getattr(signal, "SIGHUP", None)  # not on Windows

_managers: weakref.WeakSet[Manager] = weakref.WeakSet()
_previous: dict[int, Any] = {}
_handled: list[dict[int, Any]] = []  # of each `handling` that goes on, the handlers before it


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have SIGINT, SIGTERM and SIGHUP call a function, until the handlers before it are put back.

    For the main thread only. SIGHUP is left to whoever handles it already, or ignores it as nohup does.
    """
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if _SIGHUP is not None and signal.getsignal(_SIGHUP) in (signal.SIG_DFL, _on_signal):
        numbers.append(_SIGHUP)
    before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
    _handled.append(before)
    try:
        yield
    finally:
        if before in _handled:  # else this is a forked child
            _handled.remove(before)
        for number, previous in before.items():
            signal.signal(number, previous)


def is_repeated(number: int) -> bool:
    """Return whether the system sends a signal twice by itself, so that the second one does not mean "at once".

    A terminal that is closed sends SIGHUP, and so does the shell in it.
    """
    return number == _SIGHUP


def watch(manager: Manager) -> None:
    """Close a manager's connections when the program is told to end. Outside of the main thread: at its exit."""
    if not _managers:
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)
    _managers.add(manager)
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and _is_ours_to_join(number):
                _previous[number] = signal.signal(number, _on_signal)


def forget(managers: Iterable[Manager]) -> None:
    """Put back, in a forked child, the handlers that were there before ours; its end closes no connection.

    Bytes that tell an event loop of a signal would go to the loop of the process before the fork.

    Args:
        managers: the managers of that process, all of which were used.
    """
    _managers.difference_update(managers)
    signal.set_wakeup_fd(-1)
    for number, previous in {**(_handled[0] if _handled else {}), **_previous}.items():
        signal.signal(number, previous)
    _previous.clear()
    _handled.clear()
    if not _managers:
        atexit.unregister(_at_exit)


def _is_ours_to_join(number: int) -> bool:
    """Return whether to handle a signal: SIGTERM unless it is ignored, others where a server has a handler.

    Python's own SIGINT handler raises KeyboardInterrupt, which ends the program through its exit. A handler for SIGHUP
    reads a configuration again, as a rule, and ends nothing.
    """
    current = signal.getsignal(number)
    if current is _on_signal or current is signal.default_int_handler:
        return False
    if current == signal.SIG_DFL:
        return number in (signal.SIGTERM, _SIGHUP)
    return callable(current) and number != _SIGHUP


def _on_signal(number: int, frame: FrameType | None) -> None:
    """Put the handler before this one back, close everything in a thread, then signal again.

    The main thread may hold any lock now.
    """
    previous = _previous.pop(number, signal.SIG_DFL)
    signal.signal(number, signal.SIG_IGN if is_repeated(number) else previous)

    def close_and_repeat() -> None:
        try:
            tell_stopping()
            _close_all(_GRACE)
        finally:
            # The kernel does not do the default to the first process of a container.
            if is_repeated(number) or (previous == signal.SIG_DFL and os.getpid() == 1):
                os._exit(128 + number)
            os.kill(os.getpid(), number)

    start_thread(close_and_repeat)


def _close_all(timeout: float) -> None:
    """Send the CLOSE frames, then tear down here the connections of devices that did not answer.

    Last of all, right before the program ends, close what was opened meanwhile: a device that was told may be back in a
    millisecond.
    """
    managers = list(_managers)
    try:
        for manager in managers:
            # The connections only: a thread that goes with the program may go with it.
            manager.connections.begin_close(timeout)
            for connection in manager.connections.all():
                if not connection.lane.is_busy:
                    connection.tear_down()
        for manager in managers:
            manager.background.end(timeout, manager.wait_here)
    finally:
        for manager in managers:
            manager.connections.finish_close()


def _at_exit() -> None:
    """Close everything at the end of the interpreter, when no hub or server serves the connections any more."""
    _close_all(_LAST_GRACE)
