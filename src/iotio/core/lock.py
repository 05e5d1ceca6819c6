"""The lock of a connection. `lock.pyx` has the same for compiled code, which calls it by the C interface."""

from __future__ import annotations

from .primitives import allocate_lock

__all__ = ["Lock"]

Lock = allocate_lock
