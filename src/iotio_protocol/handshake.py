"""What a device says of itself when it connects, and which protocol it speaks.

DESIGN: any `IoT-IO-*` request header means v1 with v1's errors. None means v2 if that subprotocol was agreed on, and
otherwise v0; these two say who they are in their first frame, which `session` and `v2_session` read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from . import strict_json as json
from . import v2
from .errors import ErrorCode, HandshakeError
from .options import DEFAULT_OPTIONS, Options
from .origins import Foreign, foreign
from .values import Value

__all__ = ["Hello", "Upgrade", "check_limits", "device_headers", "parse_headers", "size_of"]

_PREFIX = "iot-io-"
_PREFIX_SIZE = len(_PREFIX)
_BLANKS = " \t"  # around a value (RFC 9110, 5.5); to `strip` of itself, 0x85 and 0xA0 of latin-1 are blanks as well


@dataclass(slots=True)  # a frozen one takes four times as long to make, and each device has one
class Hello:
    """A device's own words at the handshake, syntax checked, nothing else.

    Attributes:
        id: the device id.
        type: the name of a device type, registered or not.
        data: any JSON value (v1), or the raw text (v0, as in iot.io 0.x).
        endpoints: the JSON value of the endpoint declarations, not yet checked.
        version: protocol version, 0 to 2.
        state: what its endpoints are, by id, in its own words; None if it does not say, as v0 and v1 cannot.
    """

    id: str
    type: str
    data: object
    endpoints: object
    version: int
    state: dict[str, Value] | None = None


class Upgrade(NamedTuple):
    """What the upgrade request tells of a device.

    Attributes:
        headers: as `device_headers` returns them; empty for a device that introduces itself later.
        foreign: why it is refused as that of a web page of another host, or None; see `iotio_protocol.origins`.
        offer: subprotocols of iotio that the device offered and that were not agreed on, or None.
    """

    headers: dict[str, str]
    foreign: Foreign | None
    offer: str | None

    @classmethod
    def of(cls, headers: Collection[tuple[str, str]], options: Options, subprotocol: str | None) -> Upgrade:
        """Read the request.

        Args:
            headers: names in any case, values decoded as latin-1.
            options: `allowed_origins` and `allowed_hosts` apply.
            subprotocol: what was agreed on, or None.
        """
        found = device_headers(headers)
        stranger = foreign(headers, options, by_program=bool(found))  # no page can send the headers of a v1 device
        return cls(found, stranger, None if found or subprotocol else _offer(headers))

    def not_agreed(self) -> dict[str, object]:
        """Return what a device is told whose subprotocol was not agreed on."""
        offer = self.offer or ""
        known = v2.SUBPROTOCOL in [name.strip(_BLANKS) for name in offer.split(",")]
        return {"asked": offer[:40], **({"agreed": None} if known else {"spoken": v2.SUBPROTOCOL})}


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
        if lower[:_PREFIX_SIZE] == _PREFIX:
            value = value.strip(_BLANKS)
            found[lower[_PREFIX_SIZE:]] = value if value.isascii() else _text(value)
    return found


def check_limits(client_id: str, client_type: str, data_size: int, options: Options) -> None:
    """Check the sizes of what a device says of itself, whatever its version.

    Args:
        client_id: its id.
        client_type: its type.
        data_size: bytes of its data as it is sent.
        options: `max_id` and `max_data` apply.

    Raises:
        HandshakeError: with the code of what is too large; its info names the limit.
    """
    _check_limit(ErrorCode.CLIENT_NO_ID, "max_id", size_of(client_id), options)
    _check_limit(ErrorCode.CLIENT_INVALID_TYPE, "max_id", size_of(client_type), options)
    _check_limit(ErrorCode.CLIENT_INVALID_DATA, "max_data", data_size, options)


def size_of(text: str) -> int:
    """Return how many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def parse_headers(headers: dict[str, str], options: Options = DEFAULT_OPTIONS) -> Hello:
    """Read the handshake of a v1 device, in the order of checks of iot.io 0.4.10.

    Whether the type is known and the endpoint declarations are right, the caller checks after this.

    Args:
        headers: as `device_headers` returns them.
        options: the limits of an introduction apply; what is too large is not parsed.

    Raises:
        HandshakeError: with the code of the first check that fails.
    """
    size = size_of("".join(headers.values()))
    _check_limit(ErrorCode.CLIENT_INVALID_DATA, "max_introduction", size, options)
    client_id = headers.get("id")
    if not client_id:  # the original let an empty id in; nobody could address such a device
        raise HandshakeError(ErrorCode.CLIENT_NO_ID)
    client_type = headers.get("type")
    if client_type is None:
        raise HandshakeError(ErrorCode.CLIENT_NO_TYPE)
    version = headers.get("protocolversion")
    if version is None:
        raise HandshakeError(ErrorCode.CLIENT_NO_PROTOCOL_VERSION)
    if size > options.max_id or size > options.max_data:  # else none of them is larger: the usual introduction
        check_limits(client_id, client_type, size_of(headers.get("data", "")), options)
    try:
        data = json.loads(headers["data"]) if "data" in headers else {}
    except ValueError:
        raise HandshakeError(ErrorCode.CLIENT_INVALID_DATA) from None
    try:
        endpoints = json.loads(headers["endpoints"]) if "endpoints" in headers else []
    except ValueError:
        info: dict[str, object] = {"endpointId": "", "endpointProblem": "invalid_json"}
        raise HandshakeError(ErrorCode.CLIENT_INVALID_ENDPOINTS, info) from None
    if version != "1":
        raise HandshakeError(ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION)
    return Hello(client_id, client_type, data, endpoints, 1)


def _check_limit(code: ErrorCode, limit: str, size: int, options: Options) -> None:
    most = getattr(options, limit)
    if size > most:
        raise HandshakeError(code, {"limit": limit, "most": most, "size": size})


def _offer(headers: Iterable[tuple[str, str]]) -> str | None:
    """Return the header by which a device offers subprotocols of iotio, or None."""
    for name, value in headers:
        if name.lower() == "sec-websocket-protocol" and "iotio." in value:
            return value
    return None


def _text(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
