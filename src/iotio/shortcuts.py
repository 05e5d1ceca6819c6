"""Functions for handlers and Flask views: emit, call and rooms, of the manager whose device or view runs here."""

from __future__ import annotations

from typing import Any, cast

import flask

from .core.calls import DEFAULT_TIMEOUT
from .core.handles import Addressees, IoTClient, current_client
from .core.ports import Operations
from .core.results import EmitResult

__all__ = ["EXTENSION", "call", "close_room", "emit", "join", "leave"]

EXTENSION = "iot.io"  # where a Flask application keeps its manager


def emit(
    event: str,
    data: Any = None,
    client_id: Addressees | None = None,
    client_type: str | None = None,
    room: str | None = None,
    trigger_update: bool = True,
    *,
    to: Addressees | None = None,
    broadcast: bool = False,
    durable: bool = False,
    ttl: float | None = None,
    coalesce: str | None = None,
    skip: Addressees | None = None,
) -> EmitResult:
    """Send an event: with a target as `IoTManager.emit`, without one to the device whose handler is running.

    Raises:
        ValueError: `skip` without a target.
        RuntimeError: no target outside of a device's handler; a target outside of handlers and Flask contexts.
    """
    if client_id is None and client_type is None and room is None and to is None and not broadcast:
        if skip is not None:
            raise ValueError(
                "'skip' needs client_type= or room=, or broadcast=True: without them the event goes to one device"
            )
        return _current("emit", "client_id=, client_type=, room=, to= or broadcast=").emit(
            event, data, trigger_update, durable=durable, ttl=ttl, coalesce=coalesce
        )
    return _manager("emit").emit(
        event,
        data,
        client_id,
        client_type,
        room,
        trigger_update,
        to=to,
        broadcast=broadcast,
        skip=skip,
        durable=durable,
        ttl=ttl,
        coalesce=coalesce,
    )


def call(event: str, data: Any = None, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
    """Call the device whose handler is running, and wait for what it returns. See `IoTClient.call`.

    Raises:
        CallError: there is no result.
        RuntimeError: outside of a device's handler, or in an `async def`: write `await client.acall(...)` there.
    """
    client = current_client.get(None)
    if client is None:
        raise RuntimeError("call() works in a device's handler only; elsewhere use call() of your IoTManager")
    return client.call(event, data, timeout=timeout)


def join(room: str, client: Addressees | None = None) -> bool:
    """Put devices into a room; by default the one whose handler is running. See `IoTManager.join`."""
    if client is None:
        return _current("join", "client=").join(room)
    return _manager("join").join(client, room)


def leave(room: str, client: Addressees | None = None) -> bool:
    """Take devices out of a room; by default the one whose handler is running. See `IoTManager.leave`."""
    if client is None:
        return _current("leave", "client=").leave(room)
    return _manager("leave").leave(client, room)


def close_room(room: str) -> int:
    """Take every device out of a room. See `IoTManager.close_room`."""
    return _manager("close_room").close_room(room)


def _current(function: str, argument: str) -> IoTClient:
    client = current_client.get(None)
    if client is None:
        raise RuntimeError(f"{function}() without {argument} works in a device's handler only")
    return client


def _manager(function: str) -> Operations:
    client = current_client.get(None)
    if client is not None:
        return client.manager
    if not flask.has_app_context():
        raise RuntimeError(
            f"{function}() works in a device's handler or inside of a Flask context;"
            f" elsewhere call it on your IoTManager"
        )
    manager = flask.current_app.extensions.get(EXTENSION)
    if manager is None:
        raise RuntimeError("the Flask application has no IoTManager: create IoTManager(app) first")
    return cast(Operations, manager)
