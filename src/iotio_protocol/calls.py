"""Calls over one connection: their numbers, and what a failed one says on the wire of protocol v2."""

from __future__ import annotations

from typing import Generic, TypeVar

from . import strict_json as json
from .errors import (
    CallError,
    CallFault,
    EncodeError,
    InvalidData,
    NoHandler,
    RemoteError,
    TooManyCalls,
)
from .options import MAX_SECONDS
from .values import Value

__all__ = ["MAX_CALLS", "MAX_TEXT", "Calls", "check_timeout", "error_of", "failure", "fault_of"]

MAX_CALLS = 1000
"""Calls that one side may have on their way over one connection."""

_LAST = 0xFFFFFFFF  # the number of a call has four bytes
MAX_TEXT = 1000
"""Characters of an exception's text that travel, and that are taken from the other side."""

_MAX_NAME = 100  # characters of the name of its class
_MAX_BYTES = 3400, 500  # of text and name as JSON: all of a FAILURE may have 4096

_W = TypeVar("_W")


class Calls(Generic[_W]):
    """The calls of one side that have no answer yet, each with its caller. Not thread-safe; the owner locks.

    Args:
        most: calls at a time.
    """

    def __init__(self, most: int = MAX_CALLS) -> None:
        self._most = most
        self._next = 0
        self._waiting: dict[int, _W] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(self, waiter: _W) -> int:
        """Begin a call, and keep its caller.

        Returns:
            The call's number.

        Raises:
            TooManyCalls: `most` are on their way.
        """
        if len(self._waiting) >= self._most:
            raise TooManyCalls(f"{self._most} calls are on their way over this connection; wait for their answers")
        while True:
            self._next = self._next + 1 if self._next < _LAST else 1
            if self._next not in self._waiting:
                self._waiting[self._next] = waiter
                return self._next

    def end(self, number: int) -> _W | None:
        """End a call: its answer came, or its caller gave up. Returns the caller; None for a late answer."""
        return self._waiting.pop(number, None)

    def end_all(self) -> list[_W]:
        """End all calls, as the connection has ended. Returns the callers."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return waiting


def check_timeout(timeout: float) -> float:
    """Return the seconds of a call. Raises ValueError unless `timeout` is a positive number, and one that can pass."""
    if not 0 < timeout <= MAX_SECONDS:
        raise ValueError(f"timeout must be seconds above 0 and at most {MAX_SECONDS:.0f}, not {timeout!r}")
    return float(timeout)


def failure(fault: CallFault, error: BaseException | None = None, text: str = "") -> dict[str, Value]:
    """Return what a FAILURE packet carries. Never a traceback.

    Args:
        fault: the code.
        error: what the handler raised.
        text: words in its place.
    """
    name = type(error).__name__ if error is not None else ""
    if error is not None:
        try:
            text = str(error)
            text.encode()
        except Exception:  # an exception of the program's own, whose text cannot be written
            text = ""
    most, most_of_name = _MAX_BYTES
    name, text = _cut(name[:_MAX_NAME], most_of_name), _cut(text[:MAX_TEXT], most)
    return {"error": fault.value, "name": name, "message": text}


def _cut(text: str, most: int) -> str:
    """Cut a text to so many bytes of JSON; a character may have twelve."""
    while len(json.dumps(text)) > most:
        text = text[: len(text) * 3 // 4]
    return text


def fault_of(error: BaseException) -> CallFault:
    """Return the code for what a handler raised in the place of a result."""
    return CallFault.INVALID_DATA if isinstance(error, (EncodeError, InvalidData)) else CallFault.EXCEPTION


def error_of(event: str, value: object) -> CallError:
    """Return the error that the caller of a failed call raises.

    Args:
        event: what was called.
        value: from the FAILURE packet; anything, for it comes from the other side.
    """
    fields = value if isinstance(value, dict) else {}
    code, name, text = _text(fields, "error"), _text(fields, "name")[:_MAX_NAME], _text(fields, "message")[:MAX_TEXT]
    if code == CallFault.NO_HANDLER:
        return NoHandler(f"the other side has no handler for the event {event!r}")
    if code == CallFault.INVALID_DATA:
        return InvalidData(text or f"the other side refused the value for {event!r}")
    if code == CallFault.BUSY:
        return TooManyCalls(text or "the other side has too many calls to handle")
    return RemoteError(name, text or code[:MAX_TEXT] or ("" if name else "the other side does not say why"))


def _text(fields: dict[str, object], key: str) -> str:
    value = fields.get(key)
    return value if isinstance(value, str) else ""
