"""The callbacks of a whole server."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.callbacks import Callbacks
from iotio.core.manager import Manager
from tests.support.memory import make_manager, v1_device


@pytest.fixture
def manager() -> Manager:
    return make_manager(DeviceType("echo"), DeviceType("other"))


class Updates(Manager):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str, Any]] = []
        self.add_type(DeviceType("echo"))

    def on_update(self, client_id: str, event: str, data: Any) -> None:
        self.seen.append((client_id, event, data))


def test_on_update_hears_of_what_was_sent_and_of_ids_that_are_away() -> None:
    manager = Updates()
    v1_device(manager, "a")
    manager.emit("ev", 1, client_type="echo")
    manager.emit("ev", 2, "a", trigger_update=False)
    manager.emit("ev", 3, "x")
    manager.emit("ev", 4, "x", trigger_update=False)
    manager.log_update("by hand", "ev", 5)
    assert manager.seen == [("a", "ev", 1), ("x", "ev", 3), ("by hand", "ev", 5)]


def test_what_on_update_raises_is_logged(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    def on_update(client_id: str, event: str, data: Any) -> None:
        raise ValueError("no")

    assert manager.event(on_update) is on_update
    device = v1_device(manager, "a")
    assert manager.emit("ev", 1, "a").sent == 1
    assert device.packets() == [("ev", 1)]
    assert "Error when calling on_update handler: 'no'" in caplog.text
    for _ in range(50):
        manager.emit("ev", 1, "a")
    assert len([one for one in caplog.records if one.levelno == logging.ERROR]) == 10


def test_event_as_a_decorator(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    @manager.event
    def on_connect(client: IoTClient) -> None:
        seen.append(client.id)

    def on_nonsense(client: IoTClient) -> None: ...

    assert callable(on_connect)
    assert manager.event(on_nonsense) is False
    assert "'on_nonsense' is no event of the manager" in caplog.text
    v1_device(manager, "a")
    assert seen == ["a"]


def test_async_callbacks_of_the_manager() -> None:
    class Async(Manager):
        seen: list[str]

        async def on_connect(self, client: IoTClient) -> None:
            self.seen.append(f"+{client.id}")

        async def on_disconnect(self, client: IoTClient, reason: Any = None) -> None:
            self.seen.append(f"-{client.id} {reason}")

    manager = Async()
    manager.seen = []
    manager.add_type(DeviceType("echo"))
    v1_device(manager, "a").drop()
    assert manager.seen == ["+a", "-a transport_closed"]


def test_a_wrong_on_disconnect_of_the_manager_is_refused(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    def on_disconnect() -> None: ...

    class Subclass(Manager):
        def on_disconnect(self) -> None: ...

    message = r"the manager's on_disconnect must take \(client\) or \(client, reason\)"
    with pytest.raises(TypeError, match=message):
        manager.event(on_disconnect)
    with pytest.raises(TypeError, match=message):
        Subclass()
    manager.on_disconnect = on_disconnect  # past all checks: found when a device leaves, and logged
    v1_device(manager, "a").drop()
    assert manager.clients == []
    assert "the manager's on_disconnect must take (client) or (client, reason)" in caplog.text


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("on_connect", "(client)"),
        ("on_disconnect", "(client) or (client, reason)"),
        ("on_presence", "(client, old, new, reason)"),
        ("on_update", "(client_id, event, data)"),
        ("on_get_offline_validator", "(client_id, endpoint_id)"),
    ],
)
def test_a_callback_that_cannot_be_called(manager: Manager, name: str, parameters: str) -> None:
    def function(one: Any, two: Any, three: Any, four: Any, five: Any) -> None: ...

    function.__name__ = name
    text = rf"^the manager's {name} must take {re.escape(parameters)}$"
    with pytest.raises(TypeError, match=text):
        manager.event(function)
    subclass = type("Subclass", (Manager,), {name: lambda self: None})
    with pytest.raises(TypeError, match=text):
        subclass()


def test_a_name_that_is_nearly_one(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    def on_conect(client: Any) -> None: ...

    assert manager.event(on_conect) is False
    assert "'on_conect' is no event of the manager; did you mean on_connect? there are: on_conn" in caplog.text


def test_event_takes_the_function(manager: Manager) -> None:
    text = "write @manager.event, without 'on_connect', above a function that has the callback's name"
    with pytest.raises(TypeError, match=text):
        manager.event("on_connect")  # type: ignore[arg-type]  # that is the point


def test_callbacks_that_run_in_the_sender_are_def(manager: Manager) -> None:
    async def on_update(client_id: str, event: str, data: Any) -> None: ...

    with pytest.raises(TypeError, match="on_update must be a def"):
        manager.event(on_update)


# By itself, with any object as the source.


class Source:
    def on_disconnect(self, client: Any) -> None: ...
    def on_presence(self, client: Any, old: Any, new: Any, reason: Any) -> None: ...
    def on_state(self, device: Any, endpoint_id: str, old: Any, new: Any) -> None: ...
    def on_update(self, client_id: str, event: str, data: Any) -> None: ...


def test_a_callback_that_is_assigned_later_is_the_one_that_is_called() -> None:
    source, seen = Source(), list[Any]()
    callbacks = Callbacks(source)
    vars(source)["on_disconnect"] = lambda client, reason: seen.append((client, reason))
    handler = callbacks.disconnect_handler
    assert handler is not None
    handler("client", "reason")
    vars(source)["on_disconnect"] = lambda client: seen.append(client)
    handler("client", "reason")
    assert seen == [("client", "reason"), "client"]


def test_a_manager_of_its_own_class_tells_updates_and_others_do_not(manager: Manager) -> None:
    assert not manager.callbacks.tells_updates
    assert manager.callbacks.disconnect_handler is None
    assert manager.callbacks.presence_handler is None
    assert Updates().callbacks.tells_updates
    vars(manager)["on_update"] = print
    assert manager.callbacks.tells_updates


def test_wrong_callbacks_are_refused_at_once() -> None:
    source = Source()
    vars(source)["on_presence"] = lambda client: None
    with pytest.raises(TypeError, match="on_presence must take"):
        Callbacks(source)
