"""The program that has a store, and which other processes may use the store beside it.

Two kinds of processes load a program a second time while its first one waits: that of Werkzeug's reloader, and those
that `multiprocessing` spawns. They share the lock of a parent that has not written anything.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from multiprocessing import process
from typing import NamedTuple

from iotio.core.storage.contract import StoreOfParent

__all__ = ["Holder", "may_share"]


class Holder(NamedTuple):
    """The program that has a lock, as it says itself; zeros if it could not."""

    process: int = 0
    host: str = ""
    has_written: bool = True

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}" if self.process else "another program"

    @property
    def is_this(self) -> bool:
        """Whether it is this process."""
        return (self.process, self.host) == (os.getpid(), platform.node())


def may_share(name: str, holder: Holder, held: Collection[int]) -> bool:
    """Return whether this process uses the lock of its parent.

    Args:
        name: of what is locked.
        holder: whose lock it is.
        held: the processes that had a lock in this memory: this one, and those that it was forked from.

    Raises:
        StoreOfParent: the parent has written, and this process is importing the program now.
    """
    if _is_reloaded(holder):
        return True
    if not _is_spawned(holder, held):
        return False
    if not holder.has_written:
        return True
    if getattr(process.current_process(), "_inheriting", False):
        raise StoreOfParent(f"{name} is in use by {holder}, which has started this process")
    return False


def _is_reloaded(holder: Holder) -> bool:
    """Return whether this is the process that serves under Werkzeug's reloader, which has loaded the program itself."""
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true" and holder[:2] == (os.getppid(), platform.node())


def _is_spawned(holder: Holder, held: Collection[int]) -> bool:
    """Return whether `multiprocessing` has spawned this process from the holder, and has not forked it."""
    if holder.host != platform.node() or holder.process in held:
        return False
    current = process.current_process()
    parent = getattr(current, "_parent_pid", None)
    spawned = parent is not None or getattr(current, "_inheriting", False)
    return spawned and holder.process in (parent, os.getppid())
