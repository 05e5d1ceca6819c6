"""A handler with all that is known of its packets beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.handlers import find_handlers
from iotio.core.route import Route
from iotio_protocol import v1, v2


class Lamp(DeviceType):
    def on_dim(self, message: Any, client: IoTClient) -> Any:
        return message

    async def on_fade(self, message: Any, client: IoTClient) -> Any:
        return message


def test_what_a_route_knows() -> None:
    lamp = Lamp("lamp")
    route = Route("dim", lamp.on_dim, v1.DataType.INTEGER, b"head")
    assert (route.event, route.function) == ("dim", lamp.on_dim)
    assert (route.kind, route.reply_head) == (v1.DataType.INTEGER, b"head")
    assert not route.is_async
    assert Route("fade", lamp.on_fade, v1.DataType.INTEGER, b"").is_async


def test_nothing_else_can_be_kept_there() -> None:
    route = Route("dim", Lamp("lamp").on_dim, 0, b"")
    with pytest.raises(AttributeError):
        route.other = 1  # type: ignore[attr-defined]  # that is the point


@pytest.mark.parametrize("value", [b"x", True, 5, "x", {"a": 1}, [1]])
def test_a_packet_finds_its_route_by_its_head(value: Any) -> None:
    routes = find_handlers(Lamp("lamp")).routes
    for version, packet in ((1, v1.encode("dim", value)), (2, v2.encode("dim", value))):
        found = [route for head, route in routes[version].items() if packet.startswith(head)]
        assert [(route.event, route.is_async) for route in found] == [("dim", False)]


def test_the_answer_begins_as_a_packet_with_a_text_does() -> None:
    for version, encode in ((1, v1.encode), (2, v2.encode)):
        for route in find_handlers(Lamp("lamp")).routes[version].values():
            packet = encode(route.event, "text")
            assert packet.startswith(route.reply_head)
            assert packet.endswith(b"text")
            assert route.event.encode() in route.reply_head
