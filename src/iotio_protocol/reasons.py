"""Why a device's connection ended."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["DisconnectReason"]


class DisconnectReason(StrEnum):
    """Why a connection is over; the second argument of `on_disconnect(client, reason)`."""

    CLIENT_CLOSE = "client_close"  # the device sent a CLOSE frame
    TRANSPORT_CLOSED = "transport_closed"  # TCP ended without one: power, Wi-Fi, a killed program
    PING_TIMEOUT = "ping_timeout"  # nothing came after a ping
    PROTOCOL_ERROR = "protocol_error"  # the device broke a WebSocket rule
    TAKEOVER = "takeover"  # a new connection of the same id took its place
    BACKPRESSURE = "backpressure"  # the device read too slowly
    RATE_LIMIT = "rate_limit"  # the device sent more than it may
    STORE_UNAVAILABLE = "store_unavailable"  # what the device sent could not be written down; it sends it again
    REMOVED = "removed"  # `client.close()` or `manager.remove(client)`
    SERVER_SHUTDOWN = "server_shutdown"  # the server is going down
    REFUSED = "refused"  # the handshake failed; no handler ever saw the device
    HANDSHAKE_TIMEOUT = "handshake_timeout"  # a v0 device never sent its handshake

    @property
    def is_by_device(self) -> bool:
        """Whether the device, or its network, ended the connection, and not the server."""
        return self in _BY_DEVICE


_BY_DEVICE = frozenset(
    {DisconnectReason.CLIENT_CLOSE, DisconnectReason.TRANSPORT_CLOSED, DisconnectReason.PROTOCOL_ERROR}
)
