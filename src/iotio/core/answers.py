"""Answers to the calls of a device: what its handler returns, or why there is no result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iotio_protocol import v2
from iotio_protocol.calls import failure, fault_of
from iotio_protocol.errors import CallFault
from iotio_protocol.frames import BINARY, encode_frame

from .handlers import reply_of

__all__ = ["answering", "refuse_call"]

Send = Callable[[bytes], object]
"""Sends a frame to the device."""


def answering(send: Send, number: int, function: Callable[..., Any], most: int = v2.MAX_VALUE) -> Callable[..., Any]:
    """Wrap a handler so that it answers a call.

    Args:
        send: takes the answer.
        number: of the call.
        function: the handler; what it returns is the result, what it raises the failure.
        most: bytes of a result that the device takes.

    Returns:
        A handler without a reply of its own; for an `async def` it returns an awaitable, too.
    """

    def handler(*arguments: Any) -> Any:
        try:
            result = function(*arguments)
        except BaseException as error:
            _fail(send, number, error)
            raise
        if hasattr(result, "__await__"):
            return _answer_later(send, number, result, most)
        _return(send, number, result, most)
        return None

    return handler


def refuse_call(send: Send, number: int) -> None:
    """Answer a call of an event that has no handler."""
    _answer(send, number, v2.FAILURE, failure(CallFault.NO_HANDLER))


async def _answer_later(send: Send, number: int, awaitable: Any, most: int) -> None:
    try:
        result = await awaitable
    except BaseException as error:
        _fail(send, number, error)
        raise
    _return(send, number, result, most)


def _return(send: Send, number: int, result: Any, most: int) -> None:
    try:
        if isinstance(result, tuple):
            reply = reply_of("", result)
            result = None if reply is None else reply[1]
        _answer(send, number, v2.RESULT, result, most)
    except Exception as error:  # EncodeError, or what a value of the user's own class raises
        _fail(send, number, error)
        raise


def _fail(send: Send, number: int, error: BaseException) -> None:
    _answer(send, number, v2.FAILURE, failure(fault_of(error), error))


def _answer(send: Send, number: int, flag: int, value: Any, most: int = v2.MAX_VALUE) -> None:
    send(encode_frame(BINARY, v2.encode("", value, flag, call=number, most=most)))
