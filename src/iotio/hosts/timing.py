"""Keep the times that several hosts share."""

from __future__ import annotations

__all__ = ["HELD_UP", "LINGER", "SHUTDOWN_GRACE", "SWEEP_INTERVAL"]

SWEEP_INTERVAL = 0.2  # seconds; how late a ping or a time-out may be
HELD_UP = 1.0  # seconds after which a blocked loop is named in the log: it holds up all pings and time-outs of its host
LINGER = 2.0  # seconds to wait for the peer's end after ours: closing on unread bytes would reset the stream
SHUTDOWN_GRACE = 5  # seconds that devices, requests and handlers get when a server on a loop ends; uvicorn counts whole
