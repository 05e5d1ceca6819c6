"""Write HELLO and read WELCOME of protocol v2, for a device."""

from __future__ import annotations

from typing import Any, NamedTuple

from iotio_protocol import v2
from iotio_protocol.errors import EncodeError, InvalidPacket
from iotio_protocol.options import DEFAULT_OPTIONS, MAX_SECONDS
from iotio_protocol.stream import MAX_UNACKNOWLEDGED, Incoming
from iotio_protocol.version import __version__

from .identity import Identity

__all__ = ["NO_WELCOME", "Welcome", "hello", "read_welcome"]

_LIBRARY = f"iotio_client {__version__}"


class Welcome(NamedTuple):
    """What the server said.

    Attributes:
        server: its name and version.
        time: its clock in milliseconds since 1970 (UTC); None if it did not tell.
        sends: the name of its stream of durable messages, or None.
        heard: which stream of this device it knows, and how far it has handled that.
        max_event: bytes of an event that it takes.
        max_payload: bytes of a value that it takes.
        max_unacknowledged: durable messages that may be on their way to it.
        ping_interval: seconds of silence after which each side sends a ping; 0: the server sends none.
        ping_timeout: seconds that the other side then has.
    """

    server: str = ""
    time: int | None = None
    sends: str | None = None
    heard: tuple[str | None, int] = (None, 0)
    max_event: int = 0xFFFF
    max_payload: int = 0xFFFFFFFF
    max_unacknowledged: int = MAX_UNACKNOWLEDGED
    ping_interval: float = DEFAULT_OPTIONS.ping_interval
    ping_timeout: float = DEFAULT_OPTIONS.ping_timeout


NO_WELCOME = Welcome()
"""Before there is any."""


def hello(
    identity: Identity,
    *,
    sends: str | None,
    heard: Incoming,
    takes: v2.Takes | None = None,
    state: dict[str, Any] | None = None,
) -> bytes:
    """Encode HELLO, the first packet of a device. What is empty is left out.

    Args:
        identity: who it is.
        sends: the name of its own stream of durable messages, if it has one.
        heard: what it has handled of the server's.
        takes: how much it takes; None: it does not say.
        state: the last values of its endpoints.

    Raises:
        EncodeError: data or endpoints are not JSON.
    """
    fields: dict[str, object] = {"id": identity.id, "type": identity.type}
    if identity.data:
        fields["data"] = identity.data
    if identity.endpoints:
        fields["endpoints"] = list(identity.endpoints.values())
    if state:
        fields["state"] = state
    fields["library"] = _LIBRARY
    if takes is not None:
        fields |= takes._asdict()
    if sends is not None:
        fields["sends"] = sends
    if heard.stream is not None:
        fields["heard"] = {"stream": heard.stream, "upto": heard.last}
    try:
        return v2.encode_json(v2.HELLO, fields)
    except EncodeError as error:
        raise EncodeError(f"client_data and the endpoint declarations must be JSON: {error}") from None


def read_welcome(fields: dict[str, object]) -> Welcome:
    """Read WELCOME; what is missing has its default.

    Raises:
        InvalidPacket: a field that the specification does not allow.
    """
    server, now = fields.get("server"), _number(fields, "time")
    if now is not None and not 0 <= now <= v2.MAX_TIME:
        raise InvalidPacket(f"the field 'time' must be milliseconds since 1970, at most {v2.MAX_TIME}")
    stream, upto = v2.read_heard(fields.get("heard"))
    if upto > v2.MAX_HEARD:  # it would leave this device no numbers for its messages
        raise InvalidPacket(f"'upto' must be at most {v2.MAX_HEARD}: no stream has come so far")
    return Welcome(
        server if isinstance(server, str) else "",
        now,
        v2.read_stream(fields.get("sends")),
        (stream, upto),
        _limit(fields, "max_event", NO_WELCOME.max_event),
        _limit(fields, "max_payload", NO_WELCOME.max_payload),
        _limit(fields, "max_unacknowledged", NO_WELCOME.max_unacknowledged),
        _seconds(fields, "ping_interval", NO_WELCOME.ping_interval),
        _seconds(fields, "ping_timeout", NO_WELCOME.ping_timeout),
    )


def _number(fields: dict[str, object], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and type(value) is not int:
        raise InvalidPacket(f"the field {name!r} must be a number without a fraction")
    return value


def _seconds(fields: dict[str, object], name: str, default: float) -> float:
    value = fields.get(name)
    if value is None:
        return default
    if type(value) is not int and type(value) is not float:
        raise InvalidPacket(f"the field {name!r} must be a number")
    if not 0 <= value <= MAX_SECONDS:
        raise InvalidPacket(f"the field {name!r} must be seconds, 0 or more and at most {MAX_SECONDS:.0f}")
    return value


def _limit(fields: dict[str, object], name: str, most: int) -> int:
    """Return a limit of the server, at most what can be sent in any case."""
    value = _number(fields, name)
    if value is None:
        return most
    if value < 1:
        raise InvalidPacket(f"the field {name!r} must be 1 or more")
    if value > v2.MAX_NUMBER:
        raise InvalidPacket(f"the field {name!r} must be at most {v2.MAX_NUMBER}")
    return min(value, most)
