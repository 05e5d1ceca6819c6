"""One program at a time uses a database file: a lock beside it, and what it says of the program that has it.

The lock is the kernel's, on a file of its own that stays where it is: it ends with the process, however that ends. On
POSIX it is `fcntl`'s: a forked child does not have it, and NFS knows it, too. It is lost when the process closes any
descriptor of the file, so nothing here opens a file whose lock this process has. The file is deleted with the lock
held, if the program ends in order; who waits for it finds that another file has its name.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from iotio.core.primitives import allocate_lock
from iotio.core.storage.contract import StoreError
from iotio_protocol.logs import get_logger

from .holder import Holder, may_share

__all__ = ["FileLock"]

logger = get_logger("iotio.store")

_PAUSE = 0.05  # seconds between two tries
_MOST = 1000  # bytes that are read of what the file says
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # of a file system that has none

_held: dict[tuple[int, int], int] = {}  # by device and inode of a lock file, the process that took the lock
_guard = allocate_lock()  # for this


def _renew_guard() -> None:
    """Have a guard that is free: another thread may have held it when this process was forked."""
    global _guard
    _guard = allocate_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_guard)


class FileLock:
    """The lock of a database file. It is not for several threads at a time.

    Args:
        database: the path of the file. Symbolic links are followed, so that all its names have one lock.
        timeout: seconds to wait for a program that is about to end.
    """

    def __init__(self, database: Path, timeout: float) -> None:
        self._database = database
        self._path = f"{os.path.realpath(database)}-lock"
        self._timeout = timeout
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        self._told = False  # that this program has written

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StoreError: another program has it; the text names host and process.
            StoreOfParent: it is the one that has started this process.
            OSError: the file cannot be made.
        """
        deadline = time.monotonic() + self._timeout
        waits = False
        while not self._try():
            holder = _read(self._path)
            if may_share(str(self._database), holder, _held.values()):
                return
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"{self._database} is in use by {holder}: one program at a time may have it;"
                    " end the other one, or name another file"
                )
            if not waits:
                waits = True
                logger.warning("%s is in use by %s; waiting %g s for it to end", self._database, holder, self._timeout)
            time.sleep(_PAUSE)

    def tell_written(self) -> None:
        """Say in the file that this program has written."""
        if not self._told:
            self._told = True
            self._say(has_written=True)

    def release(self) -> None:
        """Give the lock back. Harmless without it."""
        descriptor, self._descriptor = self._descriptor, None
        self._told = False
        if descriptor is None:
            return
        assert self._identity is not None
        with _guard:
            if _held.get(self._identity) == os.getpid():  # else this is a forked child
                del _held[self._identity]
                with suppress(OSError):
                    os.unlink(self._path)
            os.close(descriptor)

    def _try(self) -> bool:
        """Take the lock if it is free. In this process, opening the file of a lock that it has would end the lock."""
        with _guard:
            with suppress(FileNotFoundError):
                if _held.get(_identity(os.stat(self._path))) == os.getpid():
                    raise StoreError(
                        f"{self._database} is open in this program already: close() the other IoTManager first,"
                        " or make one only"
                    )
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if not self._lock(descriptor):
                    os.close(descriptor)
                    return False
                identity = _identity(os.fstat(descriptor))
                try:
                    is_there = _identity(os.stat(self._path)) == identity
                except FileNotFoundError:
                    is_there = False
                if not is_there:  # somebody has deleted the file meanwhile
                    os.close(descriptor)
                    return False
            except OSError:
                os.close(descriptor)
                raise
            self._descriptor, self._identity = descriptor, identity
            _held[identity] = os.getpid()
        self._say(has_written=False)
        return True

    def _lock(self, descriptor: int) -> bool:
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                logger.warning(
                    "%s cannot be locked (%s): see to it that one program only uses it", self._database, error.strerror
                )
                return True
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                return False
            raise
        return True

    def _say(self, *, has_written: bool) -> None:
        """Write down whose the lock is. A full disk leaves that out."""
        if self._descriptor is None:
            return
        text = json.dumps({"process": os.getpid(), "host": platform.node(), "has_written": has_written}) + "\n"
        data = text.encode()
        with suppress(OSError):
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, data)
            os.ftruncate(self._descriptor, len(data))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _read(path: str) -> Holder:
    """Read who has a lock. Another process has it, so that it does not end when the file is closed here."""
    try:
        with open(path, "rb") as file:
            said: dict[str, Any] = json.loads(file.read(_MOST))
        return Holder(int(said["process"]), str(said["host"]), bool(said["has_written"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # far behind the text, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
