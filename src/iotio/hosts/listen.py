"""Open the sockets of a server before it serves, so that the program that starts it is told what is wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import Iterable

__all__ = ["BACKLOG", "CannotServe", "address", "check_files", "listen"]

BACKLOG = 65_535  # connections that wait to be accepted, all devices after a restart; the kernel takes what it allows
_UNIX_MODE = 0o666  # of a new Unix socket, as uvicorn has it: the proxy in front runs as another user
_PROBE_SECONDS = 1.0  # for a server that may be behind a Unix socket; a full queue means that there is one


class CannotServe(OSError):
    """Say that the server cannot have what it was told to use.

    Attributes:
        problem: what is wrong, half a sentence.
        option: the argument to change: "host", "port", "uds", "ssl_certfile" or "ssl_keyfile".
    """

    def __init__(self, problem: str, option: str, cause: OSError | None = None) -> None:
        super().__init__(f"{problem}; choose another with {option}=")
        self.problem = problem
        self.option = option
        self.errno = None if cause is None else cause.errno


def listen(host: str | None, port: int, uds: str | None = None, *, backlog: int = BACKLOG) -> list[socket.socket]:
    """Open the listening sockets.

    Args:
        host: an address or a name of this machine; a name may have several addresses. None or "" for all, and so does
            "::": each kind of IP has a socket of its own, so that no address of IPv4 looks like one of IPv6.
        port: the port; 0 finds a free one.
        uds: the path of a Unix socket, which is used instead of host and port. One that a server left is replaced.
        backlog: how many connections may wait to be accepted.

    Raises:
        CannotServe: the port is in use, there is no such address, or no permission.
    """
    if uds is not None:
        return [_listen_unix(uds, backlog)]
    found: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, where in _addresses(host, port):
            if found:
                where = (where[0], found[0].getsockname()[1], *where[2:])  # port 0: one port for all addresses
            try:
                found.append(_listen_tcp(family, where, backlog))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error  # such as ::1 for "localhost" where IPv6 is off
        if not found:
            raise missing or OSError(errno.EADDRNOTAVAIL, "no address")
    except OSError as error:
        for sock in found:
            sock.close()
        raise _explained(error, host, port) from None
    return found


def address(sock: socket.socket) -> str:
    """Return where a socket listens: `127.0.0.1:5000`, `[::1]:5000`, or the path of a Unix socket."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def check_files(**files: str | os.PathLike[str] | None) -> None:
    """Find out whether the files that these options name can be read.

    Raises:
        CannotServe: one of them cannot.
    """
    for option, path in files.items():
        if path is None:
            continue
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            problem = "does not exist" if error.errno == errno.ENOENT else f"cannot be read: {error.strerror}"
            raise CannotServe(f"the file {os.fspath(path)} {problem}", option, error) from None


def _addresses(host: str | None, port: int) -> Iterable[tuple[socket.AddressFamily, tuple[str, int]]]:
    if not 0 <= port <= 65535:
        raise CannotServe(f"{port} is no port, they go from 0 to 65535", "port")
    name = (host or "").removeprefix("[").removesuffix("]")
    name_or_all = None if name in ("", "::") else name
    infos = socket.getaddrinfo(name_or_all, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return dict.fromkeys((info[0], info[4]) for info in infos)  # type: ignore[misc]  # no address is a Unix path here


def _listen_tcp(family: socket.AddressFamily, where: tuple[str, int], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix" and sys.platform != "cygwin":
            # A port of connections that have just ended is free. On Windows it would mean more than that.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _explained(error: OSError, host: str | None, port: int) -> CannotServe:
    if isinstance(error, CannotServe):
        return error
    if isinstance(error, socket.gaierror):
        return CannotServe(f"there is no host {host!r}", "host", error)
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotServe(f"{host} is no address of this machine", "host", error)
    if error.errno == errno.EADDRINUSE:
        return CannotServe(f"port {port} is in use", "port", error)
    if error.errno in (errno.EACCES, errno.EPERM):
        low = " (those below 1024 are for administrators)" if port < 1024 else ""
        return CannotServe(f"no permission to listen on port {port}{low}", "port", error)
    return CannotServe(f"cannot listen on {host}:{port}: {error.strerror or error}", "port", error)


def _listen_unix(path: str, backlog: int) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise CannotServe("Python has no Unix sockets on this system", "port")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mode = _make_room(path)
        sock.bind(path)
        os.chmod(path, mode)
        sock.listen(backlog)
    except CannotServe:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        problem = f"cannot listen on the Unix socket {path}: {error.strerror or error}"
        raise CannotServe(problem, "uds", error) from None
    return sock


def _make_room(path: str) -> int:
    """Remove the Unix socket that an earlier server left at a path. Returns the mode for the new one."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return _UNIX_MODE
    if not stat.S_ISSOCK(there.st_mode):
        raise CannotServe(f"{path} exists and is no socket", "uds")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        with contextlib.suppress(ConnectionRefusedError):
            with contextlib.suppress(TimeoutError, BlockingIOError):
                probe.connect(path)
            raise CannotServe(f"the Unix socket {path} is in use", "uds")
    os.unlink(path)
    return stat.S_IMODE(there.st_mode)
