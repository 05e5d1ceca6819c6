"""Name the types of ASGI, and tell an ASGI application from other things."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias, TypeGuard

__all__ = ["ASGIApp", "AsgiScope", "Event", "Receive", "Send", "is_asgi", "what_it_is"]

AsgiScope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[AsgiScope, Receive, Send], Awaitable[None]]


def is_asgi(app: object) -> TypeGuard[ASGIApp]:
    """Return whether an object is an `async def` of three parameters, or is called like one."""
    return not inspect.isclass(app) and callable(app) and _is_async(app) and _takes(app, 3)


def what_it_is(app: object) -> str:
    """Describe an object that is no ASGI application, for an error message."""
    if inspect.isclass(app):
        return f"the class {app.__name__}: call it first"
    if not callable(app):
        return f"of type {type(app).__name__}"
    if not _is_async(app) and _takes(app, 2):
        return "a WSGI application: a framework other than Flask, or app.wsgi_app in the place of app"
    return "a callable, but no async def with three parameters"


def _is_async(app: object) -> bool:
    method = getattr(app, "__call__", None)  # noqa: B004  # what it is, not whether it is there
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(method)


def _takes(app: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(app).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True
