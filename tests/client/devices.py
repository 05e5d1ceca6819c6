"""Devices for tests: both clients, with the same handlers, run in a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

from iotio_client import AsyncIoTClient, Backoff, IoTClient
from iotio_protocol.options import Options

from .fake_server import TIMEOUT

FAST = Backoff(base=0.01, cap=0.02, random=lambda: 1.0)
OPTIONS = Options(close_timeout=1.0)


class Log:
    """What a device's handlers saw, in order."""

    def __init__(self) -> None:
        self._queue: Queue[tuple[Any, ...]] = Queue()

    def put(self, *entry: Any) -> None:
        self._queue.put(entry)

    def next(self) -> tuple[Any, ...]:
        return self._queue.get(timeout=TIMEOUT)

    def rest(self) -> list[tuple[Any, ...]]:
        entries = []
        while not self._queue.empty():
            entries.append(self._queue.get())
        return entries


class Handlers:
    """Handlers that note what they get. The async client takes plain methods too."""

    log: Log
    stop: Callable[[], None]

    def on_connect(self) -> None:
        self.log.put("connect")

    def on_disconnect(self) -> None:
        self.log.put("disconnect")

    def on_error(self, error: str) -> None:
        self.log.put("error", error)

    def on_hello(self, message: Any) -> tuple[str, Any]:
        self.log.put("hello", message)
        return "reply", message

    def on_echo(self, message: Any) -> Any:
        return message

    def on_raises(self, message: Any) -> None:
        raise ValueError("from the handler")

    def on_attribute(self, message: Any) -> Any:
        return message.no_such_attribute

    def on_quit(self, message: Any) -> str:
        self.stop()
        return "bye"


class SyncDevice(Handlers, IoTClient):
    log: Log


class AsyncDevice(Handlers, AsyncIoTClient):
    log: Log


Device = SyncDevice | AsyncDevice
Kind = type[SyncDevice] | type[AsyncDevice]


def make(kind: Kind, **arguments: Any) -> Device:
    """A device "d1" of the type "t"."""
    merged: dict[str, Any] = {"client_id": "d1", "client_type": "t", "options": OPTIONS, "backoff": FAST} | arguments
    device = kind(**merged)
    device.log = Log()
    return device


class Running:
    """`function(*args)` in a thread."""

    def __init__(self, function: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        self.error: BaseException | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, args=(function, args, kwargs), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[..., object], args: Any, kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except BaseException as error:
            self.error = error

    def stop(self) -> None:
        """Nothing to stop: the function belongs to no device."""

    def join(self) -> BaseException | None:
        """Wait for the end; returns what was raised."""
        self._thread.join(TIMEOUT)
        if self._thread.is_alive():
            getattr(self._function, "__self__", self).stop()  # so that the test ends, too
            raise AssertionError("it does not end")
        return self.error
