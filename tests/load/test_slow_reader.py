"""A device that stops reading holds up nobody, and its queue is bounded."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from iotio import DeviceType, IoTClient, Options
from iotio.core.manager import Manager
from iotio.hosts.blocking.connection import SocketConnection
from iotio.hosts.blocking.loop_thread import LoopThread
from iotio.hosts.blocking.threads import ThreadWaits
from iotio_protocol import v1
from iotio_protocol.values import Value
from tests.load.conftest import StartServer
from tests.load.harness import HOSTS, Device, report
from tests.support.wire import Opcode, encode_frame, v1_headers

pytestmark = pytest.mark.load

MIB = 1024 * 1024
COUNT = 20
MAX_OUTBOX = 4 * MIB


def read_blobs(device: Device) -> list[float]:
    """Take all blobs of the broadcast. Returns when each was there."""
    times = []
    for number in range(COUNT):
        event, value = device.packet(30)
        assert event == "blob"
        assert isinstance(value, bytes)
        assert len(value) == MIB
        assert value[:4] == number.to_bytes(4, "big")
        times.append(time.perf_counter())
    return times


@pytest.mark.parametrize("host", HOSTS)
def test_one_device_stops_reading(start_server: StartServer, host: str) -> None:
    server = start_server(host, max_outbox=MAX_OUTBOX, close_timeout=1.0)
    with ExitStack() as stack:
        readers = [stack.enter_context(Device(server.port, f"reader {n}")) for n in range(4)]
        stopped = stack.enter_context(Device(server.port, "stopped"))
        stopped.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        for device in (*readers, stopped):
            device.echo("ready")
        with ThreadPoolExecutor(len(readers)) as pool:
            began = time.perf_counter()
            waiting = [pool.submit(read_blobs, reader) for reader in readers]
            answer = server.post("/broadcast", type="plain", count=COUNT, size=MIB, pause=0.02)
            times = [future.result(40) for future in waiting]
        results = answer["results"]
        dropped = [result["dropped"] for result in results]
        first = next(n for n, one in enumerate(dropped) if one)
        assert dropped[first] == {"stopped": "backpressure"}
        assert not any(dropped[:first] + dropped[first + 1 :])
        assert [result["sent"] for result in results] == [5] * first + [4] * (COUNT - first)
        assert [result["offline"] for result in results[first + 1 :]] in (
            [["stopped"]] * (COUNT - first - 1),  # still known, out of reach
            [[]] * (COUNT - first - 1),
        )
        assert answer["outbox"] <= MAX_OUTBOX + 1024  # the CLOSE frame comes on top
        assert answer["longest"] < 1.0
        stats = server.settle(lambda stats: stats["clients"] == 4)
        lines = server.journal("stopped")
        assert lines == ["connect", "connected", "disconnect backpressure", "disconnected"]
        for reader in readers:
            reader.echo("still here")
        server.settle(lambda stats: stats["sockets"] == 4)
    late = max(max(one) for one in times) - began
    assert late < 10
    server.settle(lambda stats: stats["sockets"] == 0)
    server.assert_quiet()
    report(
        "slow reader",
        host=host,
        seconds=late,
        longest_emit=answer["longest"],
        outbox=answer["outbox"],
        let_go_after=first,
        memory_kib=stats["memory"],
    )


@pytest.mark.parametrize("host", HOSTS)
def test_a_stopped_device_that_wakes_up_in_time_gets_all_and_the_close_frame(
    start_server: StartServer, host: str
) -> None:
    server = start_server(host, max_outbox=MAX_OUTBOX, close_timeout=10.0)
    with Device(server.port, "stopped", timeout=20) as stopped:
        stopped.echo("ready")
        answer = server.post("/broadcast", type="plain", count=COUNT, size=MIB)
        sent = sum(result["sent"] for result in answer["results"])
        assert 0 < sent < COUNT
        for number in range(sent):
            event, value = stopped.packet()
            assert event == "blob"
            assert isinstance(value, bytes)
            assert value[:4] == number.to_bytes(4, "big")
        assert stopped.expect_frame().close_code == 1008
        stopped.send_close(1008)
        assert stopped.recv_frame() is None
    server.settle(lambda stats: stats["sockets"] == 0)
    server.assert_quiet()


REPLIES: dict[str, bytes] = {
    "ping": encode_frame(Opcode.PING, bytes(125)),
    "invalid packet": encode_frame(Opcode.BINARY, b""),
    "echo": encode_frame(Opcode.BINARY, v1.encode("echo", "x" * 1000)),
}


@pytest.mark.parametrize("host", ["native", "gevent", "flask"])
@pytest.mark.parametrize("what", REPLIES)
def test_replies_to_a_device_that_never_reads_are_bounded_too(start_server: StartServer, host: str, what: str) -> None:
    """Every buffer is bounded, whatever the device makes the server answer with: pongs, errors, echoes."""
    server = start_server(host, max_outbox=MIB, close_timeout=1.0)
    flood = REPLIES[what] * (256 * 1024 // len(REPLIES[what]))
    largest = 0
    with Device(server.port, "flood", timeout=5) as device, Device(server.port, "canary") as canary:
        device.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        device.echo("ready")
        before = server.stats()["memory"]
        try:
            for _ in range(120):
                device.send_bytes(flood)
                largest = max(largest, server.get("/pending").get("flood", 0))
                canary.echo("still here")
        except (TimeoutError, ConnectionError):
            pass  # it has been let go
        grown = server.stats()["memory"] - before
    report("never reads", host=host, what=what, outbox=largest, grown_kib=grown)
    assert largest <= 2 * MIB  # what one read brings may be answered on top
    server.settle(lambda stats: stats["sockets"] == 0)
    assert server.journal("flood")[2] == "disconnect backpressure"
    server.assert_quiet()


@pytest.mark.parametrize("host", HOSTS)
def test_devices_come_and_go_during_a_broadcast(start_server: StartServer, host: str) -> None:
    server = start_server(host, close_timeout=0.3)
    stop = threading.Event()
    failures: list[BaseException] = []
    counts = [0] * 4

    def come_and_go(number: int) -> None:
        try:
            while not stop.is_set():
                with Device(server.port, f"visitor {number} {counts[number] % 5}") as device:
                    if counts[number] % 3 == 0:
                        device.reset()
                    elif counts[number] % 3 == 1:
                        device.send("join", "hall")
                        device.send_close()
                counts[number] += 1
        except BaseException as error:
            failures.append(error)

    with Device(server.port, "stays") as stays, ThreadPoolExecutor(1) as pool:
        stays.echo("ready")
        visitors = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
        for visitor in visitors:
            visitor.start()
        reading = pool.submit(lambda: [number_of(stays.packet(30)[1]) for _ in range(400)])
        try:
            answer = server.post("/broadcast", type="plain", count=400, size=10_000, pause=0.005)
            assert reading.result(40) == list(range(400))
        finally:
            stop.set()
            for visitor in visitors:
                visitor.join()
        assert failures == []
        assert all(result["sent"] >= 1 and not result["dropped"] for result in answer["results"])
    server.settle(lambda stats: stats["sockets"] == 0 and stats["clients"] == 0 and stats["rooms"] == 0)
    server.assert_quiet()
    report("come and go", host=host, connections=sum(counts))


def number_of(value: Value) -> int:
    """The number at the beginning of a blob."""
    assert isinstance(value, bytes)
    return int.from_bytes(value[:4], "big")


def test_a_broadcast_goes_on_where_no_descriptor_is_left_for_a_slow_device() -> None:
    """To drain an outbox takes a descriptor; a device for which there is none left is let go, the others are served."""
    manager = Manager(options=Options(close_timeout=0.2))
    connected = threading.Semaphore(0)

    class Plain(DeviceType):
        def on_connect(self, client: IoTClient) -> None:
            connected.release()

    manager.add_type(Plain("plain"))
    loop_thread = LoopThread(manager)
    with ExitStack() as stack:
        serving, theirs = [], []
        for number in range(3):
            server_end, device_end = socket.socketpair()
            stack.enter_context(server_end)
            theirs.append(stack.enter_context(device_end))
            server_end.setblocking(False)
            headers = v1_headers(f"d{number}", "plain")
            waits = ThreadWaits(server_end)
            connection = SocketConnection(manager, headers, server_end, waits, loop_thread, peer="", scope=None)
            serving.append(threading.Thread(target=connection.serve))
            serving[-1].start()
            assert connected.acquire(timeout=5)
        theirs[1].settimeout(5)
        with no_descriptor_left():
            assert manager.emit("blob", bytes(4 * MIB), client_id="d0")  # more than the kernel keeps
            assert manager.emit("n", 1, client_type="plain").sent >= 2
            assert len(theirs[1].recv(100)) == 2 + len(v1.encode("n", 1))
        for end in theirs:
            end.close()
        for thread in serving:
            thread.join(10)
            assert not thread.is_alive()
        assert manager.clients == []
        loop_thread.stop()


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # below the ones that are open, which stay open
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
