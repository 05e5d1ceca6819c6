"""Decide which devices come in, and tell a device that does not why.

A device is checked twice: when its upgrade is done, and when it has introduced itself (which v1 does in the upgrade).
Each check raises a HandshakeError to refuse; the first one that does decides. A check of who a device is belongs into
`Gate.introduce`, before the device is accepted: it can take over no id before that. Checks must not wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from sys import intern
from typing import Any, Protocol

from iotio_protocol.endpoints import EndpointParseResponse
from iotio_protocol.errors import ErrorCode, HandshakeError
from iotio_protocol.handshake import Hello, Upgrade, parse_headers
from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.origins import Foreign
from iotio_protocol.reasons import DisconnectReason

from .connection import Connection
from .connections import Connections, Phase
from .device_type import DeviceTypes
from .handles import IoTClient
from .pending import PendingSockets, address_of
from .ports import Operations
from .presence import PresenceMonitor
from .refusals import ForeignPage, Refusal
from .registry import Registry

__all__ = ["Gate"]


class Server(Operations, Protocol):
    """What the gate needs of the server; the handles of devices get it, too."""

    client_logging_level: int
    encoder: Any

    @property
    def connections(self) -> Connections: ...
    @property
    def presence(self) -> PresenceMonitor: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def types(self) -> DeviceTypes: ...
    @property
    def log_throttle(self) -> LogThrottle: ...


_UNNAMED = (None, None)
# To look up a member of an Enum takes its time.
_SERVING, _VALID = Phase.SERVING, EndpointParseResponse.VALID


class Gate:
    """Let connections of one server in, or refuse them. See the module.

    Args:
        server: whose connections come.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        # Of the server, what each device that connects goes through: to look it up takes its time.
        self._connections, self._registry = server.connections, server.registry
        self._types, self._presence = server.types, server.presence
        self._upgrade_checks: tuple[Callable[[Upgrade], None], ...] = (_check_origin, _check_version)

    def open(self, connection: Connection, upgrade: Upgrade) -> None:
        """Take a connection whose upgrade is done. A device that introduces itself later is then waited for.

        Args:
            connection: the new one.
            upgrade: what the request tells of the device.
        """
        connections = self._connections
        phase = connections.phase
        if phase is not _SERVING:
            if phase is Phase.HELD:
                connections.hold_back(connection)
            connection.close(DisconnectReason.SERVER_SHUTDOWN)
            return
        try:
            for check in self._upgrade_checks:
                check(upgrade)
            session = connection.session
            hello = parse_headers(upgrade.headers, session.options) if session.version == 1 else None
            connections.admission.begin()
            if hello is None:
                _give_place(connections.pending, connection)
        except HandshakeError as error:
            headers = upgrade.headers
            self.refuse(connection, error, (headers.get("id"), headers.get("type")))
        else:
            if hello is not None:
                self.introduce(connection, hello)

    def introduce(self, connection: Connection, hello: Hello) -> None:
        """Let a device in that has said who it is, if there is room for it, and its type and endpoints are right.

        Args:
            connection: the device's.
            hello: what it said.
        """
        server = self._server
        self._connections.pending.leave(connection)
        admission = self._connections.admission
        try:
            returns = admission.is_limited and self._registry.get(hello.id) is not None
            admission.enter(connection.peer, returns=returns)
            connection.admitted = True
            handlers = self._types.get(hello.type)
            if handlers is None:
                raise HandshakeError(ErrorCode.CLIENT_INVALID_TYPE)
            kind = intern(hello.type)  # all devices share it
            client = IoTClient(
                connection, hello.id, kind, hello.data, server, server.client_logging_level, server.encoder
            )
            _check_endpoints(client, hello)
            if handlers.endpoints:
                client.inherit(handlers.endpoints)
            if client.declared and len(client.declared) > self._types.max_endpoints:
                raise _too_many(len(client.declared), self._types.max_endpoints)
            self._presence.admit(client)
        except HandshakeError as error:
            self.refuse(connection, error, (hello.id, hello.type))
        else:
            connection.accept(client, handlers)

    def turn_away(self, foreign: Foreign, peer: str) -> None:
        """Count and log a web page whose request its host refuses, before there is a connection.

        Args:
            foreign: why.
            peer: the other end's address.
        """
        self._note(ForeignPage(foreign), peer, _UNNAMED)

    def refuse(
        self, connection: Connection, error: HandshakeError, named: tuple[str | None, str | None] = _UNNAMED
    ) -> None:
        """Refuse a device: count and log it, and tell the device.

        Its CLOSE frame is held back, unless too many are: a device that is refused comes back at once.

        Args:
            connection: the device's.
            error: the reason.
            named: the id and the type that it gave itself, for the log.
        """
        self._connections.pending.leave(connection)
        hold = self._connections.hold_back(connection)
        self._note(error, connection.peer, named)
        connection.refuse(error, hold=hold)

    def _note(self, error: HandshakeError, peer: str, named: tuple[str | None, str | None]) -> None:
        server, code = self._server, error.code
        self._connections.count_refusal(code)
        refusal = Refusal(error, named, server.types.names)
        server.log_throttle.warning(code.value, "device at %s refused: %s", peer or "?", refusal)


def _give_place(pending: PendingSockets, connection: Connection) -> None:
    """Give a device a place until it has said who it is."""
    drop = partial(connection.close, DisconnectReason.HANDSHAKE_TIMEOUT)
    if not pending.enter(connection, address_of(connection.peer), drop):
        raise HandshakeError(ErrorCode.SERVER_BUSY, {"limit": "max_pending", "most": pending.most})


def _check_origin(upgrade: Upgrade) -> None:
    if upgrade.foreign is not None:
        raise ForeignPage(upgrade.foreign)


def _check_version(upgrade: Upgrade) -> None:
    if upgrade.offer is not None:
        raise HandshakeError(ErrorCode.CLIENT_INCOMPATIBLE_PROTOCOL_VERSION, upgrade.not_agreed())


def _check_endpoints(client: IoTClient, hello: Hello) -> None:
    endpoint_id, problem = client.parse_endpoints(hello.endpoints)
    if problem is not _VALID:
        info = {"endpointId": endpoint_id, "endpointProblem": problem.value}
        raise HandshakeError(ErrorCode.CLIENT_INVALID_ENDPOINTS, info)


def _too_many(count: int, most: int) -> HandshakeError:
    problem = EndpointParseResponse.TOO_MANY_ENDPOINTS.value
    info = {"endpointId": "", "endpointProblem": problem, "most": most, "size": count}
    return HandshakeError(ErrorCode.CLIENT_INVALID_ENDPOINTS, info)
