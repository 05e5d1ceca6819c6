"""A bound for log lines that peers can cause at will."""

from __future__ import annotations

import logging
from collections.abc import Callable

from iotio_protocol.logs import get_logger

from .primitives import allocate_lock

__all__ = ["LogThrottle"]

logger = get_logger("iotio.connection")

_LINES = 10  # log lines of one kind in a row; then one each `_QUIET` seconds tells how many there were
_QUIET = 10.0  # seconds


class LogThrottle:
    """A filter that lets the first log lines of a kind pass, then one now and then. An attack cannot fill the disk.

    Args:
        clock: monotonic seconds.
        logger: where the lines go.
    """

    def __init__(self, clock: Callable[[], float], logger: logging.Logger = logger) -> None:
        self._clock = clock
        self._logger = logger
        self._lock = allocate_lock()
        self._kinds: dict[str, tuple[int, int, float]] = {}  # lines in a row, kept back since, when the last one was

    def warning(self, kind: str, text: str, *args: object) -> None:
        """Log a warning that a peer can cause at will: after some in a row, one now and then that counts them.

        Args:
            kind: which warning, in a word; the program has few.
            text: the line, with `%` placeholders.
            args: for these.
        """
        self._log(logging.WARNING, None, kind, text, args)

    def failure(self, kind: str, text: str, *args: object) -> None:
        """Log an error that a peer can cause at will and that is no exception, in the same way as a warning."""
        self._log(logging.ERROR, None, kind, text, args)

    def error(self, error: BaseException, kind: str, text: str, *args: object) -> None:
        """Log an exception that a peer can cause at will, in the same way.

        Args:
            error: the exception.
            kind: as of `warning`.
            text: the line, with `%` placeholders.
            args: for these.
        """
        self._log(logging.ERROR, error, kind, text, args)

    def _log(self, level: int, error: BaseException | None, kind: str, text: str, args: tuple[object, ...]) -> None:
        kept = self.ask(kind)
        if kept:
            text, args = "%s (and %d more like this)", (text % args, kept)
        self._logger.log(logging.DEBUG if kept is None else level, text, *args, exc_info=error)

    def ask(self, kind: str) -> int | None:
        """Ask whether a line may be logged now.

        Args:
            kind: the kind of the line; the lines of each kind are counted apart.

        Returns:
            How many lines of this kind were left out since the last one that was logged; None if this line is to be
            left out, too.
        """
        now = self._clock()
        with self._lock:
            lines, kept, last = self._kinds.get(kind, (0, 0, now))
            if now - last > _QUIET:
                self._kinds[kind] = (1, 0, now)
                return kept
            if lines >= _LINES:
                self._kinds[kind] = (lines, kept + 1, last)
                return None
            self._kinds[kind] = (lines + 1, 0, now)
            return kept
