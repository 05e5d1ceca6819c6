"""Leave out the servers that a program starts while it is imported: `iotio run` serves it itself."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import click

__all__ = ["leaving_out", "tell_left_out"]

_SERVERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "flask.app": (("Flask", "run"),),
    "gevent.baseserver": (("BaseServer", "serve_forever"),),
    "iotio.app": (("IoTManager", "run"), ("IoTManager", "serve")),
    "uvicorn": (("", "run"),),
}
"""Module to what serves in there: a class, or "" for a function of the module, and its name."""


@contextmanager
def leaving_out() -> Iterator[None]:
    """Have what would serve return at once within the block, with one line that says so."""
    put_back: list[tuple[Any, str, Any]] = []

    def replace(module: ModuleType) -> None:
        for owner_name, name in _SERVERS[module.__name__]:
            owner = getattr(module, owner_name) if owner_name else module
            put_back.append((owner, name, vars(owner)[name]))
            setattr(owner, name, _stand_in(f"{owner_name or module.__name__}.{name}()", is_async=name == "serve"))

    for name in _SERVERS.keys() & sys.modules.keys():
        replace(sys.modules[name])
    finder = _Finder(replace)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for owner, name, value in put_back:
            setattr(owner, name, value)


def tell_left_out(what: str) -> None:
    """Say in one line that the program's call of a server is left out, and where that stands."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(os.path.dirname(__file__)) and frame.f_back is not None:
        frame = frame.f_back
    place = f"{os.path.basename(frame.f_code.co_filename)}, line {frame.f_lineno}"
    click.echo(f"{place}: {what} is left out, as iotio run serves the program itself", err=True)


def _stand_in(what: str, *, is_async: bool) -> Callable[..., Any]:
    def left_out(*arguments: object, **options: object) -> Any:
        tell_left_out(what)
        return _nothing() if is_async else None

    return left_out


async def _nothing() -> None:
    """Serve nothing."""


class _Finder(MetaPathFinder):
    """Find the modules with servers as they are found anyway, and have something done when they are loaded."""

    def __init__(self, then: Callable[[ModuleType], None]) -> None:
        self._then = then
        self._finding = ""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in _SERVERS or name == self._finding:
            return None
        self._finding = name
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._finding = ""
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._then)
        return spec


class _Loader(Loader):
    """Load a module by its own loader, which it keeps, then do something with it."""

    def __init__(self, own: Loader, then: Callable[[ModuleType], None]) -> None:
        self._own = own
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._own
        if module.__spec__ is not None:
            module.__spec__.loader = self._own
        self._own.exec_module(module)
        self._then(module)
