"""How a greenlet waits for its device, and how it gets the stream from gevent-websocket."""

from __future__ import annotations

import gc
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.event
import gevent.socket
import pytest

from iotio.core.primitives import Signal
from iotio.hosts.blocking import greenlets
from iotio.hosts.blocking.greenlets import GreenletWaits, serves_here, wait_in_greenlet
from iotio_protocol import v1, v2
from tests.support.hosts import serve_local
from tests.support.v2 import V2Device
from tests.support.wire import Opcode, RawPeer, encode_frame, v1_headers

WAIT = 5.0  # seconds


def in_a_hub(function: Callable[[], None]) -> None:
    """Run a function in a thread with a hub of its own, which is gone at the end."""
    failed: list[BaseException] = []

    def run() -> None:
        hub = gevent.get_hub()
        try:
            function()
        except BaseException as error:  # for the test's thread, whatever it is
            failed.append(error)
        finally:
            gc.collect()  # a watcher that is collected later would look for its loop
            hub.destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(2 * WAIT)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


@contextmanager
def waiting() -> Iterator[tuple[socket.socket, GreenletWaits]]:
    """The device's end of a connection, and the waiting at the other one. In a hub only."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        waits = GreenletWaits(ours)
        try:
            yield theirs, waits
        finally:
            waits.close()


def from_another_thread(function: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_other_greenlets_run_while_one_waits_for_bytes() -> None:
    def test() -> None:
        with waiting() as (device, waits):
            seen: list[str] = []

            def send() -> None:
                seen.append("sent")
                device.sendall(b"x")

            gevent.spawn(send)
            assert seen == []
            assert waits.readable()
            assert seen == ["sent"]
            assert waits.readable(WAIT)

    in_a_hub(test)


def test_waiting_for_bytes_ends_in_time() -> None:
    def test() -> None:
        with waiting() as (device, waits):
            assert not waits.readable(0.01)
            device.close()
            assert waits.readable(WAIT)  # the end of the stream

    in_a_hub(test)


def test_a_time_out_of_the_program_is_its_own() -> None:
    def test() -> None:
        with waiting() as (_, waits):
            timer = gevent.Timeout(0.01)
            with timer, pytest.raises(gevent.Timeout) as caught:
                waits.readable(WAIT)
            assert caught.value is timer

    in_a_hub(test)


def test_a_greenlet_that_is_killed_ends_by_what_is_named() -> None:
    def test() -> None:
        with waiting() as (_, waits):
            ended: list[type[BaseException]] = []

            def read() -> None:
                try:
                    waits.readable()
                except waits.ends as error:
                    ended.append(type(error))

            reader = gevent.spawn(read)
            gevent.sleep(0)  # it waits by now
            reader.kill()
            assert ended == [gevent.GreenletExit]

    in_a_hub(test)


def test_a_signal_from_another_thread_wakes_the_greenlet() -> None:
    def test() -> None:
        with waiting() as (_, waits):
            signal, running = Signal(), threading.Event()

            def set_later() -> None:
                assert running.wait(WAIT)
                signal.set()

            thread = from_another_thread(set_later)
            gevent.spawn(running.set)  # so that the signal comes only if this hub runs meanwhile
            assert waits.signal(signal, None)
            assert waits.signal(signal, 0)
            thread.join(WAIT)

    in_a_hub(test)


def test_waiting_for_a_signal_ends_in_time() -> None:
    def test() -> None:
        with waiting() as (_, waits):
            signal = Signal()
            assert not waits.signal(signal, 0.01)
            signal.set()  # it wakes a watcher that is closed by now
            assert waits.signal(signal, 0.01)

    in_a_hub(test)


def test_another_thread_may_wait_too() -> None:
    """A thread of the program's own that dismisses the device: it has no hub, and must not wait in this one."""

    def test() -> None:
        with waiting() as (_, waits):
            signal, found = Signal(), list[bool]()
            thread = from_another_thread(lambda: found.append(waits.signal(signal, WAIT)))
            gevent.spawn(signal.set)
            gevent.sleep(0)
            thread.join(WAIT)
            assert found == [True]

    in_a_hub(test)


def test_which_threads_serve_devices() -> None:
    def test() -> None:
        assert not serves_here()
        with waiting():
            assert serves_here()
        elsewhere: list[bool] = []
        from_another_thread(lambda: elsewhere.append(serves_here())).join(WAIT)
        assert elsewhere == [False]

    in_a_hub(test)


def test_a_thread_with_the_number_of_one_that_is_gone_serves_nobody() -> None:
    """It would get a hub with two descriptors, which nobody closes."""
    numbers: list[int] = []

    def serve() -> None:
        numbers.append(threading.get_ident())
        with waiting():
            assert serves_here()

    in_a_hub(serve)
    found: list[bool] = []

    def look() -> None:
        if threading.get_ident() == numbers[0]:
            found.append(serves_here())

    for _ in range(100):
        from_another_thread(look).join(WAIT)
    if not found:
        pytest.skip("the system gives no number out again")
    assert not any(found)


def test_an_idle_hub_looks_for_signals_now_and_then() -> None:
    def test() -> None:
        with waiting(), waiting():
            hub = gevent.get_hub()
            timer = greenlets._checks[hub]
            assert timer.active
            runs = gevent.event.Event()
            timer.stop()
            timer.start(runs.set)
            assert runs.wait(WAIT)
            timer.stop()

    in_a_hub(test)


def test_waiting_needs_no_connection() -> None:
    def test() -> None:
        signal = Signal()
        assert not wait_in_greenlet(signal, 0.01)
        gevent.spawn(signal.set)
        assert wait_in_greenlet(signal, WAIT)

    in_a_hub(test)


def test_what_came_behind_the_upgrade_request_is_not_lost() -> None:
    with serve_local("gevent") as host, RawPeer("127.0.0.1", host.port) as peer:
        leftover = encode_frame(Opcode.BINARY, v1.encode("same", "early"))
        assert peer.upgrade(headers=v1_headers("d", "echo"), leftover=leftover).status == 101
        assert v1.decode(peer.expect_frame().payload) == ("same", "early")
        peer.send_binary(v1.encode("same", "later"))
        assert v1.decode(peer.expect_frame().payload) == ("same", "later")


def test_the_end_is_said_once() -> None:
    """gevent-websocket would add a CLOSE frame of its own."""
    with serve_local("gevent") as host, host.peer() as peer:
        assert peer.upgrade(headers=v1_headers("d", "echo")).status == 101
        host.log.wait("d", "mgr_on_connect")
        peer.send_close(1000)
        (frame,) = peer.recv_frames_until_eof()
        assert (frame.opcode, frame.close_code) == (Opcode.CLOSE, 1000)
        host.log.wait("d", "mgr_on_disconnect")


def test_the_subprotocol_of_the_handler_is_known() -> None:
    with serve_local("gevent") as host, V2Device(host.port, "d") as device:
        device.send("same", 5, v2.CALL, call=7)
        assert device.expect() == v2.Packet("", 5, v2.RESULT, 7)


def test_gevent_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """None in `sys.modules` is what an import system without the module looks like."""
    for name in [one for one in sys.modules if one.partition(".")[0] == "gevent"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "gevent", None)
    monkeypatch.delitem(sys.modules, "iotio.hosts.blocking.greenlets", raising=False)
    with pytest.raises(ImportError, match=r"this server needs gevent: pip install 'iotio\[gevent\]'"):
        import iotio.hosts.blocking.greenlets  # noqa: F401  # the import is the test
