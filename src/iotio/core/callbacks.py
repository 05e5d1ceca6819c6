"""The callbacks of a whole server: `on_connect` and the others, which a program overrides or sets with `event`."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, Protocol

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import get_logger
from iotio_protocol.near_names import near_name
from iotio_protocol.reasons import DisconnectReason

from .handlers import does_nothing, takes, with_reason
from .handles import IoTClient
from .primitives import allocate_lock

__all__ = ["CallbackSource", "Callbacks"]

logger = get_logger("iotio.manager")

_IN_THE_SENDER = ("on_update", "on_get_offline_validator")
_PARAMETERS = {
    "on_connect": "(client)",
    "on_disconnect": "(client) or (client, reason)",
    "on_presence": "(client, old, new, reason)",
    "on_state": "(device, endpoint_id, old, new)",
    "on_update": "(client_id, event, data)",
    "on_get_offline_validator": "(client_id, endpoint_id)",
    "on_start": "no parameter",
    "on_stop": "no parameter",
}
_OF_THE_SERVER = ("on_start", "on_stop")


class CallbackSource(Protocol):
    """The object whose attributes the callbacks are: a manager, or one of a class derived from it."""

    @property
    def on_disconnect(self) -> Callable[..., Any]: ...
    @property
    def on_presence(self) -> Callable[..., Any]: ...
    @property
    def on_state(self) -> Callable[..., Any]: ...
    @property
    def on_update(self) -> Callable[..., Any]: ...


class Callbacks:
    """Check the callbacks of a source, and call those that the program has given.

    Args:
        source: looked at for each call, as a program may assign its attributes at any time.

    Attributes:
        throttle: bounds the log lines about what they raise.

    Raises:
        TypeError: one of them cannot be called the way callbacks are.
    """

    def __init__(self, source: CallbackSource) -> None:
        self._source = source
        self.throttle = LogThrottle(time.monotonic, allocate_lock(), logger)
        for name in _PARAMETERS:
            function = getattr(source, name, None)
            if name in _OF_THE_SERVER and function is not None and not takes(function, 0):
                logger.warning("%s takes parameters, and so is not called by the server: give it another name", name)
            else:
                _check(name, function)
        self._disconnect = (source.on_disconnect, _checked_disconnect(source.on_disconnect))

    def set(self, function: Callable[..., Any]) -> bool:
        """Set the callback that a function is named after.

        Returns:
            Whether there is a callback of that name; if not, a warning is logged.

        Raises:
            TypeError: no function, an `async def` where only a `def` can run, or one that cannot be called the way
                its callback is.
        """
        if not callable(function):
            raise TypeError(
                f"write @manager.event, without {function!r}, above a function that has the callback's name"
            )
        name = function.__name__
        if name not in _PARAMETERS:
            near = near_name(name, _PARAMETERS)
            meant = ";" if near is None else f"; did you mean {near}?"
            logger.warning("%r is no event of the manager%s there are: %s", name, meant, ", ".join(_PARAMETERS))
            return False
        _check(name, function)
        if name in _IN_THE_SENDER and inspect.iscoroutinefunction(function):
            raise TypeError(f"{name} must be a def: it runs in the thread that sends")
        setattr(self._source, name, function)
        return True

    @property
    def disconnect_handler(self) -> Callable[..., Any] | None:
        """The program's `on_disconnect`, as a function of client and reason; None if it has none of its own."""
        return None if does_nothing(self._source.on_disconnect) else self._call_disconnect

    @property
    def presence_handler(self) -> Callable[..., Any] | None:
        """The program's `on_presence`, or None."""
        function = self._source.on_presence
        return None if does_nothing(function) else function

    @property
    def state_handler(self) -> Callable[..., Any] | None:
        """The program's `on_state`, or None."""
        function = self._source.on_state
        return None if does_nothing(function) else function

    @property
    def start_handler(self) -> Callable[[], Any] | None:
        """The program's `on_start`, or None."""
        return self._of_the_server("on_start")

    @property
    def stop_handler(self) -> Callable[[], Any] | None:
        """The program's `on_stop`, or None."""
        return self._of_the_server("on_stop")

    def _of_the_server(self, name: str) -> Callable[[], Any] | None:
        function: Callable[[], Any] = getattr(self._source, name)
        return None if does_nothing(function) or not takes(function, 0) else function

    @property
    def tells_updates(self) -> bool:
        """Whether the program has an `on_update` of its own. A hot path asks once a turn."""
        return not does_nothing(self._source.on_update)

    def notify_update(self, client_id: str, event: str, data: Any) -> None:
        """Call `on_update` for an event that was sent; log what it raises: devices choose how often."""
        try:
            self._source.on_update(client_id, event, data)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # the last two would end a loop
            self.throttle.error(error, "update", "Error when calling on_update handler: '%s'", error)

    def _call_disconnect(self, client: IoTClient, reason: DisconnectReason) -> Any:
        function = self._source.on_disconnect
        if function != self._disconnect[0]:  # it was set anew
            self._disconnect = (function, _checked_disconnect(function))
        return self._disconnect[1](client, reason)


def _checked_disconnect(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an `on_disconnect` as a function of client and reason. Raises TypeError."""
    found = with_reason(function)
    if found is None:
        raise _cannot_be_called("on_disconnect")
    return found


def _check(name: str, function: Callable[..., Any] | None) -> None:
    """Raise TypeError if a function cannot be called as the callback of a name; None is no function."""
    if function is None:
        return
    if name == "on_disconnect":
        _checked_disconnect(function)
    elif not takes(function, 0 if name in _OF_THE_SERVER else _PARAMETERS[name].count(",") + 1):
        raise _cannot_be_called(name)


def _cannot_be_called(name: str) -> TypeError:
    return TypeError(f"the manager's {name} must take {_PARAMETERS[name]}")
