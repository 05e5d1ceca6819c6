"""Stand in for eventlet while a program of iot.io 0.4 is loaded, and learn what it asks eventlet to serve.

Such programs end in `eventlet.wsgi.server(eventlet.listen(("", 5000)), app)`, often below `if __name__ == "__main__":`.
eventlet hands no socket to an application, so it can serve no device. Its names stand for what this server does anyway,
whether eventlet is installed or not; `wsgi.server` returns at once.
"""

from __future__ import annotations

import ast
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from .left_out import tell_left_out

__all__ = ["Asked", "main_block", "standing_in", "wants_async_mode"]


@dataclass
class Asked:
    """What a program has asked eventlet for.

    Attributes:
        app: what it wants served, or None.
        host: where, or None; "" for all addresses.
        port: where, or None.
        certfile: of a program that serves by TLS.
        keyfile: the same.
    """

    app: Any = None
    host: str | None = None
    port: int | None = None
    certfile: str | None = None
    keyfile: str | None = None


class _Listening:
    """What `eventlet.listen` returns; nothing listens."""

    def __init__(self, address: Any, family: int) -> None:
        self.address = address
        self.family = family
        self.certfile: str | None = None
        self.keyfile: str | None = None

    def getsockname(self) -> Any:
        """Return the address that was asked for."""
        return self.address

    def close(self) -> None:
        """Do nothing."""


class _Module(ModuleType):
    """A module of eventlet with a few of its names."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"'iotio run' stands in for eventlet, and has no {self.__name__}.{name}: use threads, or leave it out"
        )


@contextmanager
def standing_in() -> Iterator[Asked]:
    """Have `import eventlet` find the stand-in within the block."""
    asked = Asked()
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "eventlet"}
    for name in before:
        del sys.modules[name]
    sys.modules.update(_modules(asked))
    try:
        yield asked
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "eventlet"]:
            del sys.modules[name]
        sys.modules.update(before)


def main_block(module: ModuleType, path: Path) -> None:
    """Run the block `if __name__ == "__main__":` of a program, if it is one that calls eventlet's server.

    Args:
        module: was loaded from the file, under another name.
        path: of the file.
    """
    tree = ast.parse(path.read_bytes())
    nodes = list(ast.walk(tree))
    if not (any(_imports_eventlet(node) for node in nodes) and any(_calls(node, "server") for node in nodes)):
        return
    for node in tree.body:
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) and "__main__" in ast.unparse(node.test):
            exec(compile(ast.Module(node.body, []), str(path), "exec"), vars(module))  # the user's program


def wants_async_mode(path: Path) -> bool:
    """Return whether a program asks Flask-SocketIO for `async_mode="eventlet"`."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False  # the import says more
    return any(
        isinstance(node, ast.keyword)
        and node.arg == "async_mode"
        and isinstance(node.value, ast.Constant)
        and node.value.value == "eventlet"
        for node in ast.walk(tree)
    )


def _imports_eventlet(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom):
        names.append(node.module or "")
    return any(name.partition(".")[0] == "eventlet" for name in names)


def _calls(node: ast.AST, name: str) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    return name == (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", ""))


def _modules(asked: Asked) -> dict[str, ModuleType]:
    eventlet: Any = _Module("eventlet")
    wsgi: Any = _Module("eventlet.wsgi")

    def server(sock: Any, site: Any, *arguments: object, **options: object) -> None:
        tell_left_out("eventlet.wsgi.server()")
        asked.app = site
        name = sock.getsockname()
        if isinstance(name, tuple):
            asked.host, asked.port = name[0], name[1]
        asked.certfile, asked.keyfile = getattr(sock, "certfile", None), getattr(sock, "keyfile", None)
        sock.close()

    def wrap_ssl(sock: Any, *arguments: object, **options: Any) -> Any:
        sock.certfile, sock.keyfile = options.get("certfile"), options.get("keyfile")
        return sock

    def spawn(function: Any, *arguments: Any, **options: Any) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, kwargs=options, daemon=True)
        thread.start()
        return thread

    eventlet.__path__ = []
    eventlet.__version__ = "0"
    eventlet.monkey_patch = lambda *modules, **options: None
    eventlet.listen = lambda address, family=socket.AF_INET, *more, **options: _Listening(address, family)
    eventlet.wrap_ssl = wrap_ssl
    eventlet.sleep = lambda seconds=0: time.sleep(seconds)
    eventlet.spawn = eventlet.spawn_n = spawn
    eventlet.wsgi = wsgi
    wsgi.server = server
    return {"eventlet": eventlet, "eventlet.wsgi": wsgi}
