"""What devices are told when the program is told to end, and who gets the signal then."""

from __future__ import annotations

import signal
import threading
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.manager import Manager
from iotio.hosts import signals
from iotio_protocol.reasons import DisconnectReason
from tests.support.hosts import eventually
from tests.support.memory import Device, make_manager, v1_device

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Server:
    """A server with a signal handler of its own, which Python runs when the main thread does: it must not block."""

    def __init__(self) -> None:
        self.got: list[int] = []

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.got.append(number)


class Plain(DeviceType):
    """Notes why its devices have gone."""

    def __init__(self) -> None:
        super().__init__("plain")
        self.gone: list[str] = []

    def on_disconnect(self, client: IoTClient, reason: DisconnectReason = DisconnectReason.REMOVED) -> None:
        self.gone.append(str(reason))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """One that has its handler for SIGTERM; no manager of another test is closed."""
    monkeypatch.setattr(signals, "_managers", weakref.WeakSet())
    monkeypatch.setattr(signals, "_previous", {})
    before = {number: signal.getsignal(number) for number in NUMBERS}
    found = Server()
    signal.signal(signal.SIGTERM, found.handle)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def watched(server: Server) -> tuple[Manager, Plain, Device]:
    """A manager that is watched, the type of its device, and the device: it answers no CLOSE by itself."""
    plain = Plain()
    manager = make_manager(plain)
    device = v1_device(manager, "d", "plain")
    device.frames()
    signals.watch(manager)
    return manager, plain, device


@pytest.mark.parametrize("number", NUMBERS)
def test_a_function_is_called_until_the_end(server: Server, number: signal.Signals) -> None:
    before = {one: signal.getsignal(one) for one in NUMBERS}
    got: list[int] = []

    def raise_both() -> None:
        with signals.handling(lambda number, frame: got.append(number)):
            signal.raise_signal(number)
            raise LookupError

    with pytest.raises(LookupError):
        raise_both()
    assert got == [number]
    assert {one: signal.getsignal(one) for one in NUMBERS} == before


def test_devices_are_told_before_the_servers_own_handler_runs(
    monkeypatch: pytest.MonkeyPatch, server: Server, watched: tuple[Manager, Plain, Device]
) -> None:
    manager, plain, device = watched
    monkeypatch.setattr(signals, "_GRACE", 0.05)
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: server.got != [])
    assert server.got == [signal.SIGTERM]
    assert device.close_code() == 1001
    assert plain.gone == ["server_shutdown"]
    assert v1_device(manager, "late", "plain").close_code() == 1001
    assert signal.getsignal(signal.SIGTERM) == server.handle


def test_a_device_that_answers_is_not_waited_for(server: Server, watched: tuple[Manager, Plain, Device]) -> None:
    _, plain, device = watched
    device.close(1001)
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: server.got != [], signals._GRACE)
    assert plain.gone == ["client_close"]


def test_the_end_of_the_interpreter_is_a_last_chance(
    monkeypatch: pytest.MonkeyPatch, server: Server, watched: tuple[Manager, Plain, Device]
) -> None:
    _, plain, device = watched
    monkeypatch.setattr(signals, "_LAST_GRACE", 0.05)
    signals._at_exit()
    assert (device.close_code(), plain.gone, server.got) == (1001, ["server_shutdown"], [])


def test_what_is_handled(server: Server, watched: tuple[Manager, Plain, Device]) -> None:
    """Python's own SIGINT handler ends the program through its exit."""
    assert signal.getsignal(signal.SIGTERM) is signals._on_signal
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signals.watch(make_manager())
    assert signals._previous == {signal.SIGTERM: server.handle}


@pytest.mark.parametrize(
    ("number", "handler", "ours"),
    [
        (signal.SIGTERM, signal.SIG_DFL, True),
        (signal.SIGTERM, signal.SIG_IGN, False),
        (signal.SIGINT, signal.SIG_DFL, False),
        (signal.SIGINT, lambda number, frame: None, True),
    ],
)
def test_what_is_left_alone(server: Server, number: signal.Signals, handler: Any, ours: bool) -> None:
    signal.signal(number, handler)
    signals.watch(make_manager())
    assert (signal.getsignal(number) is signals._on_signal) == ours


def test_outside_of_the_main_thread_no_signal_is_touched(server: Server) -> None:
    thread = threading.Thread(target=signals.watch, args=(make_manager(),))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == server.handle
