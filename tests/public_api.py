"""Write down the public names with their signatures: `python -m tests.public_api > tests/public_api.txt`."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

__all__ = ["described"]

MODULES = ("iotio", "iotio.endpoints", "iotio.store", "iotio.testing")
OF_A_MANAGER = {
    "devices": "iotio.core.directory.Directory",
    "backup": "iotio.core.storage.recorder.StoreBackup",
    "export": "iotio.core.storage.recorder.StoreExport",
}
OURS = ("iotio", "iotio_protocol")


def described(parts: Mapping[str, str]) -> list[str]:
    """Return the lines.

    Args:
        parts: by the name of a class, the names in there that are for this package only.
    """
    lines: list[str] = []
    for module in map(import_module, MODULES):
        for name in sorted(module.__all__):
            lines += _lines(f"{module.__name__}.{name}", getattr(module, name), parts)
    for name, home in OF_A_MANAGER.items():
        module_name, _, attribute = home.rpartition(".")
        lines += _members(f"iotio.IoTManager.{name}", getattr(import_module(module_name), attribute), "")
    return lines


def _lines(path: str, thing: Any, parts: Mapping[str, str]) -> Iterator[str]:
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        yield f"{path}: {', '.join(f'{one.name}={one.value!r}' for one in thing)}"
        return
    if not inspect.isclass(thing):
        yield path if not callable(thing) else f"{path}{_signature(thing)}"
        return
    yield f"{path}{_signature(thing)}"
    yield from _members(path, thing, parts.get(thing.__name__, ""))


def _members(path: str, thing: type, parts: str) -> Iterator[str]:
    members = {
        name: value
        for one in reversed(thing.__mro__)
        if one.__module__.partition(".")[0] in OURS
        for name, value in vars(one).items()
        if (not name.startswith("_") or name == "__call__") and name not in parts.split()
    }
    for name, value in sorted(members.items()):
        if isinstance(value, property):
            yield f"{path}.{name}: {inspect.signature(value.fget).return_annotation}"  # type: ignore[arg-type]  # it has one
        elif callable(getattr(value, "__func__", value)):
            prefix = "async " if inspect.iscoroutinefunction(value) else ""
            yield f"{prefix}{path}.{name}{_signature(getattr(value, '__func__', value))}"


def _signature(thing: Any) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):  # an exception of the interpreter's own
        return ""
    return re.sub(r"<object object at \w+>|<class '([\w.]+)'>", lambda found: found[1] or "...", text)


if __name__ == "__main__":
    from tests.test_public_names import PARTS

    print("\n".join(described(PARTS)))
