"""What a device reports of its endpoints: checked, and the last of each kept for the next HELLO."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from iotio_protocol import strict_json as json

from .errors import InvalidEndpoint
from .identity import Identity

if TYPE_CHECKING:
    from iotio_protocol.endpoints import Endpoint

__all__ = ["MAX_STATE", "Reports"]

MAX_STATE = 16_384
"""Bytes of what HELLO says of the endpoints: it has 64 KiB in all. More is reported behind it."""


class Reports:
    """The last value of each endpoint of a device, as it has reported it. May be used from any thread.

    Args:
        identity: has the declarations of the endpoints.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._lock = threading.Lock()  # for what follows
        self._endpoints: dict[str, Endpoint] = {}
        self._last: dict[str, Any] = {}
        self._said: dict[str, Any] = {}  # what the server of this connection knows of it

    def take(self, values: Any, *, is_now: bool) -> dict[str, Any]:
        """Check what the program reports.

        Args:
            values: a mapping, endpoint id to value.
            is_now: whether these are the last values, and not those of an earlier time.

        Returns:
            The values as they travel.

        Raises:
            InvalidEndpoint: there is no such endpoint, or it does not take its value. Nothing is kept then.
        """
        if not isinstance(values, Mapping) or not values:
            raise InvalidEndpoint(f"report() takes values by endpoint id, as in {{'level': 5}}, not {values!r:.100}")
        found = {name: self._checked(name, value) for name, value in values.items()}
        if is_now:
            with self._lock:
                self._last.update(found)
        return found

    def note_set(self, event: str, value: Any, result: Any) -> None:
        """Note that a handler has taken a value of an endpoint: what it returns is in force, or what it got."""
        if event not in self._identity.endpoints:
            return
        if isinstance(result, tuple):
            result = result[1] if len(result) == 2 and result[0] == event else None
        endpoint = self._endpoint(event)
        found = None if result is None else endpoint.report(result)
        report = endpoint.report(value) if found is None else found
        if report is not None:
            with self._lock:
                self._last[event] = report.value

    def for_hello(self) -> dict[str, Any]:
        """Return what HELLO says of the endpoints; empty if nothing is known, or if it would be too large."""
        with self._lock:
            self._said = dict(self._last)
            if not self._said or len(json.encode(self._said)) > MAX_STATE:
                self._said = {}
            return dict(self._said)

    def forget_said(self) -> None:
        """Note that the server of the next connection has no HELLO to know anything by."""
        with self._lock:
            self._said = {}

    def unsaid(self) -> dict[str, Any]:
        """Return what the server is still to be told when a connection is open."""
        with self._lock:
            said = self._said
            return {name: value for name, value in self._last.items() if name not in said or said[name] != value}

    def _checked(self, name: Any, value: Any) -> Any:
        declared = self._identity.endpoints
        if name not in declared:
            from iotio_protocol.near_names import near_name  # only who is wrong needs it

            near = near_name(name, declared) if isinstance(name, str) else None
            hint = "declare it with client.sensor() or client.on()" if near is None else f"did you mean {near!r}?"
            raise InvalidEndpoint(f"{name!r:.100} is no endpoint of this device; {hint}")
        endpoint = self._endpoint(name)
        if endpoint.access == "write":
            raise InvalidEndpoint(f"endpoint {name!r} is declared with access 'write', so it reports nothing")
        report = endpoint.report(value)
        if report is None:
            raise InvalidEndpoint(f"endpoint {name!r} is of type {endpoint.type.value}, so it cannot be {value!r:.100}")
        return report.value

    def _endpoint(self, name: str) -> Endpoint:
        found = self._endpoints.get(name)
        if found is None:
            from iotio_protocol.endpoints import parse_endpoint  # here: who has declared one has loaded it

            found = self._endpoints[name] = parse_endpoint(self._identity.endpoints[name])
        return found
