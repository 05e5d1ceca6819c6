"""What a received message means, one class per meaning: the answers of `Codec.receive`."""

from __future__ import annotations

from typing import Any, NamedTuple

from .errors import ClientError

__all__ = ["Acknowledged", "Alive", "Answer", "Dispatch", "Ignored", "Received", "ServerError"]


class Dispatch(NamedTuple):
    """Call the handler of this event; `Codec.answer` and its neighbours say what to send then.

    Attributes:
        event: its name.
        value: what it carries; `Unread` if it is large JSON, which is read when its turn comes.
        call: the number under which the server waits for the result; None if it does not.
        number: in the server's stream of durable messages; 0 if it is not durable.
        previous: the number before it in the stream.
        time: when it was, in milliseconds since 1970; None: now.
    """

    event: str
    value: Any
    call: int | None = None
    number: int = 0
    previous: int = 0
    time: int | None = None


class Acknowledged(NamedTuple):
    """The server has handled durable messages of this device: give it to `acknowledged`, then send more.

    Attributes:
        upto: the last of them.
    """

    upto: int


class Alive(NamedTuple):
    """A sign of life, PING or PONG: nothing for handlers.

    Attributes:
        reply: what to send at once, whatever handlers are doing; None: nothing.
    """

    reply: bytes | None = None


class Answer(NamedTuple):
    """A call of this device has its answer: give it to `DeviceCalls.answer`, whatever handlers are doing.

    Attributes:
        call: the call's number.
        failed: whether `value` says why there is no result.
        value: the result, or that.
    """

    call: int
    failed: bool
    value: Any


class ServerError(NamedTuple):
    """The server reports an error: log it, call `on_error(error)`.

    Attributes:
        error: the code, or what the server wrote in its place.
        info: more about it, or None.
        rejection: not None: end the connection and raise this.
    """

    error: str
    info: object
    rejection: ClientError | None


class Ignored(NamedTuple):
    """Nothing to do, but to send `reply` if there is one.

    Attributes:
        why: for the log.
        invalid: whether the message broke the protocol.
        reply: what to tell the server.
        durable: the durable message that this is, whole but for what it carries; it counts as handled in its turn, or
            it would come again for ever.
    """

    why: str
    invalid: bool
    reply: bytes | None = None
    durable: Dispatch | None = None


Received = Dispatch | Acknowledged | Alive | Answer | ServerError | Ignored
