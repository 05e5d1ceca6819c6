"""Answers to the calls of a device, without a connection: a list takes the frames."""

from __future__ import annotations

from typing import Any

import pytest

from iotio.core.answers import answering, refuse_call
from iotio_protocol import v2
from iotio_protocol.errors import EncodeError, TooLarge
from tests.support.memory import frames_of


def answers(sent: list[bytes]) -> list[tuple[int, int, Any]]:
    """Number, flag and value of each answer in the frames."""
    found = []
    for _, payload in frames_of(b"".join(sent)):
        packet = v2.decode(payload)
        assert isinstance(packet, v2.Packet)
        assert packet.event == ""
        found.append((packet.call, packet.flags, packet.value))
    return found


@pytest.mark.parametrize(
    ("result", "value"), [(5, 5), (None, None), ("x", "x"), (("other", [1]), [1]), (("other", None), None)]
)
def test_what_a_handler_returns_is_the_result(result: Any, value: Any) -> None:
    sent: list[bytes] = []
    seen: list[Any] = []

    def handler(message: Any, client: Any) -> Any:
        seen.append((message, client))
        return result

    assert answering(sent.append, 7, handler)("message", "client") is None, "an answer is no reply"
    assert seen == [("message", "client")]
    assert answers(sent) == [(7, v2.RESULT, value)]


def test_what_a_handler_raises_is_the_failure_and_goes_on_to_the_log() -> None:
    sent: list[bytes] = []

    def handler() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        answering(sent.append, 1, handler)()
    ((number, flag, value),) = answers(sent)
    assert (number, flag) == (1, v2.FAILURE)
    assert value["name"] == "ValueError"


async def test_an_async_def_answers_when_it_is_done() -> None:
    sent: list[bytes] = []

    async def handler(result: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    waiting = answering(sent.append, 1, handler)("late")
    assert sent == []
    assert await waiting is None
    with pytest.raises(KeyError):
        await answering(sent.append, 2, handler)(KeyError("x"))
    assert [one[:2] for one in answers(sent)] == [(1, v2.RESULT), (2, v2.FAILURE)]


@pytest.mark.parametrize("result", [object(), (1, 2, 3)])
def test_a_result_that_cannot_travel_is_a_failure(result: Any) -> None:
    sent: list[bytes] = []
    with pytest.raises(EncodeError):
        answering(sent.append, 1, lambda: result)()
    ((_, flag, _),) = answers(sent)
    assert flag == v2.FAILURE


def test_a_call_without_a_handler() -> None:
    sent: list[bytes] = []
    refuse_call(sent.append, 9)
    ((number, flag, value),) = answers(sent)
    assert (number, flag, value["error"]) == (9, v2.FAILURE, "no_handler")


async def test_a_result_that_the_device_does_not_take_is_a_failure() -> None:
    async def later() -> str:
        return "12345"

    sent: list[bytes] = []
    with pytest.raises(TooLarge):
        answering(sent.append, 1, lambda: "12345", 4)()
    with pytest.raises(TooLarge):
        await answering(sent.append, 2, later, 4)()
    answering(sent.append, 3, lambda: "1234", 4)()
    first, second, third = answers(sent)
    assert (first[1], first[2]["error"], first[2]["name"]) == (v2.FAILURE, "invalid_data", "TooLarge")
    assert first[1:] == second[1:]
    assert third == (3, v2.RESULT, "1234")
