"""Send one event over the given connections, one or many. Every emit that is not durable ends here: a hot path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iotio_protocol.errors import EncodeError

from .ports import Link

if TYPE_CHECKING:
    from .handles import IoTClient

__all__ = ["broadcast"]


def broadcast(
    audience: list[IoTClient], event: str, data: Any
) -> tuple[list[IoTClient], list[str], dict[str, str], EncodeError | None]:
    """Send an event to each client; the event is encoded once for each kind of wire.

    Args:
        audience: connections of devices, open or not.
        event: the event's name.
        data: its value.

    Returns:
        The clients that were sent the event; the ids of those whose connection is gone; by id, the reason why the
        event was dropped for other clients; the first error if the event could be encoded for none of them.
    """
    frames: dict[str, bytes | EncodeError] = {}
    sent: list[IoTClient] = []
    offline: list[str] = []
    dropped: dict[str, str] = {}
    wire = ""
    frame: bytes | EncodeError | None = None
    for client in audience:
        connection = client.socket
        if connection.session.wire != wire:
            wire = connection.session.wire
            frame = frames.get(wire)
            if frame is None:
                frame = frames[wire] = _try_encode(connection, event, data)
        if type(frame) is not bytes:
            dropped[client.id] = str(frame)
            continue
        problem = connection.send(frame)
        if not problem:
            sent.append(client)
        elif problem == "offline":
            offline.append(client.id)
        else:
            dropped[client.id] = problem
    errors = [frame for frame in frames.values() if isinstance(frame, EncodeError)]
    return sent, offline, dropped, errors[0] if errors and len(errors) == len(frames) else None


def _try_encode(connection: Link, event: str, data: Any) -> bytes | EncodeError:
    try:
        return connection.session.encode(event, data)
    except EncodeError as error:
        return error
