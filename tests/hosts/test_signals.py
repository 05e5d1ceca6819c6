"""What devices are told when the program is told to end, and who gets the signal then."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from iotio import DeviceType, IoTClient
from iotio.core.manager import Manager
from iotio.hosts import signals
from iotio_protocol.reasons import DisconnectReason
from tests.support.hosts import eventually
from tests.support.memory import Device, make_manager, v1_device
from tests.support.processes import Program, free_port, python_program, wait_until_listening
from tests.support.wire import RawPeer, v1_headers

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROGRAM = Path(__file__).parent / "programs" / "signalled.py"


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
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
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
    assert signals._previous == {signal.SIGTERM: server.handle, signal.SIGHUP: signal.SIG_DFL}


@pytest.mark.parametrize(
    ("number", "handler", "ours"),
    [
        (signal.SIGTERM, signal.SIG_DFL, True),
        (signal.SIGTERM, signal.SIG_IGN, False),
        (signal.SIGINT, signal.SIG_DFL, False),
        (signal.SIGINT, lambda number, frame: None, True),
        (signal.SIGHUP, signal.SIG_DFL, True),
        (signal.SIGHUP, signal.SIG_IGN, False),
        (signal.SIGHUP, lambda number, frame: None, False),
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


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_a_server_leaves_a_handled_sighup_alone(server: Server, handler: Any) -> None:
    signal.signal(signal.SIGHUP, handler)
    with signals.handling(server.handle):
        assert signal.getsignal(signal.SIGHUP) is handler
        assert signal.getsignal(signal.SIGINT) == server.handle


# Programs.

KINDS = ("native", "gevent", "flask")


def device(port: int) -> RawPeer:
    """One that is let in."""
    peer = RawPeer("127.0.0.1", port)
    assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
    peer.send_frame(9, b"in?")
    assert peer.expect_frame().payload == b"in?"
    return peer


def answer_close(peer: RawPeer) -> None:
    assert peer.expect_frame().close_code == 1001
    peer.send_close(1001)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_tells_its_devices_and_ends(kind: str, number: signal.Signals) -> None:
    port = free_port()
    with Program(python_program(PROGRAM, kind, str(port))) as program:
        wait_until_listening(port, program)
        with device(port) as peer:
            program.signal(number)
            answer_close(peer)
            status = program.wait()
        assert "gone d " in program.output
        assert status in {"native": (0,)}.get(kind, (-number, 128 + number))


@pytest.mark.parametrize("kind", KINDS)
def test_so_does_the_first_process_of_a_container(kind: str) -> None:
    """It gets no signal whose action is the default one."""
    alone = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("no process of this user may have a namespace of its own")
    port = free_port()
    with Program([*alone, *python_program(PROGRAM, kind, str(port))]) as program:
        wait_until_listening(port, program)
        with device(port) as peer:
            children = Path(f"/proc/{program.process.pid}/task/{program.process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGTERM)
            answer_close(peer)
            assert program.wait() == (0 if kind == "native" else 128 + signal.SIGTERM)
        assert "gone d " in program.output


@pytest.mark.parametrize("kind", KINDS)
def test_so_does_a_program_whose_terminal_is_closed(kind: str) -> None:
    port = free_port()
    ours, theirs = os.openpty()
    reading, telling = os.pipe()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, PROGRAM, kind, str(port)],
        stdin=theirs, stdout=theirs, stderr=theirs, pass_fds=[telling], preexec_fn=take_terminal,
        env={**os.environ, "TOLD": str(telling)},
    )  # fmt: skip
    try:
        os.close(theirs)
        os.close(telling)
        eventually(lambda: is_listening(port), 20)
        with device(port) as peer:
            os.close(ours)
            answer_close(peer)
            assert process.wait(10) == (0 if kind == "native" else 128 + signal.SIGHUP)
        with open(reading) as told:
            assert "gone d " in told.read()
    finally:
        process.kill()
        process.wait()


def is_listening(port: int) -> bool:
    try:
        RawPeer("127.0.0.1", port).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_under_nohup_a_program_goes_on(kind: str) -> None:
    port = free_port()
    with Program(["nohup", *python_program(PROGRAM, kind, str(port))]) as program:
        wait_until_listening(port, program)
        with device(port) as peer:
            program.signal(signal.SIGHUP)
            peer.send_frame(9, b"still?")
            assert peer.expect_frame().payload == b"still?"
            program.signal(signal.SIGTERM)
            answer_close(peer)
            program.wait()
