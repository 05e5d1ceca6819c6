"""Handlers: found and checked when the type is added."""

from __future__ import annotations

from typing import Any

import pytest

import iotio
from iotio import DeviceType, IoTClient
from iotio.core.handlers import find_handlers, reply_of, with_reason
from iotio_protocol.errors import EncodeError
from tests.support.memory import make_manager, v1_device


class Lamp(DeviceType):
    on_colour = "not a handler"
    brightness = 5

    def on_switch(self, message: Any, client: IoTClient) -> Any:
        return "switched", message

    async def on_fade(self, message: Any, client: IoTClient) -> Any:
        return message

    @staticmethod
    def on_static(message: Any, client: IoTClient) -> Any:
        return "static"

    @classmethod
    def on_class(cls, message: Any, client: IoTClient) -> Any:
        return cls.__name__

    def on_more(self, message: Any, client: IoTClient, extra: int = 1) -> Any:
        return extra

    def on_any(self, *args: Any) -> Any:
        return len(args)

    def helper(self) -> None:
        raise AssertionError


def test_what_is_found() -> None:
    handlers = find_handlers(Lamp("lamp"))
    assert sorted(handlers.events) == ["any", "class", "fade", "more", "static", "switch"]
    assert handlers.fallback is None


def test_handlers_of_every_kind_are_called() -> None:
    device = v1_device(make_manager(Lamp("lamp")), client_type="lamp")
    for event in ("switch", "fade", "static", "class", "more", "any"):
        device.send(event, 1)
    assert device.packets() == [
        ("switched", 1),
        ("fade", 1),
        ("static", "static"),
        ("class", "Lamp"),
        ("more", 1),
        ("any", 2),
    ]


def test_properties_of_a_type() -> None:
    lamp = Lamp("lamp")
    assert (lamp.type, lamp.context) == ("lamp", None)
    manager = make_manager(lamp)
    assert lamp.context is manager
    for name in ("type", "context"):
        with pytest.raises(AttributeError):
            setattr(lamp, name, "x")


def type_with(name: str, function: Any) -> DeviceType:
    kind: type[DeviceType] = type("Wrong", (DeviceType,), {name: function})
    return kind("wrong")


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("on_x", lambda self: None),
        ("on_x", lambda self, message: None),
        ("on_x", lambda self, message, client, more: None),
        ("on_x", lambda self, message, *, client: None),
        ("on_event", lambda self, message: None),
        ("on_event", lambda self, event, data, client, more: None),
        ("on_connect", lambda self: None),
        ("on_connect", lambda self, client, reason: None),
        ("on_disconnect", lambda self: None),
        ("on_disconnect", lambda self, client, reason, more: None),
    ],
)
def test_a_wrong_signature_is_a_type_error_that_names_it(name: str, function: Any) -> None:
    manager = make_manager(DeviceType("wrong"))
    before = manager.types.get("wrong")
    device = type_with(name, function)
    with pytest.raises(TypeError, match=rf"^Wrong\.{name} must take \(self, "):
        manager.add_type(device)
    assert manager.types.get("wrong") is before, "nothing is half added"
    assert device.context is None


def first_client(self: Any, client: Any, message: Any) -> None: ...
def first_client_then_data(self: Any, client: Any, data: Any) -> None: ...
def annotated(self: Any, one: IoTClient, other: Any) -> None: ...
def annotated_by_text(self: Any, one: iotio.IoTClient, other: Any) -> None: ...
def fallback(self: Any, client: IoTClient, event: Any, data: Any) -> None: ...


@pytest.mark.parametrize("function", [first_client, first_client_then_data, annotated, annotated_by_text])
def test_a_handler_that_takes_the_client_first(function: Any) -> None:
    text = (
        r"^Wrong\.on_x takes the client first, where it gets what the device has sent: "
        r"write on_x\(self, message, client\)$"
    )
    with pytest.raises(TypeError, match=text):
        find_handlers(type_with("on_x", function))


def test_a_fallback_that_takes_the_client_first() -> None:
    with pytest.raises(TypeError, match=r"has sent: write on_event\(self, event, data, client\)$"):
        find_handlers(type_with("on_event", fallback))


def both(self: Any, sender: IoTClient, receiver: IoTClient) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        lambda self, client, lamp: None,
        lambda self, data, message: None,
        lambda self, sender, message: None,
        lambda self, client, *more: None,
        both,
    ],
)
def test_names_of_parameters_are_the_programs_own(function: Any) -> None:
    assert list(find_handlers(type_with("on_x", function)).events) == ["x"]


def test_on_event_is_a_fallback_or_a_handler_of_that_name() -> None:
    as_handler = find_handlers(type_with("on_event", lambda self, message, client: None))
    assert (list(as_handler.events), as_handler.fallback) == (["event"], None)
    as_fallback = find_handlers(type_with("on_event", lambda self, event, data, client: None))
    assert as_fallback.events == {}
    assert as_fallback.fallback is not None


@pytest.mark.parametrize(
    ("function", "seen"),
    [
        (lambda client: ("plain", client), ("plain", 1)),
        (lambda client, reason: (reason, client), (2, 1)),
        (lambda client, reason=None: (reason, client), (2, 1)),
        (lambda *args: args, (1, 2)),
        (lambda client, *, reason=None: (reason, client), (None, 1)),
    ],
)
def test_with_reason(function: Any, seen: Any) -> None:
    wanted = with_reason(function)
    assert wanted is not None
    assert wanted(1, 2) == seen


def test_without_a_fitting_signature() -> None:
    assert with_reason(lambda: None) is None
    assert with_reason(lambda a, b, c: None) is None


@pytest.mark.parametrize(
    ("result", "reply"),
    [
        (None, None),
        (("a", None), None),
        (("a", 0), ("a", 0)),
        (0, ("e", 0)),
        ("", ("e", "")),
        ([1], ("e", [1])),
    ],
)
def test_reply_of(result: Any, reply: Any) -> None:
    assert reply_of("e", result) == reply


@pytest.mark.parametrize("result", [(), ("a",), ("a", 1, 2), (1, "a"), (None, 1)])
def test_reply_of_a_wrong_tuple(result: Any) -> None:
    with pytest.raises(EncodeError, match=r"must return \(event, value\)"):
        reply_of("e", result)


def test_call_event_handler() -> None:
    lamp = Lamp("lamp")
    device = v1_device(make_manager(lamp), client_type="lamp")
    client = device.connection.client
    assert client is not None
    assert lamp.call_event_handler("switch", 1, client) == ("switched", 1)
    assert lamp.call_event_handler("more", 1, client) == ("more", 1)
    for event in ("nosuch", "connect", "disconnect", "__init__", "colour"):
        assert lamp.call_event_handler(event, 1, client) == (None, None)


def test_adding_a_type_again_replaces_it_for_the_next_device() -> None:
    class Other(Lamp):
        def on_switch(self, message: Any, client: IoTClient) -> Any:
            return "other"

    manager = make_manager(Lamp("lamp"))
    old = v1_device(manager, "old", "lamp")
    manager.add_type(Other("lamp"))
    new = v1_device(manager, "new", "lamp")
    old.send("switch")
    new.send("switch")
    assert old.packets() == [("switched", "")]
    assert new.packets() == [("switch", "other")]
