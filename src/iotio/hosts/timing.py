"""Keep the times, and the size of a turn, that several hosts share."""

from __future__ import annotations

__all__ = ["GO_ON", "HELD_UP", "LINGER", "PIECE", "SHUTDOWN_GRACE", "SWEEP_INTERVAL", "TURN"]

SWEEP_INTERVAL = 0.2  # seconds; how late a ping or a time-out may be
GO_ON = 0.005  # seconds until a sweep goes on that has taken its turn; others have theirs in between
TURN = 0.005  # seconds that a loop works for one device, or for what other threads hand over, before others have a turn
PIECE = 16  # messages, or other things to do, between two looks at the clock or at what others have to do
HELD_UP = 1.0  # seconds after which a blocked loop is named in the log: it holds up all pings and time-outs of its host
LINGER = 2.0  # seconds to wait for the peer's end after ours: closing on unread bytes would reset the stream
SHUTDOWN_GRACE = 5  # seconds that devices, requests and handlers get when a server on a loop ends; uvicorn counts whole
