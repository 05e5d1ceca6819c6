"""One device in a foreign ASGI server."""

from __future__ import annotations

from iotio_protocol import v2
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.session import State

from ..native.connection import NativeConnection
from ..native.host import NativeHost

__all__ = ["NO_STATUS", "SERVICE_RESTART", "AsgiConnection"]

NO_STATUS, _ABNORMAL, SERVICE_RESTART = 1005, 1006, 1012  # RFC 6455, 7.4.1, and IANA's registry

_REASONS = {
    None: DisconnectReason.TRANSPORT_CLOSED,
    NO_STATUS: DisconnectReason.TRANSPORT_CLOSED,
    _ABNORMAL: DisconnectReason.TRANSPORT_CLOSED,
    SERVICE_RESTART: DisconnectReason.SERVER_SHUTDOWN,  # what uvicorn says while it goes down
    1002: DisconnectReason.PROTOCOL_ERROR,  # the server's own findings come in this way
    1007: DisconnectReason.PROTOCOL_ERROR,
    1009: DisconnectReason.PROTOCOL_ERROR,
}


class AsgiConnection(NativeConnection):
    """Serve a device whose frames are a foreign server's business.

    That server keeps the connection alive, too: an ASGI application can send no PING, so silence says nothing here.
    """

    @property
    def deadline(self) -> float:
        return float("inf") if self._session.state is State.OPEN else super().deadline

    def tick(self, now: float) -> None:
        """See `Connection.tick`."""
        if self._session.state is not State.OPEN:
            super().tick(now)

    @property
    def host(self) -> NativeHost:
        """Return the host of the connection's loop."""
        return self._host

    def probe(self, upto: int) -> None:
        """See `Connection.probe`. No ping can be sent here: what the server has taken counts as read."""
        self._host.call_later(lambda: self.handle(v2.Ack(upto)))

    def disconnected(self, code: int | None) -> None:
        """Tear the connection down: the server says that the WebSocket is gone.

        Args:
            code: the close code, as the server has it; None if the server gave none.
        """
        reason = _REASONS.get(code, DisconnectReason.CLIENT_CLOSE)
        if reason is DisconnectReason.SERVER_SHUTDOWN:
            self.close(reason)
        else:
            with self._lock:
                self._let_go(reason)
        self.ended()
