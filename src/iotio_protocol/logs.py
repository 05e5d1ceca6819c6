"""Loggers whose lines a peer cannot forge: what it sends is in ids, in names of events, in texts of errors."""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any

__all__ = ["LINE_FORMAT", "MAX_LINE", "Duration", "get_logger", "safe", "show_lines"]

LINE_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""How a line looks where the program has not said it."""

MAX_LINE = 1024  # bytes of UTF-8, of a message and of the text of an exception
_CUT = "..."
_UNSAFE = (  # compiled when it is first needed: that takes longer than the rest of this module
    "[\x00-\x1f\x7f-\x9f"  # control characters: ends of lines, and ESC, by which a terminal takes orders
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # other ends of lines, and the direction of writing
    "\ud800-\udfff]"  # half surrogate pairs, which no file can have
)


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a name, with the filter that makes its lines safe."""
    logger = logging.getLogger(name)
    logger.addFilter(_FILTER)
    return logger


def show_lines() -> None:
    """Write our lines to stderr, from INFO on, if nobody has configured logging: as Werkzeug does it.

    For hosts that begin to serve, and for clients that begin to run. A handler or a level of the logger "iotio" or of
    the root logger is a configuration.
    """
    ours, root = logging.getLogger("iotio"), logging.getLogger()
    if ours.handlers or root.handlers or ours.level != logging.NOTSET or root.level != logging.WARNING:
        return
    ours.setLevel(logging.INFO)
    ours.addHandler(_SHOWN)


class Duration(float):
    """Seconds, which a line of the log tells in words: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 7 h."""

    __slots__ = ()

    def __str__(self) -> str:
        seconds = max(int(self), 0)
        if seconds < 10:
            return f"{max(float(self), 0.0):.1f} s"
        if seconds < 60:
            return f"{seconds} s"
        minutes, hours = seconds // 60, seconds // 3600
        if hours == 0:
            return f"{minutes} min {seconds % 60} s"
        return f"{hours} h {minutes % 60} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def safe(text: str) -> str:
    """Return a text as one line of at most `MAX_LINE` bytes, control characters as Python's escapes."""
    if len(text) <= MAX_LINE // 4 and text.isprintable():
        return text
    data = re.sub(_UNSAFE, _escape, text[:MAX_LINE]).encode()
    if len(text) <= MAX_LINE and len(data) <= MAX_LINE:
        return data.decode()
    return data[: MAX_LINE - len(_CUT)].decode(errors="ignore") + _CUT


def _escape(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


class _Filter(logging.Filter):
    """Make a line safe if it is not; all others are left as they are, for handlers that look at their parts."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # it is wrong in itself: the handler tells
            return True
        line = safe(text)
        if line != text:
            record.msg, record.args = line, ()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and record.exc_text is None and not all(map(_is_safe, _all_of(error))):
            record.exc_text = "".join(_lines_of(error)).rstrip("\n")  # in the place of what a formatter would make
        return True


_FILTER = _Filter()


_GONE = (errno.EIO, errno.EPIPE, errno.EBADF)  # a terminal, or a program that has read, is not there any more


class _Shown(logging.StreamHandler[Any]):
    """Write to stderr, whatever that is by then, until the program configures logging."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)  # a stream that is kept could be closed, or not the program's any more
        self.setFormatter(logging.Formatter(LINE_FORMAT))

    @property
    def stream(self) -> Any:
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError) and error.errno in _GONE:
            # What is left in its buffer would make the program end with an error.
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # until the end
        else:
            super().handleError(record)

    def handle(self, record: logging.LogRecord) -> bool:
        if not logging.getLogger().handlers:
            return bool(super().handle(record))
        ours = logging.getLogger("iotio")
        ours.removeHandler(self)
        if ours.level == logging.INFO:
            ours.setLevel(logging.NOTSET)
        return False


_SHOWN = _Shown()


def _is_safe(error: BaseException) -> bool:
    return all(safe(line) == line for line in _words_of(error))


def _words_of(error: BaseException) -> list[str]:
    """Return the lines that tell of an exception itself."""
    return [line.removesuffix("\n") for line in traceback.format_exception_only(error)]


def _all_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, those that led to it, and those in groups; each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting.append(one.__context__ if one.__cause__ is None and not one.__suppress_context__ else one.__cause__)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions


def _lines_of(error: BaseException) -> Iterator[str]:
    """Yield what `traceback.format_exception` would, with safe words; those of a group one behind the other."""
    for one in reversed(list(_all_of(error))):
        if one.__traceback__ is not None:
            yield "Traceback (most recent call last):\n"
            yield from traceback.format_tb(one.__traceback__)
        yield from (safe(line) + "\n" for line in _words_of(one))
        if one is not error:
            yield "\nThis led to another exception:\n\n"
