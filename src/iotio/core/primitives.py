"""The interpreter's own locks and threads, also in a program that gevent has monkey-patched.

The registry and the sockets are used by real threads and by greenlets of several hubs at once. A patched lock
belongs to a hub; ours are held for microseconds, never while user code runs, so they need not be cooperative.
"""

from __future__ import annotations

import _thread
import contextlib
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["Bell", "Signal", "allocate_lock", "get_ident", "start_thread", "wait"]


def _original(name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(_thread, name)
    return monkey.get_original("_thread", name)


def allocate_lock() -> _thread.LockType:
    """Make a lock of the interpreter itself, which blocks the real thread."""
    lock: _thread.LockType = _original("allocate_lock")()
    return lock


def start_thread(target: Callable[[], None]) -> None:
    """Run `target` in a real thread, which ends with the program."""
    _original("start_new_thread")(target, ())


def get_ident() -> int:
    """Return the number of the real thread that this runs in, whatever the greenlet."""
    ident: int = _original("get_ident")()
    return ident


class Signal:
    """A state that is set once, and calls callbacks when it is.

    How to wait for it differs between threads, greenlets and event loops, so each of them adds its own way.

    Attributes:
        is_set: whether `set` was called.
    """

    __slots__ = ("_callbacks", "_lock", "is_set")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._callbacks: tuple[Callable[[], object], ...] = ()
        self.is_set = False

    def set(self) -> None:
        """Set the signal. Callbacks run now, in this thread; a second call does nothing."""
        with self._lock:
            if self.is_set:
                return
            self.is_set = True
            callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            callback()

    def add_callback(self, callback: Callable[[], object]) -> None:
        """Have a callback called when the signal is set, or now if it is. It must be quick; any thread may run it."""
        with self._lock:
            if not self.is_set:
                self._callbacks += (callback,)
                return
        callback()


class Bell:
    """A bell that wakes one real thread. A ring while no thread waits is kept, and several of them are as one."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def ring(self) -> None:
        """Wake the thread that waits, or the next one that would. Never blocks."""
        with contextlib.suppress(RuntimeError):  # it has rung already
            self._lock.release()

    def wait(self, timeout: float | None) -> None:
        """Block this thread until the bell rings, or for so many seconds; None waits as long as it takes."""
        self._lock.acquire(timeout=-1 if timeout is None else timeout)


def wait(signal: Signal, timeout: float | None) -> bool:
    """Block this thread (not just its greenlet) until the signal is set.

    Args:
        signal: what to wait for.
        timeout: in seconds; None waits as long as it takes.

    Returns:
        Whether it is set.
    """
    if not signal.is_set:
        lock = allocate_lock()
        lock.acquire()
        signal.add_callback(lock.release)
        lock.acquire(timeout=-1 if timeout is None else max(timeout, 0.0))
    return signal.is_set
