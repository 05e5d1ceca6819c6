"""Finding the handler of an event: only what the user made one, by methods or by `on`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from .codec import RESERVED

__all__ = ["Handler", "Handlers", "check_fallback", "check_handler", "check_periodic"]

Handler = Callable[[Any], Any]

_PREFIX = "on_"


class Handlers:
    """The handlers of one client.

    Methods `on_<event>(self, message)` of its class are listed once, here; attributes `on_<event>` of the
    object, which is where `on` puts its functions, are looked up live.

    Args:
        owner: the client.
        base: the class of the library whose methods `on_...` are no handlers.
        allow_async: whether a handler may be a coroutine function.
        logger: for methods that look like handlers and cannot be any.

    Attributes:
        fallback: takes event and data of what has no handler; None: there is none.

    Raises:
        TypeError: a coroutine function, where that is not allowed.
    """

    def __init__(self, owner: object, base: type = object, *, allow_async: bool, logger: logging.Logger) -> None:
        self.fallback: Callable[[str, Any], Any] | None = None
        self._owner = owner
        self._methods: dict[str, Handler] = {}
        for name in dir(type(owner)):
            if not name.startswith(_PREFIX) or name[len(_PREFIX) :] in RESERVED:
                continue
            found = getattr(type(owner), name)
            if not callable(found) or found is getattr(base, name, None):
                continue
            method = getattr(owner, name)
            if name == "on_event" and _takes(method, 2):
                check_fallback(method, allow_async=allow_async)
                self.fallback = method
                continue
            try:
                check_handler(name, method, allow_async=allow_async)
            except ValueError as error:
                logger.warning("%s.%s is not a handler: %s", type(owner).__name__, name, error)
                continue
            self._methods[name[len(_PREFIX) :]] = method

    def add(self, event: str, handler: Handler) -> None:
        """Make a function the handler of an event, as an attribute `on_<event>` of the client."""
        if event == "event":  # `client.on_event` stays the decorator
            self._methods[event] = handler
        else:
            setattr(self._owner, _PREFIX + event, handler)

    def find(self, event: str) -> Handler | None:
        """Return the handler of an event, or None. The peer chose the name: nothing but handlers can be found."""
        if event in RESERVED:
            return None
        found = vars(self._owner).get(_PREFIX + event)
        if found is None:
            return self._methods.get(event)
        return found if callable(found) else None

    def names(self) -> list[str]:
        """Return the events that have a handler."""
        own = (
            name[len(_PREFIX) :]
            for name, value in vars(self._owner).items()
            if name.startswith(_PREFIX) and callable(value)
        )
        return sorted({*self._methods, *own} - RESERVED)


def check_handler(name: str, handler: Any, *, allow_async: bool) -> None:
    """Check what is to become a handler.

    Raises:
        TypeError: not callable, or a coroutine function where that is not allowed.
        ValueError: it cannot be called with one message; `on_connect` and `on_disconnect`: with nothing.
    """
    event = name[len(_PREFIX) :]
    if event in ("connect", "disconnect"):
        _check(name, handler, 0, "no argument", allow_async)
    else:
        what = "the error" if event == "error" else "the message"
        _check(name, handler, 1, f"one argument, {what}", allow_async)


def check_fallback(handler: Any, *, allow_async: bool) -> None:
    """Check what is to take the events without a handler. Raises as `check_handler` does."""
    _check("on_event", handler, 2, "two arguments, the event and its data", allow_async)


def check_periodic(name: str, function: Any, *, allow_async: bool) -> None:
    """Check what is to be called every so many seconds. Raises as `check_handler` does."""
    _check(name, function, 0, "no argument", allow_async)


def _check(name: str, function: Any, count: int, wanted: str, allow_async: bool) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be a function, not {type(function).__name__}")
    if not allow_async and inspect.iscoroutinefunction(function):
        raise TypeError(f"{name} is a coroutine function: use AsyncIoTClient, or a plain function")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins do not tell
        return
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        raise ValueError(f"{name} must take {wanted}: {error}") from None


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True
