"""The functions of the module: emit, call and rooms in handlers and in Flask's views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import pytest

import iotio
from iotio import IoTManager
from tests.test_app import Ctx, device, end


@pytest.fixture
def app() -> flask.Flask:
    return flask.Flask("ctx app")


@pytest.fixture
def manager(app: flask.Flask) -> Iterator[IoTManager]:
    found = IoTManager(app)
    found.add_type(Ctx("ctx"))
    yield found
    end(found)


def test_functions_without_a_target_mean_the_current_device(manager: IoTManager) -> None:
    a, b = device(manager, "a"), device(manager, "b")
    a.send("emit", 1)
    assert (a.packets(), b.packets()) == ([("mine", 1)], [])
    a.send("join", "r")
    assert a.packets() == [("join", True)]
    assert manager.rooms == {"r": ["a"]}
    a.send("leave", "r")
    assert a.packets() == [("leave", True)]
    a.send("late")
    assert a.packets() == [("mine", "ctx app"), ("late", "a")]


def test_functions_with_a_target(manager: IoTManager) -> None:
    a, b = device(manager, "a"), device(manager, "b")
    a.send("all", 1)
    assert (a.packets(), b.packets()) == ([("sent", 1)], [("all", 1)])
    a.send("join_other", "b")
    assert manager.rooms == {"room": ["b"]}
    a.send("leave_other", "b")
    assert manager.rooms == {}
    a.send("join_other", "b")
    a.send("close", "room")
    assert [value for _, value in a.packets()] == [True, True, True, 1]


def test_functions_in_a_view(app: flask.Flask, manager: IoTManager) -> None:
    a = device(manager)

    @app.get("/push")
    def push() -> Any:
        iotio.join("r", "a")
        sent = iotio.emit("x", 1, room="r").sent
        iotio.leave("r", client="a")
        return {"sent": sent, "closed": iotio.close_room("r")}

    @app.get("/wrong")
    def wrong() -> Any:
        with pytest.raises(RuntimeError, match=r"call\(\) works in a device's handler only"):
            iotio.call("x")
        with pytest.raises(RuntimeError, match=r"emit\(\) without client_id=, .* works in a device's handler only"):
            iotio.emit("x", 1)
        with pytest.raises(RuntimeError, match=r"join\(\) without client="):
            iotio.join("r")
        with pytest.raises(RuntimeError, match=r"leave\(\) without client="):
            iotio.leave("r")
        return "right"

    assert app.test_client().get("/push").json == {"sent": 1, "closed": 0}
    assert app.test_client().get("/wrong").text == "right"
    assert a.packets() == [("x", 1)]
    with app.app_context():
        assert iotio.emit("x", 1, "a").sent == 1


def test_functions_nowhere(manager: IoTManager) -> None:
    for call in (
        lambda: iotio.emit("x", 1),
        lambda: iotio.emit("x", 1, "a"),
        lambda: iotio.join("r"),
        lambda: iotio.join("r", "a"),
        lambda: iotio.leave("r"),
        lambda: iotio.leave("r", "a"),
        lambda: iotio.close_room("r"),
    ):
        with pytest.raises(RuntimeError, match="handler"):
            call()
    with flask.Flask("bare").app_context(), pytest.raises(RuntimeError, match="has no IoTManager"):
        iotio.close_room("r")


def test_functions_to_devices_and_to_all(manager: IoTManager) -> None:
    a, b = device(manager, "a"), device(manager, "b")
    with manager.app.app_context():
        assert iotio.emit("x", 1, to=manager.device("b")).sent == 1
        assert iotio.emit("y", 2, broadcast=True).sent == 2
        with pytest.raises(TypeError, match="'to' says which devices get the event: leave out 'room'"):
            iotio.emit("x", 1, to="a", room="r")
    assert (a.packets(), b.packets()) == ([("y", 2)], [("x", 1), ("y", 2)])


def test_skip_needs_a_target(manager: IoTManager) -> None:
    with pytest.raises(ValueError, match="'skip' needs client_type= or room="):
        iotio.emit("x", 1, skip="a")
