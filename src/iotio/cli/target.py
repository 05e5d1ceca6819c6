"""From `module:attribute` on the command line to an IoTManager."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import click

from iotio_protocol.near_names import near_name

from ..core.storage.contract import StoreError
from ..hosts import forks
from .old_programs import Asked, main_block, wants_async_mode

if TYPE_CHECKING:
    from ..app import IoTManager

__all__ = ["Failure", "Misuse", "Target", "usual_file"]

_FORM = "module:attribute or path/to/file.py:attribute"
_FILE = re.compile(r"(?P<place>.+\.py)(?::(?P<attribute>.*))?")
_MOST_NAMES = 8  # that an error lists
_DEFAULTS = ("manager", "app")
_FACTORIES = ("create_app", "make_app")
_FILES = ("app.py", "server.py", "main.py")


class Failure(click.ClickException):
    """An error that ends the command with one line and exit status 1."""


class Misuse(Failure):
    """An error in the options: exit status 2, as click has it for options that it does not know."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Target:
    """What `iotio run` was told to serve.

    Attributes:
        place: a module's name, or the path of a .py file.
        attribute: a name in it, dotted names of attributes after it; "" for the usual ones.
        is_file: whether place is a path.
        is_call: whether the attribute is to be called; one that can only be a factory is so in any case.
    """

    place: str
    attribute: str
    is_file: bool
    is_call: bool = False

    @classmethod
    def parse(cls, text: str) -> Target:
        """Take the argument apart.

        Raises:
            Misuse: it has another form.
        """
        file = _FILE.fullmatch(text)
        if file:
            place, attribute = file["place"], file["attribute"]
        else:
            place, colon, attribute = text.partition(":")
            attribute = attribute if colon else None
            if not _is_dotted(place):
                raise Misuse(f"{text!r} is not of the form {_FORM}")
        name = (attribute or "").removesuffix("()")
        if attribute is not None and not _is_dotted(name):
            raise Misuse(f"{attribute!r}, after the colon of {text!r}, is not the name of an attribute")
        return cls(place, name, file is not None, name != (attribute or ""))

    @property
    def folder(self) -> Path:
        """The folder that holds the file, or else the current one."""
        return Path(self.place).resolve().parent if self.is_file else Path.cwd()

    def check(self) -> None:
        """Find out whether the module is there, without running any of it.

        Raises:
            Failure: it is not.
        """
        if self.is_file:
            if not Path(self.place).is_file():
                raise Failure(f"there is no file {self.place} in {Path.cwd()}")
            return
        top = self.place.partition(".")[0]
        try:
            found = importlib.util.find_spec(top) is not None
        except ValueError:  # `__main__` has no specification
            found = False
        if not found:
            raise self._missing(top)

    def load(self, asked: Asked | None = None) -> tuple[str, IoTManager]:
        """Import the module and find the manager in it.

        Args:
            asked: what a program asks the stand-in for eventlet, if there is one.

        Returns:
            How the manager can be named, and the manager.

        Raises:
            Failure: there is no such module or no manager in it; or its code fails, with the traceback printed before.
        """
        self.check()
        file = self._file()
        if file is not None and wants_async_mode(file):
            raise Failure(
                f'{self.place} asks Flask-SocketIO for async_mode="eventlet", which serves no device:'
                " leave this argument out of SocketIO(...)"
            )
        try:
            module = _import_file(Path(self.place)) if self.is_file else importlib.import_module(self.place)
            if self.is_file and asked is not None and asked.app is None:
                main_block(module, Path(self.place))
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) and self._is_prefix(error.name):
                raise self._missing(str(error.name)) from None
            raise _failure(error, self.place, "could not be loaded") from None
        if asked is not None and asked.app is not None and not self.attribute:
            manager = _manager_of(asked.app) or _manager_beside(asked.app, module)
            if manager is not None:
                return self.place, manager
        return self.find(module)

    def _file(self) -> Path | None:
        """Return the file of the module, if it is found without running anything."""
        if self.is_file:
            return Path(self.place)
        if "." in self.place:
            return None  # its package would be imported
        spec = importlib.util.find_spec(self.place)
        return Path(spec.origin) if spec is not None and spec.origin is not None else None

    def _is_prefix(self, name: str | None) -> bool:
        """Return whether the module that was not found is the one that was asked for, or a package around it."""
        return not self.is_file and name is not None and f"{self.place}.".startswith(f"{name}.")

    def _missing(self, name: str) -> Failure:
        return Failure(f"there is no module {name!r} in {Path.cwd()}, nor among the installed packages")

    def find(self, module: ModuleType) -> tuple[str, IoTManager]:
        """Find the manager in a module that was imported, as `load` returns it.

        Raises:
            Failure: there is none, or it is not clear which.
        """
        if self.attribute:
            return self._named(module)
        managers = {name: manager for name, value in vars(module).items() if (manager := _manager_of(value))}
        for name in _DEFAULTS:
            if name in managers:
                return f"{self.place}:{name}", managers[name]
        if len({id(manager) for manager in managers.values()}) == 1:
            name, manager = next(iter(managers.items()))
            return f"{self.place}:{name}", manager
        if managers:
            raise Failure(
                f"{self.place} has several managers: {_listed(managers)};"
                f" say which, for example {self.place}:{next(iter(managers))}"
            )
        for name in _FACTORIES:
            if inspect.isfunction(factory := vars(module).get(name)):
                return f"{self.place}:{name}()", _made_by(factory, f"{self.place}:{name}")
        raise Failure(
            f"{self.place} has no IoTManager under a name of its own, but {_listed(_described(module)) or 'nothing'};"
            f" add manager = IoTManager(app), or name it: {self.place}:NAME"
        )

    def _named(self, module: ModuleType) -> tuple[str, IoTManager]:
        value: Any = module
        at = self.place
        for name in self.attribute.split("."):
            try:
                value = getattr(value, name)
            except AttributeError:
                near = near_name(name, dir(value))
                hint = "" if near is None else f"; did you mean {near!r}?"
                raise Failure(f"{at} has no attribute {name!r}{hint}") from None
            at = f"{self.place}:{name}" if at == self.place else f"{at}.{name}"
        manager = None if self.is_call else _manager_of(value) or _manager_beside(value, module)
        if manager is not None:
            return at, manager
        if self.is_call or (inspect.isroutine(value) and not inspect.iscoroutinefunction(value)):
            return f"{at}()", _made_by(value, at)
        raise Failure(f"{at} is {_kind(value)}, it must be an IoTManager or an application that has one")


def usual_file() -> str:
    """Return the program in the current folder that is served if none is named.

    Raises:
        Misuse: there is none.
    """
    for name in _FILES:
        if Path(name).is_file():
            return name
    raise Misuse(
        f"there is no {', '.join(_FILES[:-1])} or {_FILES[-1]} in {Path.cwd()}: say what to serve, such as"
        " iotio run FILE"
    )


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _import_file(path: Path) -> ModuleType:
    """Import a file as the module that it is: in its package if it is in one, else under its bare name."""
    path = path.resolve()
    name, folder = path.stem, path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        name, folder = f"{folder.name}.{name}", folder.parent
    if str(folder) not in sys.path:
        sys.path.insert(
            1, str(folder)
        )  # where its neighbours are, as for `python file.py`; the current folder is first
    if "." in name:
        return importlib.import_module(name)
    if name in sys.modules:  # a file that is called like a module which we have loaded, say flask.py
        name = f"_{name}_"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _made_by(factory: Any, at: str) -> IoTManager:
    """Call a factory, and return the manager that it has made.

    Args:
        factory: what the target names.
        at: its name, for errors.

    Raises:
        Failure: it cannot be called without arguments, fails, or makes no manager.
    """
    if not callable(factory) or inspect.iscoroutinefunction(factory):
        raise Failure(f"{at} is {_kind(factory)}, it must be a def that returns an IoTManager or an application")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise Failure(f"{at} cannot be called without arguments ({error}): write a function around it") from None
    try:
        made = factory()
    except Exception as error:
        raise _failure(error, f"{at}()", "failed") from None
    from ..app import IoTManager

    managers = (one for one in forks.watched() if isinstance(one, IoTManager) and one.app is made)
    manager = _manager_of(made) or (next(managers, None) if made is not None else None)
    if manager is None:
        raise Failure(f"{at}() returned {_kind(made)}, it must return an IoTManager or an application that has one")
    return manager


def _failure(error: Exception, what: str, problem: str) -> Failure:
    """Return the end of the command for an error of the user's code; prints its traceback, if a line cannot tell."""
    if isinstance(error, StoreError):
        return Failure(f"{what}: {error}")
    _print_error_of_the_user(error)
    return Failure(f"{what} {problem}: the error above is in its code")


def _manager_of(value: object) -> IoTManager | None:
    import flask

    from ..app import IoTManager

    if isinstance(value, flask.Flask):
        value = value.extensions.get("iot.io")
    return value if isinstance(value, IoTManager) else None


def _manager_beside(value: object, module: ModuleType) -> IoTManager | None:
    """Find the manager that serves this application, which does not know it."""
    managers = filter(None, map(_manager_of, vars(module).values()))
    return next((manager for manager in managers if manager.app is value), None) if value is not None else None


def _kind(value: object) -> str:
    import flask

    if isinstance(value, flask.Flask):
        return "a Flask application without an IoTManager"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.iscoroutinefunction(value):
        return "an async def"
    if value is None:
        return "None"
    kind = type(value).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _described(module: ModuleType) -> list[str]:
    """Return the module's own names, for an error; what it imported is of no use there."""
    import flask

    found = []
    for name, value in vars(module).items():
        imported = isinstance(value, ModuleType) or getattr(value, "__module__", module.__name__) != module.__name__
        if not name.startswith("_") and (isinstance(value, flask.Flask) or not imported):
            found.append(f"{name} ({_kind(value)})")
    return found


def _listed(names: Any) -> str:
    names = list(names)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _print_error_of_the_user(error: BaseException) -> None:
    """Print the traceback, without what led to the user's code."""
    error.__traceback__ = _skip_ours(error.__traceback__)
    click.echo("".join(traceback.format_exception(error)).rstrip(), err=True)


def _skip_ours(trace: TracebackType | None) -> TracebackType | None:
    ours = (__file__, importlib.__file__)
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file not in ours and not file.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None
