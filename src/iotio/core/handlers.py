"""The handlers of a device type: found and checked once, when the type is added."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from iotio_protocol import v1, v2
from iotio_protocol.endpoints import Endpoint
from iotio_protocol.errors import EncodeError
from iotio_protocol.options import DEFAULT_OPTIONS, Options
from iotio_protocol.values import Value

from .route import Route

__all__ = [
    "RESERVED",
    "HandlerSource",
    "Handlers",
    "default_callback",
    "does_nothing",
    "find_handlers",
    "reply_of",
    "takes",
    "with_reason",
]

Function = TypeVar("Function", bound=Callable[..., Any])

_DEFAULTS: set[Callable[..., Any]] = set()
_PREFIX = "on_"
_LIFE_CYCLE = ("on_connect", "on_disconnect")
RESERVED = frozenset({"connect", "disconnect", "event", "presence"})
"""Events that no method `on_<event>` takes, as it is called for something else."""

_MESSAGES = ("message", "msg", "data", "value", "payload")  # what no program calls the device
_EVENT = "(self, message, client)"
_WANTED = {
    "on_event": "(self, event, data, client)",
    "on_presence": "(self, client, old, new, reason)",
    "on_state": "(self, client, endpoint_id, old, new)",
}


def default_callback(function: Function) -> Function:
    """Mark a callback of a base class as one that does nothing, so that the server need not call it."""
    _DEFAULTS.add(function)
    return function


def does_nothing(function: Callable[..., Any]) -> bool:
    """Return whether a callback is one that no subclass has overridden: not worth a step."""
    return getattr(function, "__func__", None) in _DEFAULTS


def _routes(events: dict[str, Callable[..., Any]], options: Options) -> dict[int, dict[bytes, Route]]:
    short = {event: function for event, function in events.items() if len(event.encode()) <= options.max_event}
    return {
        version: {
            encode_head(kind, event): Route(event, function, kind, encode_head(v1.DataType.STRING, event))
            for event, function in short.items()
            for kind in kinds
        }
        for version, encode_head, kinds in ((1, v1.encode_head, v1.DataType), (2, v2.encode_head, range(v2.NULL + 1)))
    }


class HandlerSource(Protocol):
    """Describe an object with handlers, such as a `DeviceType`.

    What has no public name of its own may be an attribute of a program for iot.io 0.4.
    """

    _hold: frozenset[str]
    _max_age: float | None
    _confirm_timeout: float

    @property
    def on_connect(self) -> Callable[..., Any]: ...
    @property
    def on_disconnect(self) -> Callable[..., Any]: ...
    def options(self, general: Options) -> Options: ...


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers of a device type, found and checked when it is added; a device can reach no other attribute.

    Attributes:
        routes: the same handlers by the protocol version and the bytes that a packet for them begins with.
        options: limits and timings of devices of the type.
        events: event name to bound `on_<event>(message, client)`.
        fallback: `on_event(event, data, client)` for events without a handler, if the type has one.
        on_connect: called with the client.
        on_disconnect: called with the client and the reason; None if the type has none of its own.
        on_presence: called with the device, its presence before and now, and the reason, if the type has one.
        endpoints: those that the type lists for its devices, by id.
        on_state: called with the device, the id of an endpoint, and its state before and now, if the type has one.
        hold: ids of endpoints that are set again when the device has another value.
        max_age: seconds after which what an endpoint has reported is stale; None: never.
        confirm_timeout: seconds that a set is waited for.
        unhandled: events without a handler that the log has named; few, as devices choose the names.
    """

    routes: dict[int, dict[bytes, Route]]
    options: Options
    events: dict[str, Callable[..., Any]]
    fallback: Callable[..., Any] | None
    on_connect: Callable[..., Any]
    on_disconnect: Callable[..., Any] | None
    on_presence: Callable[..., Any] | None
    endpoints: dict[str, Endpoint]
    on_state: Callable[..., Any] | None
    hold: frozenset[str]
    max_age: float | None
    confirm_timeout: float
    unhandled: set[str] = field(default_factory=set)


def find_handlers(
    device: HandlerSource, options: Options = DEFAULT_OPTIONS, endpoints: dict[str, Endpoint] | None = None
) -> Handlers:
    """Find and check all handlers of a type.

    Args:
        device: the type.
        options: those of the manager.
        endpoints: those that the type lists, by id; None for none.

    Raises:
        ValueError: a timing of the type is wrong.
        TypeError: a method named `on_...` cannot be called the way handlers are, or takes the client where the message
            comes.
    """
    events: dict[str, Callable[..., Any]] = {}
    fallback = on_presence = on_state = None
    for name in dir(device):
        if not name.startswith(_PREFIX) or name in _LIFE_CYCLE:
            continue
        function = getattr(device, name)
        if not callable(function):
            continue
        if name == "on_event" and takes(function, 3):
            _check_order(device, name, function, _WANTED[name])
            fallback = function
        elif name == "on_presence" and takes(function, 4):
            on_presence = function
        elif name == "on_state" and takes(function, 4):
            on_state = function
        elif takes(function, 2):
            _check_order(device, name, function, _EVENT)
            events[name[len(_PREFIX) :]] = function
        else:
            raise TypeError(f"{type(device).__name__}.{name} must take {_WANTED.get(name, _EVENT)}")
    options = device.options(options)
    return Handlers(
        routes=_routes(events, options),
        options=options,
        events=events,
        fallback=fallback,
        on_connect=_connect_handler(device),
        on_disconnect=_disconnect_handler(device),
        on_presence=on_presence,
        endpoints=endpoints or {},
        on_state=on_state,
        hold=device._hold,
        max_age=device._max_age,
        confirm_timeout=device._confirm_timeout,
    )


def _check_order(device: HandlerSource, name: str, function: Callable[..., Any], wanted: str) -> None:
    """Raise TypeError for a handler whose first parameter is the client beyond doubt; names are the program's own."""
    try:
        first, second, *_ = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # it tells nothing, or takes `*args`
        return
    if not _is_client(second) and (_is_client(first) or (first.name == "client" and second.name in _MESSAGES)):
        raise TypeError(
            f"{type(device).__name__}.{name} takes the client first, where it gets what the device has sent:"
            f" write {name}{wanted}"
        )


def _is_client(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter is annotated with `IoTClient`; the annotation may be text."""
    annotation = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return name.rpartition(".")[2] == "IoTClient"


def _connect_handler(device: HandlerSource) -> Callable[..., Any]:
    if not takes(device.on_connect, 1):
        raise TypeError(f"{type(device).__name__}.on_connect must take (self, client)")
    return device.on_connect


def _disconnect_handler(device: HandlerSource) -> Callable[..., Any] | None:
    if does_nothing(device.on_disconnect):
        return None
    function = with_reason(device.on_disconnect)
    if function is None:
        raise TypeError(f"{type(device).__name__}.on_disconnect must take (self, client) or (self, client, reason)")
    return function


def with_reason(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return an `on_disconnect`, with or without a reason, as a callable of (client, reason); None if it is neither."""
    if takes(function, 2):
        return function
    if takes(function, 1):
        return lambda client, _reason: function(client)
    return None


def takes(function: Callable[..., Any], count: int) -> bool:
    """Return whether a function can be called with so many arguments by position."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some callables written in C tell nothing; let them try
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def reply_of(event: str, result: Any) -> tuple[str, Value] | None:
    """Find out what a handler's return value means.

    Returns:
        Event and value to send, or None for no reply.

    Raises:
        EncodeError: a tuple that is not (event, value).
    """
    if result is None:
        return None
    if isinstance(result, tuple):
        if len(result) != 2 or not isinstance(result[0], str):
            raise EncodeError("a handler that returns a tuple must return (event, value) with a str as event")
        event, result = result
        if result is None:
            return None
    return event, result
