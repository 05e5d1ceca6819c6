"""Devices on both kinds of lanes over one manager, without a network: threads, and a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol

from iotio import IoTClient
from iotio.core.connection import Connection
from iotio.core.manager import Manager
from iotio.core.primitives import Signal, start_thread, wait
from iotio.core.waiting import loop_runs_here
from iotio.hosts.memory import MemoryConnection
from iotio.hosts.native.connection import NativeConnection
from iotio.hosts.native.host import NativeHost
from iotio_protocol import v1
from tests.support.wire import Opcode, encode_frame, v1_headers

__all__ = ["DeviceEnd", "LoopDevices", "Scopes", "ThreadConnection", "ThreadDevices"]

WAIT = 10.0  # seconds; nothing here takes as long


class DeviceEnd(Protocol):
    """The device's end of a connection; each method returns when the server has read it."""

    @property
    def connection(self) -> Connection: ...
    def connect(self) -> None: ...
    def send(self, *events: tuple[str, Any]) -> None: ...
    def close(self) -> None: ...
    def drop(self) -> None: ...


class ThreadConnection(MemoryConnection):
    """A connection in memory whose threads really wait."""

    def wait_for(self, signal: Signal, timeout: float) -> bool:
        return wait(signal, timeout)

    def run_aside(self, function: Callable[[], None]) -> None:
        """Run a function where it may wait: not on the loop of other devices."""
        if loop_runs_here():
            start_thread(function)
        else:
            function()


class _ThreadDevice:
    def __init__(self, manager: Manager, client_id: str, client_type: str, scope: Any) -> None:
        self.connection: ThreadConnection = ThreadConnection(manager, v1_headers(client_id, client_type), scope=scope)
        manager.connections.attach(self.connection)

    def connect(self) -> None:
        self.connection.start()

    def send(self, *events: tuple[str, Any]) -> None:
        self.connection.deliver(frames(events))

    def close(self) -> None:
        self.connection.deliver(encode_frame(Opcode.CLOSE, b"\x03\xe8"))
        self.drop()

    def drop(self) -> None:
        self.connection.deliver(b"")


class ThreadDevices:
    """Makes devices that are served by the thread that calls their methods."""

    def __init__(self, manager: Manager, scope: Any = None) -> None:
        self._manager = manager
        self._scope = scope

    def make(self, client_id: str, client_type: str = "kind") -> DeviceEnd:
        return _ThreadDevice(self._manager, client_id, client_type, self._scope)


class _Transport(asyncio.Transport):
    """The stream of a device: its end follows ours."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self.written: list[bytes] = []
        self.gone: Callable[[], None] = lambda: None
        self._readable = threading.Event()
        self._readable.set()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._loop.call_soon(self._end)

    def close(self) -> None:
        self._loop.call_soon(self._end)

    abort = close

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()

    def wait_readable(self) -> None:
        assert self._readable.wait(WAIT)

    def _end(self) -> None:
        gone, self.gone = self.gone, lambda: None
        gone()


class _LoopDevice:
    def __init__(self, host: NativeHost, client_id: str, client_type: str, scope: Any) -> None:
        self._loop = host.loop
        self._transport = _Transport(host.loop)
        headers = v1_headers(client_id, client_type)
        self.connection: NativeConnection = self._on_loop(
            lambda: NativeConnection(host, headers, self._transport, peer="1.2.3.4:5", scope=scope)
        )
        self._transport.gone = self.connection.ended

    def connect(self) -> None:
        self._on_loop(self.connection.start)

    def send(self, *events: tuple[str, Any]) -> None:
        self._transport.wait_readable()
        self._on_loop(lambda: self.connection.received(frames(events)))

    def close(self) -> None:
        self._transport.wait_readable()
        self._on_loop(lambda: self.connection.received(encode_frame(Opcode.CLOSE, b"\x03\xe8")))

    def drop(self) -> None:
        self._transport.wait_readable()
        self._on_loop(self.connection.stream_ended)

    def _on_loop(self, function: Callable[[], Any]) -> Any:
        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(WAIT)


class LoopDevices:
    """Makes devices of a native host, on a loop in a thread of its own; a context manager."""

    def __init__(self, manager: Manager, scope: Any = None) -> None:
        self._manager = manager
        self._scope = scope
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> LoopDevices:
        self._thread.start()

        async def begin() -> NativeHost:
            return NativeHost(self._manager)

        self.host = asyncio.run_coroutine_threadsafe(begin(), self._loop).result(WAIT)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self.host.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()

    def make(self, client_id: str, client_type: str = "kind") -> DeviceEnd:
        return _LoopDevice(self.host, client_id, client_type, self._scope)


def frames(events: tuple[tuple[str, Any], ...]) -> bytes:
    return b"".join(encode_frame(Opcode.BINARY, v1.encode(event, value)) for event, value in events)


_inside: ContextVar[int] = ContextVar("inside")


class Scopes:
    """Counts scopes that are entered and left, each by its number in the context where it was entered."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.entered: list[int] = []
        self.left: list[int] = []

    def is_inside(self) -> bool:
        """Whether the caller is in the context of a scope."""
        return _inside.get(0) != 0

    def __call__(self, client: IoTClient) -> Any:
        scopes, number = self, next(self._numbers)

        class Scope:
            def __enter__(self) -> None:
                self.token = _inside.set(number)
                scopes.entered.append(number)

            def __exit__(self, *error: object) -> None:
                if _inside.get() == number:
                    scopes.left.append(number)
                _inside.reset(self.token)  # raises in any other context

        return Scope()
