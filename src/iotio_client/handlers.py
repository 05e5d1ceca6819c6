"""Finding the handler of an event: only what the user made one, by methods or by `on`."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from typing import Any

from .codec import RESERVED

__all__ = ["Handler", "Handlers", "check_handler"]

Handler = Callable[[Any], Any]

_PREFIX = "on_"


class Handlers:
    """The handlers of one client.

    Methods `on_<event>(self, message)` of its class are listed once, here; attributes `on_<event>` of the
    object, which is where `on` puts its functions, are looked up live.

    Args:
        owner: the client.
        allow_async: whether a handler may be a coroutine function.
        logger: for methods that look like handlers and cannot be any.

    Raises:
        TypeError: a coroutine function, where that is not allowed.
    """

    def __init__(self, owner: object, *, allow_async: bool, logger: logging.Logger) -> None:
        self._owner = owner
        self._methods: dict[str, Handler] = {}
        for name in dir(type(owner)):
            if not name.startswith(_PREFIX) or name[len(_PREFIX) :] in RESERVED:
                continue
            if not callable(getattr(type(owner), name)):
                continue
            method = getattr(owner, name)
            try:
                check_handler(name, method, allow_async=allow_async)
            except ValueError as error:
                logger.warning("%s.%s is not a handler: %s", type(owner).__name__, name, error)
                continue
            self._methods[name[len(_PREFIX) :]] = method

    def find(self, event: str) -> Handler | None:
        """Return the handler of an event, or None. The peer chose the name: nothing but handlers can be found."""
        if event in RESERVED:
            return None
        found = vars(self._owner).get(_PREFIX + event)
        if found is None:
            return self._methods.get(event)
        return found if callable(found) else None


def check_handler(name: str, handler: Any, *, allow_async: bool) -> None:
    """Check what is to become a handler.

    Raises:
        TypeError: not callable, or a coroutine function where that is not allowed.
        ValueError: it cannot be called with one message.
    """
    if not callable(handler):
        raise TypeError(f"{name} must be a function, not {type(handler).__name__}")
    if not allow_async and inspect.iscoroutinefunction(handler):
        raise TypeError(f"{name} is a coroutine function: use AsyncIoTClient, or a plain function")
    if name[len(_PREFIX) :] in RESERVED:
        return
    try:
        signature = inspect.signature(handler)
    except ValueError:  # some builtins do not tell
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise ValueError(f"{name} must take one argument, the message: {error}") from None
