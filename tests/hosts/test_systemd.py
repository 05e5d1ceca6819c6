"""What systemd is told of the server, by a datagram socket like its own and by real programs."""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from iotio import IoTManager
from iotio.hosts import systemd
from iotio.hosts.systemd import tell_ready, tell_stopping
from tests.load.harness import Device
from tests.support.processes import START_SECONDS, Program, free_port


@pytest.fixture(autouse=True)
def _untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has said yet that this process is ready."""
    monkeypatch.setattr(systemd, "_told_ready", False)


@pytest.fixture(params=["path", "abstract"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The value of NOTIFY_SOCKET."""
    if request.param == "path":
        return str(tmp_path / "notify")
    if sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    return f"@iotio-test/{os.getpid()}"


@pytest.fixture
def manager_of_services(name: str) -> Iterator[socket.socket]:
    """The socket at which systemd would listen."""
    with listening(name) as sock:
        yield sock


def listening(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(START_SECONDS)
    sock.bind(f"\0{name[1:]}" if name.startswith("@") else name)
    return sock


def is_told_nothing(sock: socket.socket) -> bool:
    return select.select([sock], [], [], 0) == ([], [], [])


def test_ready_and_stopping(name: str, manager_of_services: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    tell_stopping()
    assert is_told_nothing(manager_of_services), "this process has not said that it is ready"
    tell_ready()
    assert manager_of_services.recv(4096) == b"READY=1"
    tell_stopping()
    assert manager_of_services.recv(4096) == b"STOPPING=1"
    tell_stopping()
    assert is_told_nothing(manager_of_services)


@pytest.mark.parametrize("value", [None, ""])
def test_without_systemd_nothing_is_done(
    value: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if value is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", value)
    with caplog.at_level(logging.DEBUG, "iotio"):
        tell_ready()
        tell_stopping()
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("vsock:2:1234", "it is no Unix socket"),
        ("/nosuch/notify", "[Errno 2] No such file or directory"),
        ("/" + "long/" * 100, "AF_UNIX path too long"),
    ],
)
def test_a_failure_is_one_line(
    value: str, error: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", value)
    with caplog.at_level(logging.DEBUG, "iotio"):
        tell_ready()
        tell_stopping()
    assert caplog.messages == [f"NOTIFY_SOCKET={value} could not be told READY=1: {error}"]


def test_python_without_unix_sockets(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.delattr(socket, "AF_UNIX")
    with caplog.at_level(logging.DEBUG, "iotio"):
        tell_ready()
    assert [one.levelno for one in caplog.records] == [logging.DEBUG]


def test_who_does_not_read_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(systemd, "_SECONDS", 0.05)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with listening(str(tmp_path / "notify")), caplog.at_level(logging.DEBUG, "iotio"):
        for _ in range(10_000):  # until the queue is full
            tell_ready()
            if caplog.messages:
                break
    assert caplog.messages == [f"NOTIFY_SOCKET={tmp_path}/notify could not be told READY=1: timed out"]


async def test_a_program_that_goes_on_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server has ended, and begins anew; systemd would kill it in between."""
    name = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    manager = IoTManager()
    with listening(name) as told:
        with manager.started():
            assert told.recv(4096) == b"READY=1"
        assert is_told_nothing(told)
        async with manager.started():
            assert told.recv(4096) == b"READY=1"
        assert is_told_nothing(told)
    manager.close()


PROGRAM = """
import sys
from iotio import DeviceType, IoTManager

manager = IoTManager()

class Plain(DeviceType):
    def on_echo(self, message, client):
        return message

manager.add_type(Plain("plain"))

@manager.event
def on_start():
    print("starting", flush=True)
    sys.stdin.readline()
"""
ENDS = {
    "iotio run": "",
    "run": "manager.run('127.0.0.1', {port})",
    "serve": "import asyncio\nasyncio.run(manager.serve('127.0.0.1', {port}))",
    "start": "manager.start(port={port})\nimport threading\nthreading.Event().wait()",
}
STATUS = {"serve": -signal.SIGTERM, "start": -signal.SIGTERM}  # the signal is the program's, and ends it


@pytest.mark.parametrize("way", ENDS)
def test_a_server_tells_when_it_listens_and_when_it_ends(way: str, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "server.py").write_text(PROGRAM + ENDS[way].format(port=port), encoding="utf-8")
    command = [sys.executable, "server.py"]
    if way == "iotio run":
        command = [sys.executable, "-m", "iotio", "run", "server.py", "--host", "127.0.0.1", "--port", str(port)]
    name = str(tmp_path / "notify")
    with (
        listening(name) as told,
        Program(command, folder=tmp_path, environment={"NOTIFY_SOCKET": name}) as server,
    ):
        server.wait_line("starting", START_SECONDS)
        assert is_told_nothing(told), "no device is served yet"
        server.send_line("go on")
        assert told.recv(4096) == b"READY=1"
        with Device(port, "d", "plain") as device:
            device.echo("x")
            assert is_told_nothing(told)
            server.signal(signal.SIGTERM)
            assert told.recv(4096) == b"STOPPING=1"
            assert device.expect_frame(10).close_code == 1001
        assert server.wait() == STATUS.get(way, 0)
        assert is_told_nothing(told)
