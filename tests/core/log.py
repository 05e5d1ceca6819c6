"""A device type that writes down what is called."""

from __future__ import annotations

from typing import Any

from iotio import DeviceType, DisconnectReason, IoTClient


class Log(DeviceType):
    """Writes down what is called, in order."""

    def __init__(self, type_name: str = "echo", calls: list[Any] | None = None) -> None:
        super().__init__(type_name)
        self.calls: list[Any] = [] if calls is None else calls

    def on_connect(self, client: IoTClient) -> Any:
        self.calls.append("connect")

    # The default is for the type checker: the base class has no reason.
    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> Any:
        self.calls.append(f"disconnect {reason}")

    def on_echo(self, message: Any, client: IoTClient) -> Any:
        self.calls.append(message)
        return message
