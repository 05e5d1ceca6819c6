"""Device types: classes whose `on_<event>` methods handle what devices send."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from iotio_protocol.endpoints import Endpoint
from iotio_protocol.options import Options
from iotio_protocol.values import Value

from .handlers import Handlers, default_callback, find_handlers, reply_of
from .ports import Operations

if TYPE_CHECKING:
    from .handles import IoTClient

__all__ = ["MAX_ENDPOINTS", "DeviceType", "DeviceTypes"]

MAX_ENDPOINTS = 400
"""Endpoints of a device, by default: as many declarations as the 64 KiB of an introduction have room for."""


class DeviceType:
    """A kind of device. Subclass it and write `on_<event>` methods.

    A handler takes `(self, message, client)` and may be `def` or `async def`. What it returns goes back to the
    device under the same event; a tuple `(event, value)` goes back under another one; None sends nothing.
    `on_presence(self, client, old, new, reason)` is called once for each real change of a device's presence
    (`Presence`; a `DisconnectReason` or `PresenceReason`), with the `DeviceHandle`, which is there when it is away,
    too. `on_state(self, client, endpoint_id, old, new)` is called in the same way for each change of an endpoint, with
    its `State` before and now.

    Devices that declare no endpoints, or fewer, have those that the class attribute `endpoints` lists:
    `endpoints = [FloatEndpoint("kwh", "Energy", unit="kWh", access="read", total=True)]`. Of one that a device declares
    under the same id, the device's own counts.

    Args:
        type_name: what devices of this kind call themselves at the handshake.
        ping_interval: seconds of silence after which the server sends a ping; 0 for never; None as in the
            manager's `Options`.
        ping_timeout: seconds that the device then has; None as in the manager's `Options`.
        grace: seconds that a device may be away before its presence changes; None as in the manager's `Options`.
        hold: ids of endpoints that are set again when a device has another value than the one that was set: after its
            restart, or because somebody has turned a knob. By default what the device reports is the truth.
        max_age: seconds after which what an endpoint has reported is stale; None: as long as the device is online it
            is not.
        confirm_timeout: seconds that `SetResult.wait` waits for an answer.

    Raises:
        ValueError: type_name is empty; max_age or confirm_timeout is no number above 0.
        TypeError: hold is a str.
    """

    # Here, for a subclass that has a `type` of its own and does not call this class's constructor.
    _context: Operations | None = None
    _ping_interval: float | None = None
    _ping_timeout: float | None = None
    _grace: float | None = None
    _hold: frozenset[str] = frozenset()
    _max_age: float | None = None
    _confirm_timeout: float = 5.0

    endpoints: Sequence[Endpoint] = ()

    def __init__(
        self,
        type_name: str,
        *,
        ping_interval: float | None = None,
        ping_timeout: float | None = None,
        grace: float | None = None,
        hold: Iterable[str] = (),
        max_age: float | None = None,
        confirm_timeout: float = 5.0,
    ) -> None:
        if type_name == "":
            raise ValueError(
                "type_name must not be empty: it is what devices of this type call themselves, like 'lamp'"
            )
        self._type = type_name
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._grace = grace
        if isinstance(hold, str):
            raise TypeError(f"hold is a list of endpoints: write hold=[{hold!r}]")
        self._hold = frozenset(hold)
        self._max_age = max_age
        self._confirm_timeout = confirm_timeout
        for name, seconds in (("max_age", max_age), ("confirm_timeout", confirm_timeout)):
            if seconds is not None and not 0 < seconds < inf:
                raise ValueError(f"{name} must be seconds above 0, not {seconds!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self, 'type', None)!r}>"

    @property
    def type(self) -> str:
        """The name that devices of this kind give at the handshake."""
        return self._type

    @property
    def context(self) -> Operations | None:
        """The manager that this type was added to, or None."""
        return self._context

    def set_context(self, context: Operations) -> None:
        """Set the manager that this type belongs to; `add_type` calls this."""
        self._context = context

    @default_callback
    def on_connect(self, client: IoTClient) -> Any:
        """Run when a device of this type has connected. Override it to do something then.

        Args:
            client: the device.
        """

    if TYPE_CHECKING:
        on_disconnect: Callable[..., Any]  # two signatures are right, which a method cannot say
    else:

        @default_callback
        def on_disconnect(self, client: IoTClient) -> Any:
            """Run when a device of this type is gone. Write `(self, client, reason)` to get the DisconnectReason."""

    def options(self, general: Options) -> Options:
        """Return the limits and timings of this type, given those of the manager. Raises ValueError for a wrong one."""
        if self._ping_interval is not None:
            general = replace(general, ping_interval=self._ping_interval)
        if self._ping_timeout is not None:
            general = replace(general, ping_timeout=self._ping_timeout)
        if self._grace is not None:
            general = replace(general, grace=self._grace)
        return general

    def call_event_handler(self, event: str, message: Value, client: IoTClient) -> tuple[str | None, Value]:
        """Call the handler of an event by hand, as iot.io 0.4 offers it; `def` handlers only.

        Returns:
            Event and value of the reply; (None, None) for no reply, or no such handler.
        """
        handler = find_handlers(self).events.get(event)
        if handler is None:
            return None, None
        return reply_of(event, handler(message, client)) or (None, None)


class DeviceTypes:
    """The device types of one server, by name.

    Args:
        options: the server's limits and timings; a type may have timings of its own.
        max_endpoints: endpoints that a device may have, those of its type among them.
    """

    def __init__(self, options: Options, max_endpoints: int = MAX_ENDPOINTS) -> None:
        self.max_endpoints = max_endpoints
        self._options = options
        self._types: dict[str, Handlers] = {}

    def add(self, device: DeviceType, context: Operations) -> None:
        """Add a type, or replace the one of its name; see `Manager.add_type`.

        Args:
            device: the type.
            context: the manager that it belongs to from now on.
        """
        _check(device)
        endpoints = _endpoints_of(device, self.max_endpoints)
        handlers = find_handlers(device, self._options, endpoints)
        device.set_context(context)
        self._types[device.type] = handlers

    def get(self, name: str) -> Handlers | None:
        """Return the handlers of a type, or None if it was never added."""
        return self._types.get(name)

    @property
    def names(self) -> list[str]:
        """The names of the types; a copy."""
        return list(self._types)

    @property
    def all_options(self) -> list[Options]:
        """The options of the server, followed by those of each device type."""
        return [self._options, *(handlers.options for handlers in self._types.values())]


_EXAMPLE = "FloatEndpoint('power', 'Power', unit='W', access='read')"


def _check(device: object) -> None:
    """Raise ValueError if an object cannot be added as a type. The errors begin with the words of iot.io 0.4.10."""
    if not isinstance(device, DeviceType):
        raise ValueError(f"device is not of type DeviceType{_instead_of(device)}")
    name = type(device).__name__
    if not hasattr(device, "type"):
        raise ValueError(f"{name} has no type name: its __init__ must call super().__init__(type_name)")
    if not isinstance(device.type, str):
        raise ValueError(f"device.type is not of type str, but {device.type!r}: write {name}('lamp')")
    if device.type.startswith("$"):
        raise ValueError(
            f"the type name {device.type!r} begins with '$', as only names of iotio's own do: choose another"
        )


def _endpoints_of(device: DeviceType, most: int) -> dict[str, Endpoint]:
    """Return the endpoints that a type lists, by id. Raises TypeError or ValueError if they are wrong."""
    endpoints: object = device.endpoints
    name = f"{type(device).__name__}.endpoints"
    if callable(endpoints):  # a method of that name, in a program for iot.io 0.4
        return {}
    if not isinstance(endpoints, (list, tuple)):
        raise TypeError(f"{name} must be a list of endpoints, such as {_EXAMPLE}, not {type(endpoints).__name__}")
    found: dict[str, Endpoint] = {}
    for endpoint in endpoints:
        if not isinstance(endpoint, Endpoint):
            raise TypeError(
                f"{name} holds {type(endpoint).__name__}, which is no endpoint: write {_EXAMPLE}, or"
                " parse_endpoint(...) of a declaration"
            )
        if endpoint.id in found:
            raise ValueError(f"{name} has two endpoints with the id {endpoint.id!r}: give one of them another")
        found[endpoint.id] = endpoint
    if len(found) > most:
        raise ValueError(f"{name} has {len(found)} endpoints; a device may have {most}")
    return found


def _instead_of(device: object) -> str:
    """Say what to write where a program has added something else."""
    if isinstance(device, type) and issubclass(device, DeviceType):
        name = device.__name__
        return f", but the class {name}: add an instance, with the name of the type: add_type({name}({name.lower()!r}))"
    if isinstance(device, str):
        return f", but a str: write add_type(DeviceType({device!r})), or use a class of your own derived from it"
    return f", but {type(device).__name__}: derive a class from DeviceType, and add an instance of it"
