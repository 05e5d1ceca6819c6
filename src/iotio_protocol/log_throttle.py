"""A bound for log lines that peers can cause at will."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager

from .logs import MAX_LINE, get_logger, safe

__all__ = ["LogThrottle"]

logger = get_logger("iotio.connection")

_LINES = 10  # warnings of one kind in a row; then one each `_QUIET` seconds tells how many there were
_QUIET = 10.0  # seconds

_BURST = 100  # INFO lines of one kind in a second; of more, one line each second tells how many there were
_SECOND = 1.0

# Bytes of lines: with what comes back in a minute 300 kB of INFO, and 300 kB of what is graver. A log that may grow by
# 1 MB a minute has room for them, and for the few lines that are counted elsewhere.
_PURSE = 150_000
_INCOME = 2_500  # bytes a second
_HEAD = 100  # bytes of a line before its message, as JSON too


class LogThrottle:
    """A filter that lets the first log lines of a kind pass, then one now and then. An attack cannot fill the disk.

    Attributes:
        on_error: gets each exception that is logged; None but in tests.

    Args:
        clock: monotonic seconds.
        lock: keeps its threads apart, for some microseconds.
        logger: where the lines go.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        lock: AbstractContextManager[object],
        logger: logging.Logger = logger,
    ) -> None:
        self.on_error: Callable[[BaseException], object] | None = None
        self._clock = clock
        self._logger = logger
        self._lock = lock
        self._kinds: dict[str, tuple[int, int, float]] = {}  # lines in a row, kept back since, when the last one was
        self._news: dict[str, _News] = {}
        self._warnings_left, self._news_left = _Purse(clock()), _Purse(clock())

    @property
    def tells_news(self) -> bool:
        """Whether lines of `info` are logged at all."""
        return self._logger.isEnabledFor(logging.INFO)

    def info(self, kind: str, text: str, *args: object) -> None:
        """Log what peers do all day, unless too many do it at once: the last line of a second then tells how many.

        Args:
            kind: which line, in a word; the program has few.
            text: the line, with `%` placeholders.
            args: for these.
        """
        if not self.tells_news:
            return
        now = self._clock()
        with self._lock:
            news = self._news.get(kind)
            if news is None:
                news = self._news[kind] = _News(now)
            summary = self._turn(news, now)
            passes = news.take() and self._news_left.pay(_size(text, args), now)
            if not passes:
                news.keep(text, args)
        if summary:
            self._logger.info("%s", summary)
        self._logger.log(logging.INFO if passes else logging.DEBUG, text, *args)

    def sweep(self, now: float, *, ends: bool = False) -> None:
        """Tell how many lines of `info` were left out in a second that is over.

        Args:
            now: the time, by the clock.
            ends: whether the server goes down, so that no second will be over.
        """
        if not any(news.kept for news in tuple(self._news.values())):
            return
        with self._lock:
            summaries = [self._turn(news, now, ends=ends) for news in self._news.values()]
        for summary in filter(None, summaries):
            self._logger.info("%s", summary)

    def _turn(self, news: _News, now: float, *, ends: bool = False) -> str:
        """Begin another second if one is over. Returns the line that counts what was left out in it, or ""."""
        if now - news.since < _SECOND and not ends:
            return ""
        line = news.summary()
        if line and not self._news_left.pay(_HEAD + len(line.encode()), now):
            line = ""
        news.begin(now, told=bool(line))
        return line

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
        if self.on_error is not None:
            self.on_error(error)
        self._log(logging.ERROR, error, kind, text, args)

    def _log(self, level: int, error: BaseException | None, kind: str, text: str, args: tuple[object, ...]) -> None:
        kept = self.ask(kind)
        if kept is not None and not self._can_pay(_size(text, args, error)):
            self._keep(kind, kept)
            kept = None
        if kept:
            text, args = "%s (and %d more like this)", (text % args, kept)
        self._logger.log(logging.DEBUG if kept is None else level, text, *args, exc_info=error)

    def _can_pay(self, size: int) -> bool:
        with self._lock:
            return self._warnings_left.pay(size, self._clock())

    def _keep(self, kind: str, kept: int) -> None:
        """Leave a line out that `ask` has let pass, and those that it would have counted."""
        with self._lock:
            lines, more, last = self._kinds[kind]
            self._kinds[kind] = (lines, kept + more + 1, last)

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


class _News:
    """The INFO lines of one kind.

    In a flood, which begins with a line too many and ends with a second that has no more than may be, all are left out.

    Attributes:
        since: when this second has begun.
        kept: how many were left out, and not told of yet.
    """

    __slots__ = ("_floods", "_last", "_left", "_seen", "kept", "since")

    def __init__(self, now: float) -> None:
        self.kept = 0
        self._floods = False
        self._seen = 0
        self.begin(now, told=True)

    def begin(self, now: float, *, told: bool) -> None:
        """Begin a second; `told` if it is known what was left out."""
        self.since = now
        self._floods = self._seen > _BURST
        self._seen = 0
        if told:
            self.kept = 0
            self._last: tuple[str, tuple[object, ...]] = ("", ())

    def take(self) -> bool:
        """Count a line. Returns whether it may be logged."""
        self._seen += 1
        return not self._floods and self._seen <= _BURST

    def keep(self, text: str, args: tuple[object, ...]) -> None:
        """Leave a line out."""
        self.kept += 1
        self._last = text, args

    def summary(self) -> str:
        """Return the last line that was left out, with how many more there were; "" if there is none."""
        if not self.kept:
            return ""
        text, args = self._last
        line = text % args
        return line if self.kept == 1 else f"{line} (and {self.kept - 1} more like this)"


class _Purse:
    """Bytes that may be logged; they come back with time."""

    __slots__ = ("_left", "_when")

    def __init__(self, now: float) -> None:
        self._left = float(_PURSE)
        self._when = now

    def pay(self, size: int, now: float) -> bool:
        """Take bytes. Returns False if there are not enough; then none is taken."""
        self._left = min(_PURSE, self._left + (now - self._when) * _INCOME)
        self._when = now
        if self._left < size:
            return False
        self._left -= size
        return True


def _size(text: str, args: tuple[object, ...], error: BaseException | None = None) -> int:
    """Return how many bytes a line takes in the log, about."""
    try:
        size = len(safe(text % args).encode())
    except Exception:  # it is wrong in itself: the handler tells
        size = MAX_LINE
    parts = () if error is None else traceback.format_exception(error)
    return _HEAD + size + sum(min(len(part.encode(errors="replace")), MAX_LINE) for part in parts)
