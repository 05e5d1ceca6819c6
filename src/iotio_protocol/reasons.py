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

    @property
    def words(self) -> str:
        """The reason for people, as it ends a line of the log: the subject is the device."""
        return _WORDS[self]


_BY_DEVICE = frozenset(
    {DisconnectReason.CLIENT_CLOSE, DisconnectReason.TRANSPORT_CLOSED, DisconnectReason.PROTOCOL_ERROR}
)

_WORDS = {
    DisconnectReason.CLIENT_CLOSE: "it has closed the connection",
    DisconnectReason.TRANSPORT_CLOSED: "its network connection has ended without a goodbye",
    DisconnectReason.PING_TIMEOUT: "it has not answered a ping",
    DisconnectReason.PROTOCOL_ERROR: "it has broken a rule of WebSocket",
    DisconnectReason.TAKEOVER: "a new connection with its id has taken its place",
    DisconnectReason.BACKPRESSURE: "it reads too slowly",
    DisconnectReason.RATE_LIMIT: "it sends more than it may",
    DisconnectReason.STORE_UNAVAILABLE: "the store could not take what it sent, so it is to send that again",
    DisconnectReason.REMOVED: "the program has closed its connection",
    DisconnectReason.SERVER_SHUTDOWN: "the server goes down",
    DisconnectReason.REFUSED: "it was refused",
    DisconnectReason.HANDSHAKE_TIMEOUT: "it has not said who it is",
}
