"""Processes that handlers start have nothing of the server."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import flask
import pytest

from iotio import IoTManager
from iotio.hosts import forks
from iotio_protocol import v2
from iotio_protocol.v1 import encode
from tests.support.memory import make_manager
from tests.support.processes import Program, python_program
from tests.support.v2 import V2Device
from tests.support.wire import Opcode, RawPeer, v1_headers

PROGRAM = Path(__file__).with_name("programs") / "forking.py"
HOSTS = ("native", "async", "asgi", "gevent", "flask")

if not hasattr(os, "fork"):
    pytest.skip("needs fork", allow_module_level=True)


@contextmanager
def serving(host: str, *arguments: str) -> Iterator[tuple[Program, int]]:
    """The program, and its port."""
    with Program(python_program(PROGRAM, host, *arguments)) as program:
        try:
            yield program, int(program.wait_line("ready", 20).split()[1])
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.process.pid, signal.SIGKILL)  # its children, too


def device(port: int, name: str) -> RawPeer:
    """A v1 device."""
    peer = RawPeer("127.0.0.1", port)
    assert peer.upgrade(headers=v1_headers(name, "forker")).status == 101
    return peer


def start(program: Program, peer: RawPeer, how: str) -> int:
    """Have the handler start a process. Returns its id, once it runs."""
    before = len(program.lines)
    peer.send_frame(Opcode.BINARY, encode("start", how))
    answer = peer.recv_frame()
    assert answer is not None
    assert how.encode() in answer.payload
    return int(program.wait_line(lambda line: line.startswith("child "), 20, start=before).split()[1])


def ends_at_once(peer: RawPeer) -> bool:
    """Whether the stream of a device has ended."""
    peer.socket.settimeout(2)
    try:
        return peer.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def check_port(port: int) -> None:
    """See that nobody listens, and that a new server may."""
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()


@pytest.mark.parametrize("how", ["sleep", "subprocess", "fork"])
@pytest.mark.parametrize("host", HOSTS)
def test_devices_and_port_of_a_killed_server(host: str, how: str) -> None:
    """A child that lives on does not hold them."""
    with serving(host) as (program, port), device(port, "one") as one, device(port, "two") as two:
        start(program, one, how)
        program.signal(signal.SIGKILL)
        program.process.wait()
        assert ends_at_once(one)
        assert ends_at_once(two)
        check_port(port)


@pytest.mark.parametrize("host", HOSTS)
def test_the_server_goes_on(host: str) -> None:
    with serving(host) as (program, port), device(port, "one") as one, device(port, "two") as two:
        for _ in range(3):
            start(program, one, "sleep")
        start(program, two, "sleep")
        with device(port, "three") as three:
            start(program, three, "sleep")
        if host != "async":
            assert program.wait_line("gone three").endswith(f" in {program.process.pid}")


def test_an_async_handler_that_returns_to_the_loop_in_the_child() -> None:
    """Nothing that comes for the server is taken by its child."""
    with serving("async") as (program, port), device(port, "one") as one, device(port, "two") as two:
        start(program, one, "return")
        start(program, two, "sleep")
        for number in range(30):
            with device(port, f"later{number}"):
                pass


@pytest.mark.parametrize("host", HOSTS)
def test_a_manager_in_a_forked_child_says_where_it_belongs(host: str) -> None:
    with serving(host) as (program, port), device(port, "one") as one:
        start(program, one, "use")
        program.wait_line("signals")
        found = {line.split()[2]: line.split(" ", 3)[3] for line in program.lines if line.startswith("child")}
        signals = found.pop("signals")
        assert signals == "usual" or host == "asgi", "uvicorn's own are uvicorn's"
        assert "_on_signal" not in signals
        for name, raised in found.items():
            assert raised.startswith("RuntimeError: "), (name, raised)
            if name != "client.call" or host != "async":  # it says first that a loop runs here
                assert f"process {program.process.pid} serves the devices" in raised, (name, raised)


@pytest.mark.parametrize("host", HOSTS)
def test_the_end_of_a_child_ends_no_connection(host: str, tmp_path: Path) -> None:
    with serving(host, f"sqlite:///{tmp_path}/iotio.db") as (program, port), device(port, "one") as one:
        start(program, one, "exit")
        start(program, one, "sleep")
        assert not any(line.startswith("gone") for line in program.lines), program.output


@pytest.mark.parametrize("host", HOSTS)
def test_sys_exit_ends_the_child_that_a_handler_has_forked(host: str) -> None:
    with serving(host) as (program, port), device(port, "one") as one:
        start(program, one, "sys.exit")
        program.wait_line("ended with 3", 10)
        start(program, one, "sleep")


@pytest.mark.parametrize("host", HOSTS)
def test_sys_exit_ends_the_child_of_a_durable_messages_handler(host: str) -> None:
    with serving(host) as (program, port), V2Device(port, "one", "forker", {"sends": "S"}) as one:
        one.send_packet(v2.encode("start", "sys.exit", v2.DURABLE, number=1, previous=0))
        program.wait_line("ended with 3", 10)


def test_a_process_that_is_spawned_loads_the_program_without_its_store(tmp_path: Path) -> None:
    with serving("native", f"sqlite:///{tmp_path}/iotio.db") as (program, port), device(port, "one") as one:
        start(program, one, "spawn")
        program.signal(signal.SIGKILL)
        program.process.wait()
        assert ends_at_once(one)
        check_port(port)


def test_a_manager_that_nobody_has_used_is_the_childs_own() -> None:
    """gunicorn --preload, and `multiprocessing.Process(target=manager.run)`."""
    manager = IoTManager()
    child = os.fork()
    if not child:
        os._exit(0 if manager.clients == [] and not manager._disowned else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_manager_that_is_disowned() -> None:
    manager = make_manager()
    forks.check(manager)
    forks.disown(manager, "use it elsewhere")
    for use in (lambda: manager.clients, manager.close, lambda: forks.check(manager), manager.registry.lock.acquire):
        with pytest.raises(RuntimeError, match=r"^use it elsewhere$"):
            use()
    manager.registry.lock.release()


def test_no_device_is_served_by_a_worker_that_was_forked_from_a_program_with_a_store(tmp_path: Path) -> None:
    """As gunicorn's --preload does."""
    app = flask.Flask("x")
    manager = IoTManager(app, store=f"sqlite:///{tmp_path}/iotio.db")
    try:
        read, write = os.pipe()
        child = os.fork()
        if not child:
            answers = [app.test_client().get("/iot.io") for _ in range(3)]
            os.write(write, f"{answers[-1].status} {answers[-1].text}{manager._disowned}".encode())
            os._exit(0)
        os.close(write)
        with open(read) as file:
            answer, why = file.read().split("\n")
        assert answer == "503 Service Unavailable This process serves no devices."
        assert why.startswith(f"process {os.getpid()} has opened the store of this IoTManager, and ")
        os.waitpid(child, 0)
    finally:
        manager.close()
