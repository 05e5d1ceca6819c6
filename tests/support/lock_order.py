"""Records which lock is taken while which is held, to compare that with the table in `iotio.core`."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import iotio.core
from iotio.core import primitives

__all__ = ["LockOrder", "allowed", "recorded"]

_LAST = {"Delivery", "LogThrottle", "Signal", "Takeovers", "wait_in_greenlet"}
"""Locks that may be taken while any other is held."""

_UNRECORDED = {"Bell", "wait"}
"""Makers of locks that are waited for: taken by one thread, released by another."""


_MOVED = {"Manager": "Connections"}  # while the manager keeps the sockets itself


def allowed() -> dict[str, set[str]]:
    """The table: for each lock all that may be taken while it is held."""
    arrows = re.findall(r"^    (\w+) +-> ([\w, ]+)$", iotio.core.__doc__ or "", re.MULTILINE)
    direct = {name: set(others.split(", ")) for name, others in arrows}

    def reach(name: str, seen: set[str]) -> set[str]:
        for other in direct.get(name, set()) - seen:
            seen.add(other)
            reach(other, seen)
        return seen

    names = {name for pair in direct.items() for name in (pair[0], *pair[1])}
    return {name: reach(name, set()) | (set() if name in _LAST else _LAST) for name in names}


class LockOrder:
    """What was seen.

    Attributes:
        seen: for each pair of a lock that was held and one that was taken then, the functions that did so.
    """

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], str] = {}
        self._held = threading.local()

    def taken(self, name: str) -> None:
        """A lock of that name was taken."""
        held = self._names()
        for one in held:
            self.seen.setdefault((one, name), _way() if (one, name) not in self.seen else "")
        held.append(name)

    def released(self, name: str) -> None:
        """And released."""
        held = self._names()
        held.reverse()
        held.remove(name)
        held.reverse()

    def forbidden(self) -> list[str]:
        """What was seen and is not in the table."""
        table = allowed()
        return [f"{a} -> {b}: {way}" for (a, b), way in sorted(self.seen.items()) if b not in table.get(a, set())]

    def _names(self) -> list[str]:
        if not hasattr(self._held, "names"):
            self._held.names = []
        names: list[str] = self._held.names
        return names


class _Lock:
    """A lock that tells."""

    def __init__(self, order: LockOrder, name: str, lock: Any) -> None:
        self._order = order
        self._name = name
        self._lock = lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        got: bool = self._lock.acquire(blocking, timeout)
        if got:
            self._order.taken(self._name)
        return got

    def release(self) -> None:
        self._order.released(self._name)
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def recorded() -> Iterator[LockOrder]:
    """Have all locks that are made inside tell what is done with them."""
    order = LockOrder()
    original = primitives._original

    def instead(name: str) -> Any:
        found = original(name)
        if name != "allocate_lock":
            return found
        maker = _maker()
        return found if maker in _UNRECORDED else lambda: _Lock(order, maker, found())

    primitives._original = instead
    try:
        yield order
    finally:
        primitives._original = original


def _maker() -> str:
    """The class, or the function, that makes the lock."""
    frame: Any = sys._getframe(1)
    while frame.f_code.co_name in ("instead", "allocate_lock"):
        frame = frame.f_back
    name = str(frame.f_code.co_qualname).split(".")[0]
    return _MOVED.get(name, name)


def _way() -> str:
    names: list[str] = []
    frame: Any = sys._getframe(1)
    while frame is not None and len(names) < 8:
        if "iotio" in frame.f_code.co_filename:
            names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return " < ".join(names)
