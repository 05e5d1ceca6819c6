"""A forked child has nothing of the server: no socket, no signal handler, no store; and its manager says so.

A handler may fork: `os.fork()`, `multiprocessing`, a `subprocess` with `preexec_fn`. The child has one thread, copies
of all descriptors, and locks that threads which it does not have may hold for ever. As long as it runs, the devices of
a server that was killed would wait for its end, and the port would be taken. So in the child the locks of each
manager are replaced by one that raises, before anything waits for them, and the sockets of the server by one to which
nothing ever comes: a descriptor that was closed could be another file's when somebody writes to it.

A manager that was not in use before the fork is the child's own: gunicorn loads a program before it forks, and a test
starts a server by `multiprocessing.Process(target=manager.run)`.
"""

from __future__ import annotations

import _socket
import atexit
import os
import select
import stat
import sys
import weakref
from contextlib import suppress
from typing import Any, NoReturn

from iotio.core.manager import Manager

from . import signals

__all__ = ["check", "disown", "serves_at", "watch", "watched"]

_DESCRIPTORS = "/dev/fd"

_managers: weakref.WeakSet[Manager] = weakref.WeakSet()
_places: set[Any] = set()  # TCP ports and paths of Unix sockets where devices are served
_owner = os.getpid()


class _NoLock:
    """In the place of a lock; whoever wants it is told why there is none."""

    def __init__(self, why: str) -> None:
        self._why = why

    def __enter__(self) -> NoReturn:
        raise RuntimeError(self._why)

    def __exit__(self, *error: object) -> None: ...

    def acquire(self, *arguments: object) -> NoReturn:
        """Raise RuntimeError."""
        raise RuntimeError(self._why)

    def release(self) -> None:
        """Do nothing: it was the lock of before that is held."""


def watch(manager: Manager) -> None:
    """Disown a manager in every forked child, if it is in use by then."""
    _managers.add(manager)


def watched() -> list[Manager]:
    """Return the managers of this process, those that are left."""
    return list(_managers)


def serves_at(name: Any) -> None:
    """Close the sockets of this name in forked children: the one that listens, and those that it has accepted.

    Args:
        name: as `getsockname` returns it.
    """
    place = _place_of(name)
    if place:
        _places.add(place)


def check(manager: Manager) -> None:
    """Raise a RuntimeError if this process cannot use a manager."""
    if manager._disowned:
        raise RuntimeError(manager._disowned)


def disown(manager: Manager, why: str) -> None:
    """Have every use of a manager raise a RuntimeError with these words. No lock is taken."""
    lock: Any = _NoLock(why)
    for connection in list(manager.connections._all):
        connection._lock = lock
        if hasattr(connection, "_writing_paused"):  # the native host's quick path takes a lock of its own kind only
            connection._writing_paused = True
        if connection._calls is not None:
            connection._calls._lock = lock
    writer = manager.store_writer
    if writer is not None:
        writer._lock = lock
        atexit.unregister(writer._exit)
    for part in (manager.connections, manager.durable_messages):
        part._lock = lock
    manager.registry.lock = lock
    manager._disowned = why


def _place_of(name: Any) -> Any:
    return name[1] if isinstance(name, tuple) else name


def _is_in_use(manager: Manager) -> bool:
    """Return whether a host serves it, or a thread writes to its store."""
    return bool(manager.store_writer is not None or _serves(manager))


def _serves(manager: Manager) -> bool:
    return bool(manager.loops or manager.connections.has_served or manager.background.has_begun)


def _why(manager: Manager) -> str:
    if _serves(manager):
        return (
            f"process {_owner} serves the devices of this IoTManager, and process {os.getpid()} is a child that was"
            " forked from it: use the manager there, and send it what the child has to say, by a pipe or a queue"
        )
    return (
        f"process {_owner} has opened the store of this IoTManager, and process {os.getpid()} is a child that was"
        " forked from it: make the manager in the process that serves its devices (gunicorn: without --preload)"
    )


def _in_child() -> None:
    global _owner
    used = [manager for manager in list(_managers) if _is_in_use(manager)]
    if used:
        for manager in used:
            _part_loops(manager)
            disown(manager, _why(manager))
            _managers.discard(manager)
        signals.forget(used)
        _close_sockets()
    _owner = os.getpid()


def _part_loops(manager: Manager) -> None:
    """Give the loops of a manager's hosts a selector that knows of no descriptor.

    An `async def` handler that has forked may return to its loop in the child, too: the two processes would take each
    other's events.
    """
    if sys.platform != "linux":
        return
    for one in manager.loops:
        selector: Any = getattr(getattr(one, "loop", None), "_selector", None)
        with suppress(OSError, AttributeError), select.epoll() as empty:
            os.dup2(empty.fileno(), selector.fileno(), inheritable=False)


def _close_sockets() -> None:
    if not _places:
        return
    ours, theirs = _socket.socketpair()
    ours.setblocking(False)
    for descriptor in [int(name) for name in os.listdir(_DESCRIPTORS)]:
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode) and _name(descriptor) in _places:
                os.dup2(ours.fileno(), descriptor, inheritable=False)
    ours.close()
    theirs.detach()  # it stays open: else the others would be at their end
    _places.clear()


def _name(descriptor: int) -> Any:
    """Return where a stream socket is on this machine; None for other sockets."""
    sock = _socket.socket(fileno=descriptor)
    try:
        return _place_of(sock.getsockname()) if sock.type == _socket.SOCK_STREAM else None
    finally:
        sock.detach()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
