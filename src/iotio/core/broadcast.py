"""Send one event over the given connections, one or many. Every emit that is not durable ends here: a hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iotio_protocol.errors import EncodeError, InvalidData, TooLarge

from .endpoint_check import Checks
from .ports import Link

if TYPE_CHECKING:
    from iotio_protocol.endpoints import Endpoint

    from .handles import IoTClient

__all__ = ["broadcast"]


def broadcast(
    audience: list[IoTClient], event: str, data: Any
) -> tuple[list[IoTClient], list[str], dict[str, str], EncodeError | None, dict[str, Any]]:
    """Send an event to each client; the event is encoded once for each kind of wire.

    Clients that have declared an endpoint of the event's name are sent what the endpoint makes of the value.

    Args:
        audience: connections of devices, open or not.
        event: the event's name.
        data: its value.

    Returns:
        The clients that were sent the event; the ids of those whose connection is gone; by id, the reason why the
        event was dropped for other clients; the first error if the event could be encoded for none of them, unless
        it was only too large; by id, the value for clients with such an endpoint.
    """
    frames: dict[str, bytes | EncodeError] = {}
    checked: _Checked | None = None  # made with the first endpoint
    sent: list[IoTClient] = []
    offline: list[str] = []
    dropped: dict[str, str] = {}
    wire = ""
    frame: bytes | EncodeError | None = None
    outcome: bytes | EncodeError | InvalidData | None
    for client in audience:
        connection = client.socket
        declared = client.declared
        if declared and event in declared:
            if checked is None:
                checked = _Checked(event, data)
            outcome = checked.frame(client, declared[event])
        else:
            if connection.session.wire != wire:
                wire = connection.session.wire
                frame = frames.get(wire)
                if frame is None:
                    frame = frames[wire] = _try_encode(connection, event, data)
            outcome = frame
        if type(outcome) is not bytes:
            dropped[client.id] = TooLarge.reason if isinstance(outcome, TooLarge) else str(outcome)
            continue
        problem = connection.send(outcome)
        if not problem:
            sent.append(client)
        elif problem == "offline":
            offline.append(client.id)
        else:
            dropped[client.id] = problem
    outcomes = [*frames.values(), *(() if checked is None else checked.outcomes.values())]
    errors = [one for one in outcomes if isinstance(one, EncodeError) and not isinstance(one, TooLarge)]
    error = errors[0] if errors and len(errors) == len(outcomes) else None
    return sent, offline, dropped, error, {} if checked is None else checked.values


class _Checked:
    """The frames of one event for devices that have declared an endpoint of its name.

    Attributes:
        outcomes: frame or error by declaration and kind of wire.
        values: by the id of the device, what it is sent.
    """

    def __init__(self, event: str, data: Any) -> None:
        self._event = event
        self._checks = Checks(data)
        self.outcomes: dict[tuple[Endpoint, str], bytes | EncodeError | InvalidData] = {}
        self.values: dict[str, Any] = {}

    def frame(self, client: IoTClient, endpoint: Endpoint) -> bytes | EncodeError | InvalidData:
        """Return the frame for a client, or why there is none."""
        connection = client.socket
        key = endpoint, connection.session.wire
        outcome = self.outcomes.get(key)
        try:
            value = self._checks.of(endpoint)
        except InvalidData as error:
            outcome = self.outcomes[key] = error
            return outcome
        if outcome is None:
            outcome = self.outcomes[key] = _try_encode(connection, self._event, client.as_sent(self._event, value))
        self.values[client.id] = value
        return outcome


def _try_encode(connection: Link, event: str, data: Any) -> bytes | EncodeError:
    try:
        return connection.session.encode(event, data)
    except EncodeError as error:
        return error
