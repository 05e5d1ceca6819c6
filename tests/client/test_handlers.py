"""Which functions are handlers, and that nothing else can be called by a server."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from iotio_client import AsyncIoTClient, EndpointInfo, EndpointType, InvalidEndpoint, IoTClient
from iotio_client.handlers import Handlers


class Lamp(IoTClient):
    on_level = 5

    def on_light(self, message: Any) -> Any:
        return message

    @staticmethod
    def on_static(message: Any) -> Any:
        return message

    @property
    def on_property(self) -> int:
        raise AssertionError("read by nobody")

    def helper(self, message: Any) -> None:
        raise AssertionError("not a handler")


def find(client: Any, event: str) -> Any:
    return client._driver._handlers.find(event)


def test_methods() -> None:
    lamp = Lamp("d", "t")
    assert find(lamp, "light")(5) == 5
    assert find(lamp, "static")(6) == 6


@pytest.mark.parametrize(
    "event",
    ["connect", "disconnect", "error", "level", "property", "", "helper", "run", "__init__", "_log", "nothing"],
)
def test_nothing_else(event: str) -> None:
    assert find(Lamp("d", "t"), event) is None


def test_attributes_and_on() -> None:
    lamp = Lamp("d", "t")
    vars(lamp)["on_late"] = lambda message: "late"
    assert find(lamp, "late")(0) == "late"
    decorated = lamp.on("light")(lambda message: "new")
    assert find(lamp, "light") is decorated
    assert lamp.on_light(1) == "new"
    lamp.on("with blank")(str)
    assert find(lamp, "with blank") is str
    vars(lamp)["on_late"] = 5
    assert find(lamp, "late") is None


def test_on_checks() -> None:
    lamp = Lamp("d", "t")

    async def coroutine(message: Any) -> None: ...

    with pytest.raises(TypeError, match="AsyncIoTClient"):
        lamp.on("x")(coroutine)
    with pytest.raises(TypeError, match="must be a function"):
        lamp.on("x")(5)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="one argument"):
        lamp.on("x")(lambda: None)
    with pytest.raises(ValueError, match="one argument"):
        lamp.on("x")(lambda a, b: None)
    assert not hasattr(lamp, "on_x")


def test_on_of_the_async_client_wants_coroutine_functions() -> None:
    client = AsyncIoTClient("d", "t", {})
    with pytest.raises(ValueError, match=r"Functions wrapped with the client.on decorator must be asynchronous\."):
        client.on("x")(lambda message: None)

    @client.on("x")
    async def handler(message: Any) -> None: ...

    assert client.on_x is handler  # type: ignore[attr-defined]


def test_on_may_set_on_connect() -> None:
    lamp = Lamp("d", "t")
    called = []
    lamp.on("connect")(lambda: called.append(1))
    lamp.on_connect()
    assert called == [1]


def test_coroutine_method_of_the_sync_client() -> None:
    class Wrong(IoTClient):
        async def on_x(self, message: Any) -> None: ...

    with pytest.raises(TypeError, match="on_x is a coroutine function"):
        Wrong("d", "t")


def test_method_that_takes_no_message(caplog: pytest.LogCaptureFixture) -> None:
    class Timer(IoTClient):
        def on_timer(self) -> None: ...

    with caplog.at_level(logging.WARNING):
        assert find(Timer("d", "t"), "timer") is None
    assert "Timer.on_timer is not a handler" in caplog.text


def test_endpoints_are_declared_once() -> None:
    client = IoTClient("d", "t")
    for name in ("old", "new"):
        client.on("e", EndpointInfo(name, EndpointType.BOOLEAN))(str)
    client.on("e")(repr)
    declared = dict(client._session.identity.headers())["IoT-IO-Endpoints"]
    assert declared == '[{"id": "e", "name": "new", "type": "boolean", "specialId": null, "constraints": null}]'
    with pytest.raises(InvalidEndpoint):
        client.on("f", EndpointInfo("n", EndpointType.ENUM))


def test_the_names_of_all_handlers() -> None:
    class Lamp:
        def on_light(self, message: Any) -> None: ...
        def on_connect(self) -> None: ...

    lamp = Lamp()
    lamp.on_sound = print  # type: ignore[attr-defined]
    lamp.on_word = "no function"  # type: ignore[attr-defined]
    assert Handlers(lamp, allow_async=False, logger=logging.getLogger("iotio.client.x")).names() == ["light", "sound"]
