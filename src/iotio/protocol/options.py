"""Limits and timings of a device connection."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_OPTIONS", "Options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a device may do, and how long the server waits for it.

    All sizes are in bytes, all times in seconds. Limits are checked before memory is taken.

    Attributes:
        max_payload: largest value of one packet.
        max_event: longest event name, in UTF-8.
        handshake_timeout: what a v0 device gets for its first frame (iot.io 0.x: 30 s).
        refusal_delay: how long a refused device is held before the CLOSE frame. The 0.4.1 device
            library reconnects at once after a CLOSE; without the delay it would storm the server.
        ping_interval: silence after which the server sends a ping; 0 turns pings off.
        ping_timeout: how long after a ping anything at all must have come from the device.
        close_timeout: how long the peer gets to answer a CLOSE frame.
        max_outbox: bytes that may wait for a device which reads too slowly, before it is closed.
        takeover_timeout: how long a new connection waits for a handler of the old one to end.
    """

    max_payload: int = 1024 * 1024
    max_event: int = 256
    handshake_timeout: float = 30.0
    refusal_delay: float = 3.0
    ping_interval: float = 20.0
    ping_timeout: float = 10.0
    close_timeout: float = 3.0
    max_outbox: int = 8 * 1024 * 1024
    takeover_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name in ("max_payload", "max_event", "max_outbox"):
            if getattr(self, name) < 1:
                raise ValueError(f"Options.{name} must be at least 1")
        for name in ("handshake_timeout", "ping_timeout", "close_timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"Options.{name} must be more than 0 seconds")
        for name in ("refusal_delay", "ping_interval", "takeover_timeout"):
            if getattr(self, name) < 0:
                raise ValueError(f"Options.{name} must not be negative")

    @property
    def max_message(self) -> int:
        """Largest WebSocket message in bytes: both parts full, and what v0 (12 bytes) or v1 (7) put around them."""
        return 12 + self.max_event + self.max_payload


DEFAULT_OPTIONS = Options()
