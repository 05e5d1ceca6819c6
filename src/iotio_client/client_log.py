"""What the log of a device tells: its connections, how they ended, and what its handlers do not take or fail at."""

from __future__ import annotations

import logging
import sys
import threading
import time

from iotio_protocol.log_throttle import LogThrottle
from iotio_protocol.logs import Duration
from iotio_protocol.near_names import missing_handler

from .errors import ClientError, ConnectionLost
from .handlers import Handlers
from .session import Session
from .target import Target

__all__ = ["ClientLog"]

_MOST_NAMED = 100  # events without a handler: a server chooses their names


class ClientLog:
    """The lines of one client.

    Attributes:
        throttle: takes the lines that a server can cause at will: the first ones pass, then one now and then.

    Args:
        logger: takes them.
        session: knows the device and its protocol.
        handlers: those that there are.
    """

    def __init__(self, logger: logging.Logger, session: Session, handlers: Handlers) -> None:
        self.throttle = LogThrottle(time.monotonic, threading.Lock(), logger)
        self._logger = logger
        self._session = session
        self._handlers = handlers
        self._where = ""  # the server
        self._since = 0.0  # when the connection has begun
        self._away_since: float | None = None  # when it has ended
        self._unhandled: set[str] = set()  # events without a handler that are named

    def connected(self, target: Target) -> None:
        """Tell that the device is connected, and again after how long."""
        self._where, self._since = target.where, time.monotonic()
        away, self._away_since = self._away_since, None
        again = "" if away is None else f" again after {Duration(self._since - away)}"
        identity = self._session.identity
        text = "connected to %s%s: device %r, type %r, protocol %d"
        self._logger.info(text, self._where, again, identity.id, identity.type, self._session.version)

    def disconnected(self, end: ClientError | None) -> None:
        """Tell how a connection has ended; None if this program has ended it."""
        self._away_since = time.monotonic()
        is_in_order = end is None or (isinstance(end, ConnectionLost) and end.clean)
        level = logging.INFO if is_in_order else logging.WARNING
        there = Duration(self._away_since - self._since)
        why = "this program has ended the connection" if end is None else end
        self._logger.log(level, "disconnected from %s after %s: %s", self._where, there, why)

    def waits(self, end: ClientError, seconds: float, *, is_news: bool) -> None:
        """Tell when the next attempt is, and why there is no connection, if `disconnected` has not told that."""
        if isinstance(end, ConnectionLost):
            self._logger.info("next attempt in %.1f s", seconds)
            return
        level = logging.ERROR if is_news else logging.WARNING
        self._logger.log(level, "%s; next attempt in %.1f s", end, seconds)

    def run_ended(self) -> None:
        """Count no longer how long the device is away."""
        self._away_since = None

    def unhandled(self, event: str) -> None:
        """Name an event that no handler takes, once."""
        named = event in self._unhandled or len(self._unhandled) >= _MOST_NAMED
        if named or not self._logger.isEnabledFor(logging.INFO):
            self._logger.debug("no handler takes the event %r", event)
            return
        self._unhandled.add(event)
        hint = missing_handler(event, self._handlers.names(), (), f"@client.on({event!r}) makes one")
        self._logger.info("no handler takes the event %r of the server: %s", event, hint)

    def handler_failed(self, name: str) -> None:
        """Log the exception that is being handled."""
        identity = self._session.identity
        error = sys.exception()
        assert error is not None
        text = "the handler %s of device %r of type %r has failed"
        self.throttle.error(error, f"handler {name}", text, name, identity.id, identity.type)
