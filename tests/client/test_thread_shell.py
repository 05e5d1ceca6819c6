"""What only threads do to carry out the driver's commands; test_sync_client.py has the client as a whole."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from websockets.protocol import State as WireState

from iotio_client.calls import ThreadCall
from iotio_client.errors import ClientError
from iotio_client.inbox import MAX_BYTES, MAX_MORE, ThreadInbox
from iotio_client.thread_shell import ThreadShell
from iotio_protocol.errors import CallError

from .devices import Running, SyncDevice, make
from .fake_server import TIMEOUT


def made() -> tuple[SyncDevice, ThreadShell]:
    device = make(SyncDevice)
    assert isinstance(device, SyncDevice)
    return device, device._shell


class Line:
    """As much of a connection as is asked for here."""

    state = WireState.OPEN

    def __init__(self) -> None:
        self.answered = threading.Event()

    def ping(self) -> threading.Event:
        return self.answered


def test_one_thread_is_in_the_loop() -> None:
    _, shell = made()
    shell.enter_loop()
    with pytest.raises(ClientError, match="already"):
        shell.enter_loop()
    shell.end()
    shell.enter_loop()


def test_a_sleep_ends_by_itself_or_when_interrupted() -> None:
    device, shell = made()
    shell.sleep(0.01)
    shell.interrupt()  # before the sleep, and for nothing: the driver does not stop
    sleeping = Running(shell.sleep, 1000.0)
    sleeping._thread.join(0.02)
    assert sleeping._thread.is_alive()
    device.stop()
    assert sleeping.join() is None
    before = time.monotonic()
    shell.sleep(1000.0)
    assert time.monotonic() - before < TIMEOUT


def test_nobody_sends_while_the_buffer_is_used_alone() -> None:
    device, shell = made()
    using, release = threading.Event(), threading.Event()

    def use() -> None:
        using.set()
        assert release.wait(TIMEOUT)

    sent: list[Any] = []
    connection: Any = Line()
    device._driver.connection = connection
    vars(device._driver)["send_durable"] = lambda connection: no_work(sent.append, connection)
    alone = Running(shell.in_buffer, use, False, True)
    assert using.wait(TIMEOUT)
    shell.send_more()
    assert not sent
    release.set()
    assert alone.join() is None
    shell.send_more()
    assert sent == [connection]


def no_work(function: Any, *args: Any) -> Any:
    """A generator that asks for nothing."""
    yield from ()
    function(*args)


@pytest.mark.parametrize("way", ["answered", "ended", "another"])
def test_a_ping_counts_when_it_is_answered_on_the_same_connection(way: str) -> None:
    device, shell = made()
    connection: Any = Line()
    acknowledged: list[int] = []
    vars(device._driver)["acknowledged"] = lambda upto: no_work(acknowledged.append, upto)
    device._driver.connection = connection
    shell.ping(connection, 7)
    (thread,) = [one for one in threading.enumerate() if one.name == "iotio-client-pong"]
    if way == "ended":
        connection.state = WireState.CLOSED
    else:
        if way == "another":
            device._driver.connection = None
        connection.answered.set()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert acknowledged == ([7] if way == "answered" else [])


def test_who_waits_lets_more_messages_wait() -> None:
    _, shell = made()
    pending = ThreadCall("ask")
    waiting = Running(shell.wait, pending, time.monotonic() + TIMEOUT)
    while shell.inbox._most != 1000:
        waiting._thread.join(0.001)
    assert shell.inbox._most_bytes == MAX_BYTES + MAX_MORE
    pending.settle(1)
    assert waiting.join() is None
    assert (shell.inbox._most, shell.inbox._most_bytes) == (256, MAX_BYTES)
    shell.wait(ThreadCall("late"), 0.0)


def test_too_many_messages_fail_the_call_of_a_handler() -> None:
    _, shell = made()
    connection: Any = Line()
    inbox = ThreadInbox(0)
    pending = ThreadCall("ask")
    waiting = Running(shell.invoke, shell.wait, (pending, time.monotonic() + TIMEOUT))
    while not shell._asking:
        waiting._thread.join(0.001)
    room = Running(shell.make_room, inbox, connection)
    assert waiting.join() is None
    with pytest.raises(CallError, match="1000 messages"):
        pending.result()
    inbox.close()
    assert room.join() is None


def test_a_call_that_begins_while_the_reader_finds_the_inbox_full_makes_room_and_goes_on() -> None:
    """The call allows more messages right between the reader's look at the inbox and its look at the calls."""
    _, shell = made()
    pending = ThreadCall("question")
    looks: list[str] = []

    class Filled(ThreadInbox):
        @property
        def must_wait(self) -> bool:
            looks.append("look")
            shell._asking[pending] = True
            return len(looks) == 1

    shell.make_room(Filled(), Line())  # type: ignore[arg-type]  # it has what is asked for
    assert len(looks) > 2
    assert shell._asking == {pending: True}
    assert not pending.done.is_set()
