"""What a device says of itself when it connects, and which protocol it speaks.

DESIGN: any `IoT-IO-*` request header means v1 with v1's errors; none means v0, which sends its
handshake as the first text frame.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from . import strict_json as json
from .errors import ErrorCode, HandshakeError

__all__ = ["Hello", "device_headers", "foreign_origin", "parse_headers"]

_PREFIX = "iot-io-"


@dataclass(frozen=True, slots=True)
class Hello:
    """A device's own words at the handshake, syntax checked, nothing else.

    Attributes:
        id: the device id.
        type: the name of a device type, registered or not.
        data: any JSON value (v1), or the raw text (v0, as in iot.io 0.x).
        endpoints: the JSON value of the endpoint declarations, not yet checked.
        version: protocol version, 0 or 1.
    """

    id: str
    type: str
    data: object
    endpoints: object
    version: int


def device_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the `IoT-IO-*` headers of an upgrade request.

    Args:
        headers: names in any case (RFC 9110, 5.1), values decoded as latin-1, the way HTTP servers give them.

    Returns:
        Lower-case names without the prefix; of a repeated header the last value, as in iot.io 0.4. Values are
        read as UTF-8 where they are, for ids such as "küche", and else stay latin-1. Empty: a v0 device.
    """
    found = {}
    for name, value in headers:
        lower = name.lower()
        if lower.startswith(_PREFIX):
            found[lower[len(_PREFIX) :]] = _text(value).strip()
    return found


def foreign_origin(headers: Iterable[tuple[str, str]], allowed: Collection[str]) -> str | None:
    """Return the origin of an upgrade request that comes from a web page of another host (RFC 6455, 10.2).

    Args:
        headers: names in any case.
        allowed: origins that may connect all the same; "*" for all.

    Returns:
        The origin, or None: the request may pass. Programs send no origin, or that of the server itself.
    """
    found = {name.lower(): value.strip() for name, value in headers if name.lower() in ("origin", "host")}
    origin = found.get("origin")
    if not origin or "*" in allowed or origin in allowed:
        return None
    scheme, _, host = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme, "")
    own = found.get("host", "").lower()
    return None if own and own.removesuffix(default) == host.removesuffix(default) else origin


def parse_headers(headers: dict[str, str]) -> Hello:
    """Read the handshake of a v1 device, in the order of checks of iot.io 0.4.10.

    Whether the type is known and the endpoint declarations are right, the caller checks after this.

    Args:
        headers: as `device_headers` returns them.

    Raises:
        HandshakeError: with the code of the first check that fails.
    """
    client_id = headers.get("id")
    if not client_id:  # the original let an empty id in; nobody could address such a device
        raise HandshakeError(ErrorCode.CLIENT_NO_ID)
    client_type = headers.get("type")
    if client_type is None:
        raise HandshakeError(ErrorCode.CLIENT_NO_TYPE)
    version = headers.get("protocolversion")
    if version is None:
        raise HandshakeError(ErrorCode.CLIENT_NO_PROTOCOL_VERSION)
    try:
        data = json.loads(headers.get("data", "{}"))
    except ValueError:
        raise HandshakeError(ErrorCode.CLIENT_INVALID_DATA) from None
    try:
        endpoints = json.loads(headers.get("endpoints", "[]"))
    except ValueError:
        info: dict[str, object] = {"endpointId": "", "endpointProblem": "invalid_json"}
        raise HandshakeError(ErrorCode.CLIENT_INVALID_ENDPOINTS, info) from None
    if version != "1":
        raise HandshakeError(ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION)
    return Hello(client_id, client_type, data, endpoints, 1)


def _text(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
