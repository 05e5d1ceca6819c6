"""A durable message has its effect once: the handler's wrapper, with a receiver that writes down what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from types import SimpleNamespace
from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.durable.taking import taking
from iotio.core.message import current_message
from iotio_protocol import v2
from iotio_protocol.errors import InvalidPacket
from iotio_protocol.reasons import DisconnectReason
from iotio_protocol.stream import Incoming
from tests.support.memory import make_manager, v2_device


class Receiver:
    """A connection whose queue takes each number once."""

    passed_on: tuple[type[BaseException], ...] = (KeyboardInterrupt,)
    stream: str | None = "s"
    gone: DisconnectReason | None = None

    def __init__(self) -> None:
        self.incoming = Incoming("s")
        self.said: list[Any] = []
        self.manager: Any = SimpleNamespace(_disowned="")

    @property
    def durable(self) -> Any:
        return self

    @property
    def announced(self) -> Any:
        return self

    def is_new(self, stream: str, number: int, previous: int) -> bool:
        return self.incoming.is_new(number, previous)

    def say_heard(self) -> None:
        self.said.append("heard")

    def took(self, stream: str, number: int, previous: int, effects: list[Callable[[Any], object]]) -> None:
        self.incoming.took(number)
        self.said.append((stream, number, len(effects)))

    def complain(self, error: InvalidPacket) -> None:
        self.said.append(type(error).__name__)

    def run_async(self, coroutine: Any, context: Context) -> Any:
        return asyncio.run(coroutine)


def message(number: int, previous: int | None = None) -> v2.Packet:
    before = number - 1 if previous is None else previous
    return v2.Packet("x", number, v2.DURABLE, number=number, previous=before)


def run(receiver: Receiver, packet: v2.Packet, handler: Callable[..., Any], kind: str) -> Any:
    """Run a handler as a `def`, as a `def` that returns an awaitable, or as an `async def`."""
    if kind == "def":
        return taking(receiver, packet, handler, is_async=False)(packet.value)

    async def later(value: Any) -> Any:
        return handler(value)

    if kind == "awaitable":
        return taking(receiver, packet, later, is_async=False)(packet.value)
    return asyncio.run(taking(receiver, packet, later, is_async=True)(packet.value))


KINDS = pytest.mark.parametrize("kind", ["def", "awaitable", "async def"])


@KINDS
def test_a_message_is_taken_once(kind: str) -> None:
    receiver, seen = Receiver(), []

    def handler(value: Any) -> str:
        found = current_message.get()
        assert found is not None
        seen.append((value, found.id))
        return "reply"

    assert run(receiver, message(1), handler, kind) == "reply"
    assert run(receiver, message(1), handler, kind) is None
    assert run(receiver, message(2), handler, kind) == "reply"
    assert seen == [(1, "s/1"), (2, "s/2")]
    assert receiver.said == [("s", 1, 0), "heard", ("s", 2, 0)]


@KINDS
def test_after_a_gap_nothing_is_run(kind: str) -> None:
    receiver = Receiver()
    assert run(receiver, message(3, previous=2), pytest.fail, kind) is None
    assert receiver.said == ["StreamGap"]


@KINDS
def test_what_fails_counts_as_handled(kind: str) -> None:
    receiver = Receiver()

    def handler(value: Any) -> None:
        raise ValueError(value)

    with pytest.raises(ValueError, match="1"):
        run(receiver, message(1), handler, kind)
    assert receiver.said == [("s", 1, 0)]


@KINDS
def test_effects_are_written_with_the_number(kind: str) -> None:
    receiver = Receiver()

    def handler(value: Any) -> None:
        found = current_message.get()
        assert found is not None
        found.transaction(print)
        found.transaction(print)

    run(receiver, message(1), handler, kind)
    assert receiver.said == [("s", 1, 2)]


@KINDS
def test_what_ends_the_thread_is_not_the_end_of_the_message(kind: str) -> None:
    receiver = Receiver()

    def handler(value: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(receiver, message(1), handler, kind)
    assert receiver.said == [], "it will come again"


@KINDS
def test_a_handler_that_exits_has_handled_the_message(kind: str) -> None:
    receiver = Receiver()

    def handler(value: Any) -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        run(receiver, message(1), handler, kind)
    assert receiver.said == [("s", 1, 0)]


@KINDS
def test_a_message_of_another_time_has_no_number(kind: str) -> None:
    receiver, seen = Receiver(), []
    packet = v2.Packet("x", 1, v2.TIME, time=1_000)

    def handler(value: Any) -> None:
        seen.append(current_message.get())

    run(receiver, packet, handler, kind)
    run(receiver, packet, handler, kind)
    assert [(found is not None and found.id) for found in seen] == ["", ""]
    assert receiver.said == []


def test_a_def_that_returns_an_awaitable_on_a_real_connection() -> None:
    """Found by reading: the awaitable was to run in the context that its call was still inside of, and never ran."""
    seen: list[Any] = []

    class Late(DeviceType):
        def on_x(self, message: Any, client: IoTClient) -> Any:
            async def later() -> None:
                told = current_message.get()
                seen.append((message, told is not None and told.id))

            return later()

    device = v2_device(make_manager(Late("echo")), sends="s")
    device.decoded()
    device.durable(1, "x", 5)
    assert seen == [(5, "s/1")]
    assert device.decoded() == [v2.Ack(1)]
