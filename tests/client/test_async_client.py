"""What only the async client has: the event loop."""

from __future__ import annotations

import asyncio
import signal
import ssl
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme

from iotio_client import AsyncIoTClient, NotConnected
from iotio_client.errors import ClientError, ConnectFailed, ConnectionLost

from .devices import FAST, AsyncDevice, Running, make
from .fake_server import TIMEOUT, FakeServer, Peer
from .test_behaviours import GOOD, serve_hello


def device(**arguments: Any) -> AsyncDevice:
    made = make(AsyncDevice, **arguments)
    assert isinstance(made, AsyncDevice)
    return made


def wait_for_close(peer: Peer) -> None:
    assert peer.accept().recv_close() == 1000


async def test_begin_then_handle() -> None:
    with FakeServer(serve_hello) as server:
        one = device()
        states = [(one.socket is None, one.connected, one.handshake_sent)]
        await one.begin(server.domain)
        states.append((one.socket is None, one.connected, one.handshake_sent))
        with pytest.raises(ClientError, match="already"):
            await one.begin(server.domain)
        await one.handle()
        states.append((one.socket is None, one.connected, one.handshake_sent))
        assert states == [(True, False, False), (False, True, True), (True, False, False)]
        assert one.log.rest() == GOOD


async def test_handle_waits_for_begin() -> None:
    with FakeServer(serve_hello) as server:
        one = device()
        async with asyncio.timeout(TIMEOUT), asyncio.TaskGroup() as group:
            group.create_task(one.handle())
            group.create_task(one.wait_until_ready())
            group.create_task(one.begin(server.domain))
        assert one.log.rest() == GOOD


async def test_handle_and_wait_until_ready_learn_that_begin_failed() -> None:
    with FakeServer(lambda peer: peer.answer(503)) as server:
        one = device()
        results = await asyncio.wait_for(
            asyncio.gather(one.handle(), one.wait_until_ready(), one.begin(server.domain), return_exceptions=True),
            TIMEOUT,
        )
        assert all(isinstance(result, ConnectFailed) for result in results)


async def test_handle_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iotio_client.async_client.HANDLE_PATIENCE", 0.05)
    with pytest.raises(NotConnected, match=r"call begin\(domain\) before it"):
        await asyncio.wait_for(device().handle(), TIMEOUT)


async def test_handle_waits_for_a_slow_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iotio_client.async_client.HANDLE_PATIENCE", 0.05)
    answer = threading.Event()

    def script(peer: Peer) -> None:
        assert answer.wait(TIMEOUT)
        serve_hello(peer)

    with FakeServer(script) as server:
        one = device()
        beginning = asyncio.create_task(one.begin(server.domain))
        handling = asyncio.create_task(one.handle())
        done, _ = await asyncio.wait([beginning, handling], timeout=0.2)
        assert not done
        answer.set()
        await asyncio.wait_for(asyncio.gather(beginning, handling), TIMEOUT)
        assert one.log.rest() == GOOD


async def test_wait_until_ready_may_have_a_limit() -> None:
    with pytest.raises(TimeoutError, match=r"not connected within 0\.01 s"):
        await device().wait_until_ready(timeout=0.01)


async def test_send_and_stop_from_another_task() -> None:
    got = []

    def script(peer: Peer) -> None:
        peer.accept()
        got.append(peer.recv_packet())
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        one = device()
        running = asyncio.create_task(one.run_async(server.domain))
        await asyncio.wait_for(one.wait_until_ready(), TIMEOUT)
        await one.send("e", {"a": 1})
        one.stop()
        await asyncio.wait_for(running, TIMEOUT)
        with pytest.raises(NotConnected):
            await one.send("e", 1)
    assert got == [("e", {"a": 1})]


async def test_begin_send_stop() -> None:
    with FakeServer(wait_for_close) as server:
        one = device()
        gone = asyncio.Event()

        async def on_disconnect() -> None:
            gone.set()

        one.on("disconnect")(on_disconnect)
        await one.begin(server.domain)
        one.stop()
        await asyncio.wait_for(gone.wait(), TIMEOUT)


@pytest.mark.parametrize("in_a_task", [False, True])
@pytest.mark.parametrize("from_thread", [False, True])
async def test_stop_right_before_handle(from_thread: bool, in_a_task: bool) -> None:
    with FakeServer(wait_for_close) as server:
        one = device()
        await one.begin(server.domain)
        if from_thread:
            thread = threading.Thread(target=one.stop)
            thread.start()
            thread.join(TIMEOUT)
        else:
            one.stop()
        if in_a_task:
            await asyncio.wait_for(one.handle(), TIMEOUT)
        else:
            async with asyncio.timeout(TIMEOUT):
                await one.handle()
        assert (one.socket, one.connected) == (None, False)
        assert one.log.rest() == [("connect",), ("disconnect",)]


async def test_cancelled_run_ends_in_order() -> None:
    with FakeServer(wait_for_close) as server:
        one = device()
        running = asyncio.create_task(one.run_async(server.domain))
        await asyncio.wait_for(one.wait_until_ready(), TIMEOUT)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, TIMEOUT)
        assert one.log.rest() == [("connect",), ("disconnect",)]


async def test_stop_reaches_into_a_handler_that_waits() -> None:
    def script(peer: Peer) -> None:
        peer.accept().packet("wait", 0)
        assert peer.recv_close() == 1000

    with FakeServer(script) as server:
        one = device()
        entered = asyncio.Event()

        @one.on("wait")
        async def wait(message: Any) -> None:
            entered.set()
            await asyncio.Event().wait()

        running = asyncio.create_task(one.run_async(server.domain))
        await asyncio.wait_for(entered.wait(), TIMEOUT)
        one.stop()
        await asyncio.wait_for(running, TIMEOUT)
        assert one.log.rest() == [("connect",), ("disconnect",)]


async def test_coroutine_handlers() -> None:
    one = AsyncIoTClient("d1", "t", {}, backoff=FAST)
    seen = []

    @one.on("hello")
    async def hello(message: Any) -> tuple[str, Any]:
        await asyncio.sleep(0)
        return "reply", message

    @one.on("quit")
    async def quit_(message: Any) -> str:
        one.stop()
        return "bye"

    @one.on("connect")
    async def connected() -> None:
        seen.append("connect")

    with FakeServer(serve_hello) as server:
        await asyncio.wait_for(one.run_async(server.domain), TIMEOUT)
    assert seen == ["connect"]


async def test_run_inside_a_loop_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="run_async"):
        device().run("localhost:1")


async def test_write_that_the_server_does_not_take() -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(peer: Peer) -> None:
        peer.accept()
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(TIMEOUT)

    with FakeServer(script) as server:
        one = device()
        await one.begin(server.domain, timeout=0.1)
        with pytest.raises(NotConnected):
            await one.send("big", bytes(50_000_000))
        release.set()
        with pytest.raises(ConnectionLost):
            await asyncio.wait_for(one.handle(), TIMEOUT)


def test_tasks_on_the_loop_before_run() -> None:
    """The way of 0.1.0: `client.loop.create_task(...)`, then `client.run(...)`."""
    got = []

    def script(peer: Peer) -> None:
        peer.accept()
        got.append(peer.recv_packet())
        peer.close(1000)

    with FakeServer(script) as server:
        one = device()

        async def sender() -> None:
            await one.wait_until_ready()
            await one.send("from_task", 1)

        def run() -> None:
            task = one.loop.create_task(sender())
            one.run(server.domain, reconnect=False)
            assert task.done()

        running = Running(run)
        assert running.join() is None
    assert got == [("from_task", 1)]


def test_ctrl_c(tmp_path: Path) -> None:
    program = tmp_path / "device.py"
    program.write_text(
        textwrap.dedent(
            """
            import sys
            from iotio_client import AsyncIoTClient

            class Device(AsyncIoTClient):
                async def on_connect(self): print("connect", flush=True)
                async def on_disconnect(self): print("disconnect", flush=True)

            try:
                Device("d1", "t", {}).run(sys.argv[1])
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            """
        )
    )
    codes = []
    with (
        FakeServer(lambda peer: codes.append(peer.accept().recv_close())) as server,
        subprocess.Popen([sys.executable, str(program), server.domain], stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "connect\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=TIMEOUT)[0] == "disconnect\ninterrupted\n"
    assert codes == [1000]


async def test_tls() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with FakeServer(serve_hello, context=context) as server:
        await asyncio.wait_for(device().run_async(server.domain, trusting), TIMEOUT)
        with pytest.raises(ConnectFailed, match="certificate"):
            await asyncio.wait_for(device().begin(server.domain, use_tls=True), TIMEOUT)
