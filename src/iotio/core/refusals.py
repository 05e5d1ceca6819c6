"""Why a device was refused, for the log: what it said it was, what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from iotio_protocol.endpoints import EndpointParseResponse
from iotio_protocol.errors import ErrorCode, HandshakeError
from iotio_protocol.near_names import near_name
from iotio_protocol.origins import Foreign

__all__ = ["ForeignPage", "Refusal"]


class ForeignPage(HandshakeError):
    """Refuse a web page.

    Attributes:
        foreign: why.
    """

    def __init__(self, foreign: Foreign) -> None:
        super().__init__(ErrorCode.ORIGIN_NOT_ALLOWED, foreign.info)
        self.foreign = foreign


class Refusal:
    """A refusal, whose text is made when a line of the log is written: of a flood few are.

    Args:
        error: the reason.
        named: the id and the type that the device gave itself, as far as it did.
        types: the names of the device types.
    """

    __slots__ = ("_error", "_named", "_types")

    def __init__(self, error: HandshakeError, named: tuple[str | None, str | None], types: Sequence[str]) -> None:
        self._error = error
        self._named = named
        self._types = types

    def __str__(self) -> str:
        return f"{self._error}{self._who()}. {self._cure()}"

    def _who(self) -> str:
        name, kind = self._named
        if name is None and kind is None:
            return ""
        return f"; it calls itself {name or ''!r} of type {kind or ''!r}"

    def _cure(self) -> str:
        error = self._error
        if isinstance(error, ForeignPage):
            return error.foreign.advice
        info = error.info or {}
        limit = str(info.get("limit", ""))
        if error.code is ErrorCode.SERVER_BUSY:
            return _CURES.get(limit, f"Options({limit}=...) lets more in; it will try again")
        if limit:
            return f"Options({limit}=...) allows more; or have the device say less of itself"
        if error.code is ErrorCode.CLIENT_INVALID_TYPE:
            near = near_name(self._named[1] or "", self._types)
            meant = "" if near is None else f"{near!r} exists; did you mean that? "
            return f"{meant}Add the type by manager.add_type(), or change client_type on the device"
        if info.get("endpointProblem") == EndpointParseResponse.TOO_MANY_ENDPOINTS.value:
            return _TOO_MANY_ENDPOINTS
        if error.code is ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION and "agreed" in info:
            return _NOT_AGREED
        return _CURES[error.code]


_TOO_MANY_ENDPOINTS = "Have the device declare fewer endpoints, or its DeviceType list fewer"
_NOT_AGREED = (
    "The WSGI server has not agreed on the subprotocol. gevent-websocket asks the application that it was given: where"
    " that wraps the Flask application, give it the same attribute app_protocol"
)
_CURES: dict[str, str] = {
    "on_presence": "Changes of presence are told too slowly: have on_presence do less, or nothing that waits",
    ErrorCode.CLIENT_NO_ID: "Give the device an id",
    ErrorCode.CLIENT_NO_TYPE: "Give the device a type",
    ErrorCode.CLIENT_INVALID_DATA: "Its client_data is not JSON: change it on the device",
    ErrorCode.CLIENT_INVALID_ENDPOINTS: "Change this EndpointInfo on the device",
    ErrorCode.CLIENT_NO_PROTOCOL_VERSION: (
        "The header IoT-IO-ProtocolVersion is missing: have the device send it, and see that no proxy drops it"
    ),
    ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION: "Install a newer iotio on the device, or on this server",
    ErrorCode.CLIENT_INVALID_PACKET: "It does not say who it is as the protocol wants it: update its program",
}
