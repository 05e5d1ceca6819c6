"""The current device: set in every handler of a device, and nowhere else."""

from __future__ import annotations

from typing import Any

from iotio import DeviceType, IoTClient
from iotio.core.handles import current_client
from tests.support.memory import make_manager, v1_device


class Who(DeviceType):
    def __init__(self) -> None:
        super().__init__("echo")
        self.seen: list[str | None] = []

    def note(self) -> None:
        client = current_client.get(None)
        self.seen.append(None if client is None else client.id)

    def on_connect(self, client: IoTClient) -> None:
        self.note()

    def on_disconnect(self, client: IoTClient) -> None:
        self.note()

    def on_plain(self, message: Any, client: IoTClient) -> None:
        self.note()

    async def on_late(self, message: Any, client: IoTClient) -> None:
        self.note()


def test_every_handler_of_a_device_has_it_and_its_own() -> None:
    who = Who()
    manager = make_manager(who)
    one, two = v1_device(manager, "one"), v1_device(manager, "two")
    one.send("plain")
    two.send("late")
    one.send("late")
    one.drop()
    assert who.seen == ["one", "two", "one", "two", "one", "one"]
    assert current_client.get(None) is None


def test_a_takeover_runs_in_the_context_of_the_old_connection() -> None:
    seen: list[Any] = []

    class Takeover(DeviceType):
        def on_disconnect(self, client: IoTClient) -> None:
            seen.append(current_client.get() is client)

    manager = make_manager(Takeover("echo"))
    v1_device(manager)
    v1_device(manager)
    assert seen == [True]
